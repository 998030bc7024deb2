//! Who a machine is.

use bootstorm_proto::types::MacAddress;

use super::profile::Profile;

/// Who a machine is; the same in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its number in the storm, from 0.
    pub(crate) index: u32,
    /// Its only network card.
    pub(crate) mac: MacAddress,
    /// SMBIOS UUID, in the order of the wire (option 97 without its type).
    pub(crate) guid: [u8; 16],
    /// Which firmware it has and how it boots.
    pub(crate) profile: Profile,
}

/// The first bytes of every simulated machine's address: locally administered, so no real machine
/// has it.
const PREFIX: [u8; 3] = [0x02, 0xb5, 0x70];

impl Identity {
    /// Machine `index`; below 2²⁴.
    pub(crate) fn new(index: u32, profile: Profile) -> Self {
        let [_, a, b, c] = index.to_be_bytes();
        let [p, q, r] = PREFIX;
        let mut guid = *b"\xb5\x70\0\0bootstorm\0\0\0";
        guid[13..].copy_from_slice(&[a, b, c]);
        Self {
            index,
            mac: MacAddress::new([p, q, r, a, b, c]),
            guid,
            profile,
        }
    }

    /// Which machine has this hardware address, if one of ours has.
    pub(crate) fn index_of(mac: [u8; 6]) -> Option<u32> {
        match mac {
            [p, q, r, a, b, c] if [p, q, r] == PREFIX => Some(u32::from_be_bytes([0, a, b, c])),
            _ => None,
        }
    }
}
