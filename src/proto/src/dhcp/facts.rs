//! What a DHCP packet says about the machine that sent it, and what it may be answered with.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;

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
    /// Seconds since the client began, byte-swapped senders corrected.
    pub secs: u16,
    /// iPXE feature flags of option 175 (0x10 to 0x4f), bit `n` for sub-option `0x10 + n`.
    pub ipxe_features: u64,
}

/// The decision, as far as DHCP goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Boot this.
    Boot {
        /// A TFTP path for firmware, a URL for iPXE and HTTP firmware.
        file: String,
        /// TFTP server, when it is not the address the client reached us at.
        server: Option<Ipv4Addr>,
        /// Assigned on purpose: the response delay does not apply to it.
        prestaged: bool,
    },
    /// Say nothing, for this reason: a stable code such as `policy.no-nbp`, and its text.
    Silent {
        /// Stable reason code.
        code: &'static str,
        /// The reason in words, with the evidence in it.
        text: String,
    },
}
