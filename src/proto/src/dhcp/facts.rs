//! What a DHCP packet says about the machine that sent it, and what it may be answered with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::wds::{WdsAction, WdsRequest};
use crate::types::{ClientArch, HardwareAddress, MachineGuid};

/// Which program in the machine is asking; each wants an answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// PXE firmware: wants a network boot program over TFTP.
    Firmware,
    /// UEFI HTTP Boot firmware: wants the URL of an EFI program or disk image.
    HttpFirmware,
    /// iPXE: wants the URL of its script.
    Ipxe,
}

/// The step of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A DISCOVER (DHCPv6: SOLICIT): the answer is an offer, and a response delay holds for it.
    Offer,
    /// A request for boot data, as to port 4011: the machine has chosen this server.
    Boot,
}

/// The beginning of an option: what expressions and logs need of it.
pub type OptionBytes = ArrayVec<u8, OPTION_MAX>;

const OPTION_MAX: usize = 64;

/// Facts for the decision, copied out of the packet: nothing in here refers to a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFacts {
    /// Link-layer address of the header.
    pub hardware: HardwareAddress,
    /// Option 97, when present and well formed.
    pub guid: Option<MachineGuid>,
    /// Option 93 in the order sent, else the number in option 60. Never empty.
    pub arches: ArrayVec<ClientArch, 8>,
    /// Which program asks.
    pub asker: Asker,
    /// The relay's address (giaddr, or the DHCPv6 link address), when relayed.
    pub relay: Option<IpAddr>,
    /// The client's own address, where the packet gives it (ciaddr, requested address, source).
    pub address: Option<IpAddr>,
    /// Our address on the interface the packet came in on: what the answer names as server.
    pub local: IpAddr,
    /// Index of that interface.
    pub interface: u32,
    /// Which step of the exchange this is.
    pub phase: Phase,
    /// Seconds since the client began, byte-swapped senders corrected.
    pub secs: u16,
    /// Option 61 (DHCPv6: the DUID), cut to what fits.
    pub client_id: OptionBytes,
    /// UNDI version of option 94 (DHCPv6: 62), major and minor.
    pub undi: Option<(u8, u8)>,
    /// Option 60, cut to what fits; empty in DHCPv6, as are the three below.
    pub vendor_class: OptionBytes,
    /// Option 77, cut to what fits.
    pub user_class: OptionBytes,
    /// Option 82, sub-option 1 (RFC 3046, section 3.1), cut to what fits.
    pub circuit_id: OptionBytes,
    /// Option 82, sub-option 2 (RFC 3046, section 3.2), cut to what fits.
    pub remote_id: OptionBytes,
    /// iPXE feature flags of option 175 (0x10 to 0x4f), bit `n` for sub-option `0x10 + n`.
    pub ipxe_features: u64,
    /// Option 250, where a boot program of Windows asks after firmware.
    pub wds: Option<WdsRequest>,
}

impl ClientFacts {
    /// The facts of a machine that says no more than it has to, in its first request.
    #[must_use]
    pub fn new(hardware: HardwareAddress, asker: Asker, arch: ClientArch, local: IpAddr) -> Self {
        Self {
            hardware,
            guid: None,
            arches: ArrayVec::from_iter([arch]),
            asker,
            relay: None,
            address: None,
            local,
            interface: 0,
            phase: Phase::Offer,
            secs: 0,
            client_id: OptionBytes::new(),
            undi: None,
            vendor_class: OptionBytes::new(),
            user_class: OptionBytes::new(),
            circuit_id: OptionBytes::new(),
            remote_id: OptionBytes::new(),
            ipxe_features: 0,
            wds: None,
        }
    }
}

/// What of an option is kept.
pub(super) fn beginning(option: &[u8]) -> OptionBytes {
    option.iter().copied().take(OPTION_MAX).collect()
}

/// Files that are made for one machine, by the paths that it asks TFTP for. iPXE and HTTP firmware
/// are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowsFiles {
    /// Its boot configuration data (option 252).
    pub store: String,
    /// Its variables for Configuration Manager (option 243).
    pub variables: Option<String>,
}

/// The decision, as far as DHCP goes. Cheap to clone: one that was made serves many requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Boot this.
    Boot {
        /// A TFTP path for firmware, a URL for iPXE and HTTP firmware.
        file: Arc<str>,
        /// TFTP server, when it is not the address the client reached us at.
        server: Option<Ipv4Addr>,
        /// Seconds that the machine must have been asking before it is offered anything; 0 for
        /// machines that are known. It does not hold for those that have chosen this server.
        delay: u16,
        /// Where Windows' boot manager finds what is made for the machine, if it boots that.
        windows: Option<Arc<WindowsFiles>>,
    },
    /// A boot program of Windows ([`ClientFacts::wds`]) is to do this; nobody else is answered so.
    Wds(WdsAction),
    /// Somebody has yet to say what the machine boots. It hears nothing until then.
    Later,
    /// Say nothing, for this reason: a stable code such as `policy.no-nbp`, and its text.
    Silent {
        /// Stable reason code.
        code: &'static str,
        /// The reason in words, with the evidence in it.
        text: Arc<str>,
    },
}
