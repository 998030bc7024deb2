//! PXE's own options: 60 and 43 (PXE 2.1, section 2.2), 93, 94 and 97 (RFC 4578).

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;

use super::style::MENU_ITEM;
use crate::types::{ClientArch, MachineGuid};

/// What option 60 of a reply says to PXE firmware: exactly these nine bytes.
pub(super) const PXE_CLASS: &[u8] = b"PXEClient";
/// The same for HTTP Boot firmware.
pub(super) const HTTP_CLASS: &[u8] = b"HTTPClient";

/// Option 60 of a client that boots from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VendorClass {
    pub(super) http: bool,
    /// The number of `...:Arch:00007:...`.
    pub(super) arch: Option<ClientArch>,
}

impl VendorClass {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (http, rest) = if let Some(rest) = text.strip_prefix(PXE_CLASS) {
            (false, rest)
        } else {
            (true, text.strip_prefix(HTTP_CLASS)?)
        };
        Some(Self {
            http,
            arch: rest.strip_prefix(b":Arch:").and_then(decimal),
        })
    }
}

/// Option 93: architectures in the order sent. A stray odd byte at the end is left out.
pub(super) fn arches(data: &[u8]) -> ArrayVec<ClientArch, 8> {
    let (pairs, _) = data.as_chunks::<2>();
    pairs
        .iter()
        .take(8)
        .map(|pair| ClientArch(u16::from_be_bytes(*pair)))
        .collect()
}

/// Option 97: type 0 and sixteen bytes; vendors that never wrote one send all zero or all ones.
pub(super) fn machine_guid(data: &[u8]) -> Option<MachineGuid> {
    let (0, guid) = data.split_first().map(|(kind, guid)| (*kind, guid))? else {
        return None;
    };
    let guid = MachineGuid::from_wire(guid.try_into().ok()?);
    (!guid.is_blank()).then_some(guid)
}

/// Option 94: the network interface's driver standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkInterface {
    /// 1 is UNDI.
    pub kind: u8,
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
}

impl NetworkInterface {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let &[kind, major, minor] = data else {
            return None;
        };
        Some(Self { kind, major, minor })
    }
}

/// Option 43 tag 71: which boot server the firmware asks, and for which layer of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootItem {
    /// Boot server type; 0 is the bootstrap.
    pub item: u16,
    /// Layer; bit 15 asks for a credential.
    pub layer: u16,
}

impl BootItem {
    /// Finds the tag among the encapsulated options of a request.
    pub(super) fn find(vendor: &[u8]) -> Option<Self> {
        let mut rest = vendor;
        while let [tag, behind @ ..] = rest {
            match (*tag, behind) {
                (0, _) => rest = behind,
                (tag::END, _) | (_, []) => return None,
                (found, [len, behind @ ..]) => {
                    let (data, behind) = behind.split_at_checked(usize::from(*len))?;
                    if let (tag::BOOT_ITEM, &[a, b, c, d]) = (found, data) {
                        return Some(Self {
                            item: u16::from_be_bytes([a, b]),
                            layer: u16::from_be_bytes([c, d]),
                        });
                    }
                    rest = behind;
                }
            }
        }
        None
    }

    pub(super) const fn wants_credentials(self) -> bool {
        self.layer & 0x8000 != 0
    }
}

/// Option 43 of a reply.
#[derive(Clone, Debug, Default)]
pub(super) struct VendorOptions(ArrayVec<u8, 64>);

impl VendorOptions {
    /// Use the boot file of this packet.
    pub(super) fn skip_discovery() -> Self {
        let mut options = Self::default();
        options.tag(tag::DISCOVERY_CONTROL, &[USE_BOOT_FILE]);
        options
    }

    /// The same, for ROMs that go by the prompt: no wait, choose at once.
    pub(super) fn prompt() -> Self {
        let mut options = Self::skip_discovery();
        options.tag(tag::MENU_PROMPT, b"\0PXE");
        options
    }

    /// One boot server, one item, chosen at once, asked for by unicast alone.
    pub(super) fn menu(server: Ipv4Addr) -> Self {
        let mut options = Self::default();
        options.tag(
            tag::DISCOVERY_CONTROL,
            &[NO_BROADCAST | NO_MULTICAST | LISTED_ONLY],
        );
        let [a, b] = MENU_ITEM.to_be_bytes();
        let [w, x, y, z] = server.octets();
        options.tag(tag::BOOT_SERVERS, &[a, b, 1, w, x, y, z]);
        options.tag(
            tag::BOOT_MENU,
            &[a, b, 7, b'N', b'e', b't', b'w', b'o', b'r', b'k'],
        );
        options.tag(tag::MENU_PROMPT, b"\0PXE");
        options
    }

    /// Says again what was asked for, as the answer of a boot server must.
    pub(super) fn boot_item(mut self, item: BootItem) -> Self {
        let [a, b] = item.item.to_be_bytes();
        let [c, d] = item.layer.to_be_bytes();
        self.tag(tag::BOOT_ITEM, &[a, b, c, d]);
        self
    }

    /// The bytes, with the end tag that must be there.
    pub(super) fn finish(mut self) -> ArrayVec<u8, 64> {
        if !self.0.is_full() {
            self.0.push(tag::END);
        }
        self.0
    }

    fn tag(&mut self, tag: u8, data: &[u8]) {
        let len = u8::try_from(data.len()).unwrap_or(u8::MAX);
        // The longest set above has 41 bytes: every tag finds room.
        let _ = self.0.try_extend_from_slice(&[tag, len]);
        let _ = self.0.try_extend_from_slice(data);
    }
}

mod tag {
    pub(super) const DISCOVERY_CONTROL: u8 = 6;
    pub(super) const BOOT_SERVERS: u8 = 8;
    pub(super) const BOOT_MENU: u8 = 9;
    pub(super) const MENU_PROMPT: u8 = 10;
    pub(super) const BOOT_ITEM: u8 = 71;
    pub(super) const END: u8 = 255;
}

const NO_BROADCAST: u8 = 1;
const NO_MULTICAST: u8 = 2;
const LISTED_ONLY: u8 = 4;
const USE_BOOT_FILE: u8 = 8;

fn decimal(text: &[u8]) -> Option<ClientArch> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let so_far: u16 = number.unwrap_or(0);
        number = Some(
            so_far
                .checked_mul(10)?
                .checked_add(u16::from(*digit - b'0'))?,
        );
    }
    number.map(ClientArch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_names_the_asker_and_the_architecture() {
        let class = VendorClass::parse(b"PXEClient:Arch:00007:UNDI:003016").unwrap();
        assert_eq!((class.http, class.arch), (false, Some(ClientArch(7))));
        let class = VendorClass::parse(b"HTTPClient:Arch:00016:UNDI:003001").unwrap();
        assert_eq!((class.http, class.arch), (true, Some(ClientArch(16))));
        assert_eq!(VendorClass::parse(b"PXEClient").unwrap().arch, None);
        assert_eq!(
            VendorClass::parse(b"PXEClient:Arch:99999").unwrap().arch,
            None
        );
        assert_eq!(VendorClass::parse(b"AAPLBSDPC/i386"), None);
        assert_eq!(VendorClass::parse(b"PXEClien"), None);
    }

    #[test]
    fn every_architecture_of_the_list_is_kept_in_order() {
        assert_eq!(
            arches(&[0, 9, 0, 7]).as_slice(),
            [ClientArch(9), ClientArch(7)]
        );
        assert_eq!(arches(&[0, 7, 0]).as_slice(), [ClientArch(7)]);
        assert!(arches(&[]).is_empty());
        assert_eq!(arches(&[0; 254]).len(), 8);
    }

    #[test]
    fn a_blank_or_oddly_long_machine_id_is_none() {
        assert!(machine_guid(&[0; 17]).is_none());
        assert!(machine_guid(&[0xff; 17]).is_none());
        assert!(machine_guid(&[0, 1, 2]).is_none());
        assert!(machine_guid(&[]).is_none());
        assert!(machine_guid(&[[0].as_slice(), &[1; 16]].concat()).is_some());
    }

    #[test]
    fn the_boot_item_is_found_behind_other_tags() {
        let item = BootItem::find(&[0, 6, 1, 8, 71, 4, 0x80, 3, 0x80, 0, 255]).unwrap();
        assert_eq!((item.item, item.layer), (0x8003, 0x8000));
        assert!(item.wants_credentials());
        for broken in [
            &[71, 4, 0, 0][..],
            &[71],
            &[255, 71, 4, 0, 0, 0, 0],
            &[71, 2, 0, 0],
            &[],
        ] {
            assert_eq!(BootItem::find(broken), None);
        }
    }

    #[test]
    fn replies_carry_the_bytes_that_firmware_knows() {
        assert_eq!(VendorOptions::skip_discovery().finish()[..], [6, 1, 8, 255]);
        assert_eq!(
            VendorOptions::prompt().finish()[..],
            [6, 1, 8, 10, 4, 0, b'P', b'X', b'E', 255]
        );
        let menu = VendorOptions::menu(Ipv4Addr::new(10, 0, 0, 1))
            .boot_item(BootItem { item: 1, layer: 0 })
            .finish();
        assert_eq!(menu.last(), Some(&255));
        assert_eq!(BootItem::find(&menu), Some(BootItem { item: 1, layer: 0 }));
    }
}
