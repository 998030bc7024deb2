//! Machine GUIDs that firmware comes with before anybody writes one of its own.

use bootstorm_proto::types::MachineGuid;

/// Why many machines have this GUID, if they do. Firmware that orders the bytes the other way is
/// meant as well.
pub(super) fn problem(guid: MachineGuid) -> Option<&'static str> {
    let (read, wire) = (guid.as_read(), guid.wire());
    let either = |is: fn(&[u8; 16]) -> bool| is(&read) || is(&wire);
    if guid.is_blank() {
        return Some("its vendor wrote none");
    }
    if either(is_repeated) {
        return Some("it is a repeated pattern");
    }
    if either(is_counted) {
        return Some("it counts up or down");
    }
    // 56F49712-FFFF-FFFF-FFFF-FFFFFFFFFFFF and its like, from lists of inventory programs.
    if is_mostly_one_byte(&read) {
        return Some("nearly all of it was never written");
    }
    if is_dell_without_tag(&read) {
        return Some("Dell makes it from the service tag, which is missing");
    }
    let text = guid.to_string();
    let swapped = MachineGuid::from_wire(read).to_string();
    let listed = KNOWN
        .iter()
        .find(|(known, _)| *known == text || *known == swapped);
    listed.map(|(_, from)| *from)
}

/// In the order that people read, lower case, and where they were seen.
const KNOWN: &[(&str, &str)] = &[
    // The commonest of all: boards by many vendors whose maker never ran AMI's tool.
    ("03000200-0400-0500-0006-000700080009", "AMI's default"),
    ("12345678-1234-5678-90ab-cddeefaabbcc", "Insyde's default"),
    (
        "07090201-0103-0301-0807-060504030201",
        "a default on inventory programs' lists",
    ),
    (
        "6ab5b300-538d-1014-9fb5-b0684d007b53",
        "a default on inventory programs' lists",
    ),
    (
        "dc698397-fa54-4cf2-82c8-b1b5307a6a7f",
        "a default on inventory programs' lists",
    ),
    (
        "8e275844-178f-44a8-aceb-a7d7e5178c63",
        "a default on inventory programs' lists",
    ),
    (
        "890e2d14-cacd-45d1-ae66-bc80e8bfeb0f",
        "a default on inventory programs' lists",
    ),
    // A service tag of `123` and blanks.
    ("4c4c4544-0000-1010-8010-c4c04f313233", "Dell's default"),
    // Constant in the SMBIOS driver of several EDK II platforms.
    (
        "8a95d198-7f46-11e5-bf8b-08002704d48e",
        "a sample of EDK II, as on SolidRun's LX2160A",
    ),
    ("01020304-0506-0708-090a-0b0c0d0e0f10", "it counts up"),
];

/// A pattern of one, two, four or eight bytes, over and over.
fn is_repeated(bytes: &[u8; 16]) -> bool {
    [1, 2, 4, 8].iter().any(|period| {
        let (start, rest) = bytes.split_at(*period);
        rest.chunks_exact(*period).all(|chunk| chunk == start)
    })
}

/// Each byte is one more than the one before, or each is one less.
fn is_counted(bytes: &[u8; 16]) -> bool {
    let steps = |step: u8| {
        let mut pairs = bytes.iter().zip(&bytes[1..]);
        pairs.all(|(byte, next)| byte.wrapping_add(step) == *next)
    };
    steps(1) || steps(u8::MAX)
}

/// A random GUID has twelve equal bytes once in 10^26. Zeros before a MAC address, which may have
/// some of its own, identify as well as the address does.
fn is_mostly_one_byte(bytes: &[u8; 16]) -> bool {
    [bytes[0], bytes[7], bytes[15]].iter().any(|byte| {
        let enough = if *byte == 0 { 14 } else { 12 };
        bytes.iter().filter(|b| *b == byte).count() >= enough
    })
}

/// Dell's GUIDs begin with `DELL` and hold the service tag; a board that was never given one has
/// blanks or zeros there.
fn is_dell_without_tag(read: &[u8; 16]) -> bool {
    const TAG: [usize; 7] = [5, 6, 9, 10, 13, 14, 15];
    let blank = |at: &usize| matches!(read[*at] & 0x7f, 0 | 0x20);
    // Read order turns the letters of the first field round.
    read[..4] == *b"LLED" && TAG.iter().all(blank)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_known(text: &str) -> bool {
        problem(text.parse().unwrap()).is_some()
    }

    #[test]
    fn every_listed_guid_is_known_in_both_byte_orders() {
        for (text, _) in KNOWN {
            assert!(is_known(text), "{text}");
            let guid: MachineGuid = text.parse().unwrap();
            let swapped = MachineGuid::from_wire(guid.as_read());
            assert!(problem(swapped).is_some(), "{swapped}");
        }
    }

    #[test]
    fn placeholders_are_known_by_rule() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "fefefefe-fefe-fefe-fefe-fefefefefefe",
            "58585858-5858-5858-5858-585858585858",
            "12345678-1234-5678-1234-567812345678",
            "deadbeef-dead-beef-dead-beefdeadbeef",
            "01234567-89ab-cdef-0123-456789abcdef",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "0f0e0d0c-0b0a-0908-0706-050403020100",
            "ffffff00-ffff-ffff-ffff-ffffffffffff",
            "56f49712-ffff-ffff-ffff-ffffffffffff",
            "00020003-0004-0005-0006-000700080009",
            "4c4c4544-0000-2010-8020-80c04f202020",
        ] {
            assert!(is_known(text), "{text}");
        }
    }

    #[test]
    fn real_guids_identify() {
        for text in [
            "4c4c4544-0042-3510-8052-b3c04f4b4e32",
            "00000000-0000-0000-0000-525400990001",
            "8f2d0f6e-41b3-4d0e-9f2a-55c1d2e3f405",
            "03d40274-0435-0549-2006-d90700080009",
            "f0900000-0000-1000-8000-00e04c680001",
        ] {
            assert!(!is_known(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn repeated_patterns_are_known_whatever_they_repeat(pattern: [u8; 8], period in 0..4_u32) {
            let period = 1 << period;
            let bytes: [u8; 16] = std::array::from_fn(|at| pattern[at % period]);
            prop_assert!(problem(MachineGuid::from_wire(bytes)).is_some());
        }

        #[test]
        fn the_byte_order_changes_nothing(bytes: [u8; 16]) {
            let guid = MachineGuid::from_wire(bytes);
            let swapped = MachineGuid::from_wire(guid.as_read());
            prop_assert_eq!(problem(guid).is_some(), problem(swapped).is_some());
        }
    }
}
