//! The header and the XML of a WIM image.
#![no_main]

use bootstorm_catalog::wim::Wim;
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
});
