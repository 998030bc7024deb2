//! Trees survive the file; files that lie are refused.

use proptest::prelude::*;

use super::*;

fn tree() -> impl Strategy<Value = Key> {
    let value = (
        "[A-Za-z]{1,8}",
        1..8_u32,
        prop::collection::vec(any::<u8>(), 0..200),
    );
    let value = value.prop_map(|(name, kind, data)| Value { name, kind, data });
    let values = prop::collection::vec(value, 0..4);
    let leaf = ("[a-z0-9{}-]{1,40}", values);
    let leaf = leaf.prop_map(|(name, values)| Key {
        name,
        values,
        keys: Vec::new(),
    });
    leaf.prop_recursive(4, 60, 6, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..6)).prop_map(|(key, mut keys)| {
            // As a registry has them: sorted, each name once.
            keys.sort_by_cached_key(|key: &Key| key.name.to_ascii_uppercase());
            keys.dedup_by_key(|key| key.name.to_ascii_uppercase());
            Key { keys, ..key }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(tree in tree()) {
        let file = write(&tree);
        prop_assert_eq!(file.len() % 4096, 0);
        prop_assert_eq!(read(&file), Ok(tree));
    }

    #[test]
    fn a_file_cut_short_is_refused(cut in 0_usize..8192) {
        let file = write(&Key::new("root").with_key(Key::new("k").with_value("v", TEXT, vec![7; 4000])));
        prop_assert!(read(&file[..cut]).is_err());
    }
}

fn with(mut file: Vec<u8>, at: usize, word: u32) -> Vec<u8> {
    file[at..at + 4].copy_from_slice(&word.to_le_bytes());
    repair(&mut file);
    file
}

/// Where the only list of keys is.
fn list_of(file: &[u8]) -> usize {
    let at = file.windows(4).position(|word| word == b"lf\x02\0");
    at.unwrap()
}

#[test]
fn cells_that_point_in_circles_are_refused() {
    let tree = Key::new("root")
        .with_key(Key::new("a").with_value("v", BINARY, vec![1; 1000]))
        .with_key(Key::new("b"));
    let file = write(&tree);
    assert_eq!(read(&file), Ok(tree));
    let list = list_of(&file);
    let root = 32;
    let circle = read(&with(file.clone(), list + 4, root));
    assert!(
        matches!(circle, Err(HiveError::Damaged { .. })),
        "{circle:?}"
    );
    // A list that has one key 65,535 times in a cell that is long enough.
    let wide = write(
        &Key::new("root").with_key(
            Key::new("a").with_value(
                "v",
                BINARY,
                [
                    b"lf\xff\xff".as_slice(),
                    &[0x20, 0, 0, 0, 0, 0, 0, 0].repeat(65_535),
                ]
                .concat(),
            ),
        ),
    );
    let data = wide
        .windows(4)
        .position(|word| word == b"lf\xff\xff")
        .unwrap();
    let to = u32::try_from(data - 4 - 4096).unwrap();
    let again = read(&with(wide, 4096 + 32 + 4 + 28, to));
    assert!(matches!(again, Err(HiveError::Damaged { .. })), "{again:?}");
}

#[test]
fn what_is_no_hive_is_named() {
    let file = write(&Key::new("root"));
    assert_eq!(read(b""), Err(HiveError::NotHive));
    assert_eq!(read(&vec![0; 9000]), Err(HiveError::NotHive));
    assert_eq!(read(&with(file.clone(), 20, 2)), Err(HiveError::Version(2)));
    let mut changed = file;
    changed[100] ^= 1;
    assert_eq!(read(&changed), Err(HiveError::Checksum));
}
