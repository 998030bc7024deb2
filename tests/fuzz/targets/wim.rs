//! A whole WIM image: header, XML, lookup table, integrity table, trees and files.
#![no_main]

use bootstorm_catalog::wim::{Wim, WimFile, loaders};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(wim) = Wim::parse(input) {
        let numbers: Vec<u32> = wim.images.iter().map(|image| image.index).collect();
        assert!(numbers.iter().copied().eq((1..).take(numbers.len())));
        for number in [0, 1, 2, u32::MAX] {
            let _ = (wim.image(number), wim.boot_image(Some(number)));
        }
        let _ = wim.boot_image(None);
    }
    if let Ok(file) = WimFile::open(input) {
        let _ = file.xml();
        if let Ok(Some(integrity)) = file.integrity() {
            let _ = integrity.verify();
        }
        for index in 0..4 {
            let Ok(tree) = file.tree(index) else { continue };
            for node in tree.nodes() {
                if let Ok(content) = file.read(node) {
                    assert_eq!(file.size(node), Ok(content.len() as u64));
                }
            }
            assert!(loaders(&tree).len() <= tree.nodes().count());
        }
    }
});
