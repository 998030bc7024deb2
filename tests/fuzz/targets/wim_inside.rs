//! What is packed inside a WIM image: folder trees, and files compressed by XPRESS and LZX.
#![no_main]

use bootstorm_catalog::wim::{WimFile, loaders};
use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};

/// How a file is packed: header flags, chunk size.
const FORMS: [(u32, u32); 5] = [
    (0x2_0002, 4096),
    (0x2_0002, 32_768),
    (0x4_0002, 32_768),
    (0x4_0002, 65_536),
    (0x4_0002, 1 << 21),
];

// The first byte tells what the rest is: a tree, or a file in one of the forms whose length the
// next two bytes tell.
fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    match FORMS.get(usize::from(*kind).wrapping_sub(1)) {
        Some(form) => {
            if let Some((length, packed)) = rest.split_first_chunk::<2>() {
                file(*form, packed, u64::from(u16::from_le_bytes(*length)));
            }
        }
        None => tree(rest),
    }
});

fn tree(metadata: &[u8]) {
    let wim = wim((0, 0), b"", 0, metadata);
    let Ok(wim) = WimFile::open(&wim) else {
        return;
    };
    let Ok(tree) = wim.tree(1) else { return };
    let count = tree.nodes().count();
    // Each file or folder took its place in the metadata.
    assert!(count * 102 <= metadata.len());
    assert_eq!(tree.below(tree.root()).count(), count);
    for node in tree.nodes().take(64) {
        let _ = (tree.find(&tree.path(node)), wim.read(node));
    }
    assert!(loaders(&tree).len() <= count);
}

fn file(form: (u32, u32), packed: &[u8], length: u64) {
    let wim = wim(form, packed, length, &one_file());
    let wim = WimFile::open(&wim).unwrap();
    let tree = wim.tree(1).unwrap();
    let mut written = Vec::new();
    let copied = wim.copy_to(tree.find("f").unwrap(), &mut written);
    assert!(written.len() as u64 <= length);
    // The digest of the file is a made-up one.
    assert!(copied.is_err());
}

/// A tree with one file.
fn one_file() -> Vec<u8> {
    let mut metadata = vec![0; 8];
    let entry = |attributes: u32, listing: u64, sha1: u8, name: &[u8]| {
        let mut entry = vec![0; 112];
        entry[0] = 112;
        entry[8..12].copy_from_slice(&attributes.to_le_bytes());
        entry[16..24].copy_from_slice(&listing.to_le_bytes());
        entry[64..84].fill(sha1);
        entry[100] = name.len() as u8;
        entry[102..102 + name.len()].copy_from_slice(name);
        entry
    };
    metadata.extend(entry(0x10, 128, 0, b""));
    metadata.extend([0; 8]);
    metadata.extend(entry(0, 0, DIGEST, b"f\0"));
    metadata.extend([0; 8]);
    metadata
}

const DIGEST: u8 = 7;

/// A WIM file with one image: a file packed so, and the tree as it is.
fn wim((flags, chunk): (u32, u32), packed: &[u8], length: u64, metadata: &[u8]) -> Vec<u8> {
    let xml: Vec<u8> = "\u{feff}<WIM><IMAGE INDEX=\"1\"/></WIM>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let resource = |flags: u64, size: usize, offset: usize, length: u64| {
        let words = [size as u64 | flags << 56, offset as u64, length];
        words.map(u64::to_le_bytes).concat()
    };
    let (tree_at, tree_size) = (208 + packed.len(), metadata.len());
    let mut lookup = resource(4, packed.len(), 208, length);
    lookup.extend([1, 0, 1, 0, 0, 0]);
    lookup.extend([DIGEST; 20]);
    lookup.extend(resource(2, tree_size, tree_at, tree_size as u64));
    lookup.extend([1, 0, 1, 0, 0, 0]);
    lookup.extend(Sha1::digest(metadata));
    let lookup_at = tree_at + tree_size;
    let mut all = b"MSWIM\0\0\0".to_vec();
    for word in [208, 0x1_0d00, flags, chunk] {
        all.extend(word.to_le_bytes());
    }
    all.extend([0; 16]);
    all.extend([1, 0, 1, 0, 1, 0, 0, 0]);
    all.extend(resource(0, lookup.len(), lookup_at, lookup.len() as u64));
    all.extend(resource(
        0,
        xml.len(),
        lookup_at + lookup.len(),
        xml.len() as u64,
    ));
    all.resize(208, 0);
    [&all, packed, metadata, &lookup, &xml].concat()
}
