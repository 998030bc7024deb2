//! How answers look on the wire, where firmware leaves a choice.

use arrayvec::ArrayVec;

use super::v6::Duid;

/// The choices; the default serves the firmware that is met most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// What UEFI firmware is offered.
    pub uefi: UefiOffer,
    /// What BIOS firmware is offered.
    pub bios: BiosOffer,
    /// What option 175 tells iPXE.
    pub ipxe: IpxeOption,
    /// Boot server types (PXE 2.1, option 43 tag 71) that are answered. 0 is the bootstrap type
    /// that firmware asks for when it was shown no menu.
    pub boot_items: ArrayVec<u16, 8>,
    /// Our DHCPv6 identity; `None` makes one from the address that a request reached us at.
    pub duid: Option<Duid>,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            uefi: UefiOffer::TwoStep,
            bios: BiosOffer::SkipDiscovery,
            ipxe: IpxeOption::Absent,
            boot_items: [0, MENU_ITEM].into_iter().collect(),
            duid: None,
        }
    }
}

/// The boot server type that our own menu names: the first of the range left to vendors.
pub(super) const MENU_ITEM: u16 = 0x8000;

/// What UEFI firmware gets from port 67.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UefiOffer {
    /// An offer with option 60 alone; the boot file follows in the ACK from port 4011. Works with
    /// every firmware, also with those whose EDK2 throws away the first offer with option 43.
    TwoStep,
    /// Everything in the first offer, with option 43 to skip discovery.
    AllInOne,
}

/// What BIOS firmware gets from port 67; the boot file is in the offer each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BiosOffer {
    /// Option 43 `06 01 08 ff`: use the file of this packet.
    SkipDiscovery,
    /// The same and an empty prompt without a wait, for ROMs that insist on option 43 tag 10.
    Prompt,
    /// A menu of one item that is chosen at once and asked for on port 4011.
    Menu,
}

/// Option 175 in answers to iPXE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpxeOption {
    /// Left out.
    Absent,
    /// The script's URL as plain text, for iPXE builds with a script that reads `${175:string}`.
    Url,
    /// Encapsulated `no-pxedhcp = 1`: do not wait for further proxyDHCP servers.
    NoPxeDhcp,
}
