//! What iPXE says about itself: user class 77 (RFC 3004, sent without its length bytes) and the
//! encapsulated option 175.

use arrayvec::ArrayVec;

/// The user class is that of iPXE or of its ancestor gPXE, in any of the forms that are sent:
/// the bare word, or RFC 3004's list of items with a length byte each.
pub(super) fn is_ipxe_class(data: &[u8]) -> bool {
    if is_name(data) {
        return true;
    }
    let mut rest = data;
    while let [len, behind @ ..] = rest {
        let Some((item, behind)) = behind.split_at_checked(usize::from(*len)) else {
            return false;
        };
        if is_name(item) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Feature flags of option 175: bit `n` stands for tag `0x10 + n` with a value other than zero.
pub(super) fn features(data: &[u8]) -> u64 {
    let mut flags = 0;
    let mut rest = data;
    while let [tag, behind @ ..] = rest {
        match (*tag, behind) {
            (0, _) => rest = behind,
            (255, _) | (_, []) => break,
            (tag, [len, behind @ ..]) => {
                let Some((value, behind)) = behind.split_at_checked(usize::from(*len)) else {
                    break;
                };
                if (FIRST_FEATURE..=LAST_FEATURE).contains(&tag) && value.iter().any(|v| *v != 0) {
                    flags |= 1 << (tag - FIRST_FEATURE);
                }
                rest = behind;
            }
        }
    }
    flags
}

/// The names of the feature flags, as iPXE's own banner spells them.
pub fn feature_names(features: u64) -> impl Iterator<Item = &'static str> {
    FEATURES
        .iter()
        .filter(move |(tag, _)| features & (1 << (tag - FIRST_FEATURE)) != 0)
        .map(|(_, name)| *name)
}

/// Option 175 with `no-pxedhcp = 1`.
pub(super) fn no_pxedhcp() -> ArrayVec<u8, 4> {
    [0xb0, 1, 1, 255].into_iter().collect()
}

const FIRST_FEATURE: u8 = 0x10;
const LAST_FEATURE: u8 = 0x4f;

const FEATURES: [(u8, &str); 22] = [
    (0x10, "PXEXT"),
    (0x11, "iSCSI"),
    (0x12, "AoE"),
    (0x13, "HTTP"),
    (0x14, "HTTPS"),
    (0x15, "TFTP"),
    (0x16, "FTP"),
    (0x17, "DNS"),
    (0x18, "bzImage"),
    (0x19, "MBOOT"),
    (0x1a, "SLAM"),
    (0x1b, "SRP"),
    (0x20, "NBI"),
    (0x21, "PXE"),
    (0x22, "ELF"),
    (0x23, "COMBOOT"),
    (0x24, "EFI"),
    (0x25, "FCoE"),
    (0x26, "VLAN"),
    (0x27, "Menu"),
    (0x28, "SDI"),
    (0x29, "NFS"),
];

fn is_name(text: &[u8]) -> bool {
    text == b"iPXE" || text == b"gPXE"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_class_is_known_with_and_without_length_bytes() {
        for class in [
            &b"iPXE"[..],
            b"gPXE",
            b"\x04iPXE",
            b"\x03abc\x04iPXE",
            b"\x04gPXE\x01x",
        ] {
            assert!(is_ipxe_class(class), "{class:?}");
        }
        for class in [
            &b""[..],
            b"FreeBSD",
            b"\x07FreeBSD",
            b"iPXEx",
            b"\x05iPXE",
            b"\0\0\0",
        ] {
            assert!(!is_ipxe_class(class), "{class:?}");
        }
    }

    #[test]
    fn feature_flags_are_read_until_the_option_breaks() {
        let option = [
            0xb1, 2, 1, 2, 0x13, 1, 1, 0x14, 1, 0, 0x4f, 1, 1, 0x21, 9, 1,
        ];
        let flags = features(&option);
        assert_eq!(flags, 1 << 3 | 1 << 63);
        assert_eq!(feature_names(flags).collect::<Vec<_>>(), ["HTTP"]);
        assert_eq!(features(b"https://10.0.0.1/boot"), 0);
        assert_eq!(features(&[0x13]), 0);
    }
}
