use proptest::prelude::*;

use super::*;
use crate::machine::simulated::BCD;

#[test]
fn a_store_names_the_image_and_how_it_is_fetched() {
    let store = Store::parse(BCD).unwrap();
    assert_eq!(store.sdi.as_deref(), Some(r"\winpe.wim\boot.sdi"));
    assert_eq!(store.wim.as_deref(), Some(r"\winpe.wim"));
    assert_eq!((store.block, store.window), (Some(1456), Some(16)));
}

#[test]
fn what_is_no_store_is_none() {
    assert_eq!(Store::parse(b"<html>"), None);
    assert_eq!(Store::parse(b"regf"), Some(Store::default()));
}

proptest! {
    #[test]
    fn no_damage_panics(
        at in 0..8192_usize,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
        end in 4..8192_usize,
    ) {
        let mut hive = BCD.to_vec();
        for (place, byte) in hive.iter_mut().skip(at.max(4)).zip(bytes) {
            *place = byte;
        }
        hive.truncate(end);
        prop_assert!(Store::parse(&hive).is_some());
    }
}
