//! DHCP unique identifiers (RFC 8415, section 11; RFC 6355).

use std::fmt;
use std::net::Ipv6Addr;

use arrayvec::ArrayVec;

use crate::types::{HardwareAddress, MachineGuid};

/// An identifier of 1 to 130 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Duid(ArrayVec<u8, 130>);

impl Duid {
    /// Takes the bytes of option 1 or 2; `None` when there are none or more than 130.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        ArrayVec::try_from(bytes).ok().map(Self)
    }

    /// A DUID-UUID (RFC 6355) of any sixteen bytes that stay the same for this server.
    #[must_use]
    pub fn from_uuid(uuid: [u8; 16]) -> Self {
        Self(UUID.to_be_bytes().into_iter().chain(uuid).collect())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// For a server that was given no identity: as lasting as its address.
    pub(super) fn of_address(address: Ipv6Addr) -> Self {
        Self::from_uuid(address.octets())
    }

    /// The machine GUID inside a DUID-UUID. UEFI firmware copies it as SMBIOS has it; iPXE writes
    /// it in the order of RFC 6355, which swaps the first three fields.
    pub(super) fn machine_guid(&self, network_order: bool) -> Option<MachineGuid> {
        let (kind, value) = self.parts()?;
        let mut uuid: [u8; 16] = value.try_into().ok().filter(|_| kind == UUID)?;
        if network_order {
            uuid[..4].reverse();
            uuid[4..6].reverse();
            uuid[6..8].reverse();
        }
        Some(MachineGuid::from_wire(uuid)).filter(|guid| !guid.is_blank())
    }

    /// The link-layer address of a DUID-LLT or DUID-LL.
    pub(super) fn link_layer(&self) -> Option<HardwareAddress> {
        let (kind, value) = self.parts()?;
        match (kind, value) {
            (LINK_LAYER_TIME, [a, b, _, _, _, _, address @ ..])
            | (LINK_LAYER, [a, b, address @ ..]) => hardware(u16::from_be_bytes([*a, *b]), address),
            _ => None,
        }
    }

    /// Something to tell the machine by, when no link-layer address is to be had: the identifier
    /// itself, as far as it fits, under hardware type 0.
    pub(super) fn as_hardware(&self) -> Option<HardwareAddress> {
        let value = self.parts().map_or(self.bytes(), |(_, value)| value);
        hardware(0, &value[..value.len().min(16)])
    }

    fn parts(&self) -> Option<(u16, &[u8])> {
        let (kind, value) = self.0.split_first_chunk()?;
        Some((u16::from_be_bytes(*kind), value))
    }
}

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Duid({self})")
    }
}

/// A link-layer address of 1 to 16 bytes.
pub(super) fn hardware(htype: u16, address: &[u8]) -> Option<HardwareAddress> {
    let mut field = [0; 16];
    field.get_mut(..address.len())?.copy_from_slice(address);
    let len = u8::try_from(address.len()).ok().filter(|len| *len > 0)?;
    HardwareAddress::new(u8::try_from(htype).unwrap_or(0), len, field)
}

const LINK_LAYER_TIME: u16 = 1;
const LINK_LAYER: u16 = 3;
const UUID: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_and_ipxe_name_the_same_machine() {
        let firmware = Duid::new(&hex::decode("0004443322116655887799aabbccddeeff00").unwrap());
        let ipxe = Duid::new(&hex::decode("0004112233445566778899aabbccddeeff00").unwrap());
        let guid = firmware.unwrap().machine_guid(false).unwrap();
        assert_eq!(guid.to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!(ipxe.unwrap().machine_guid(true), Some(guid));
    }

    #[test]
    fn link_layer_addresses_are_found_in_both_kinds() {
        for text in ["0001000132936858528 66e43574e", "0003000152866e43574e"] {
            let bytes = hex::decode(text.replace(' ', "")).unwrap();
            let found = Duid::new(&bytes).unwrap().link_layer().unwrap();
            assert_eq!(found.to_string(), "52:86:6e:43:57:4e");
        }
        assert!(Duid::new(&[0, 3, 0]).unwrap().link_layer().is_none());
        assert!(Duid::new(&[0, 3, 0, 1]).unwrap().link_layer().is_none());
    }

    #[test]
    fn any_identifier_of_sound_length_tells_machines_apart() {
        assert!(Duid::new(&[]).is_none());
        assert!(Duid::new(&[0; 131]).is_none());
        assert!(Duid::new(&[1]).unwrap().as_hardware().is_some());
        assert_eq!(
            Duid::new(&[9; 130])
                .unwrap()
                .as_hardware()
                .unwrap()
                .bytes()
                .len(),
            16
        );
    }
}
