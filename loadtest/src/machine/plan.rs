//! What all machines of a storm share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Deserialize;

use super::body::copies::Copies;
use super::event::Phase;

/// What all machines of a storm share.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The boot server under test: where machines expect offers and files from.
    pub(crate) server: Ipv4Addr,
    /// Its ports, where they are not the usual ones.
    pub(crate) ports: Ports,
    /// Where addresses come from.
    pub(crate) leases: Leases,
    /// How long firmware waits for more offers.
    pub(crate) timing: Timing,
    /// A machine that has not booted so long after it was switched on has failed.
    pub(crate) patience: Duration,
    /// How often its firmware tries to boot: after a boot that failed it begins again.
    pub(crate) tries: u32,
    /// What is checked of every file.
    pub(crate) verify: Verify,
    /// SHA-256 of files, by the end of their URL or path.
    pub(crate) expected: Vec<Expected>,
    /// What machines know of each other's files.
    pub(crate) copies: Copies,
    /// Addresses of the names that URLs may have; no DNS is asked.
    pub(crate) hosts: BTreeMap<String, Ipv4Addr>,
    /// A connection serves for more than one request, as with every iPXE of today.
    pub(crate) keep_alive: bool,
    /// Machines that booted tell the server so, where its script asks for that.
    pub(crate) reports: bool,
    /// A machine is through once it got so far: `Program` or `Booted`.
    pub(crate) until: Phase,
}

/// The server's ports.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ports {
    /// DHCP.
    pub(crate) dhcp: u16,
    /// PXE boot server.
    pub(crate) pxe: u16,
    /// TFTP.
    pub(crate) tftp: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            dhcp: 67,
            pxe: 4011,
            tftp: 69,
        }
    }
}

/// Where the machines' addresses come from. Either way the host has to own them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leases {
    /// Nobody leases: machine `n` has the `n`-th address of the network, as if a DHCP server had
    /// answered beside the boot server at once.
    Harness(Network),
    /// A DHCP server under test leases, addresses of this network and no others.
    Server(Network),
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its first address.
    pub(crate) base: Ipv4Addr,
    /// Bits of its prefix.
    pub(crate) bits: u8,
}

/// How long firmware waits for more offers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Timing {
    /// As long as the real one: x64 UEFI collects offers for its first 4 s.
    Firmware,
    /// Only until it knows enough to go on. Repetitions keep the real times.
    #[default]
    Prompt,
}

/// What is checked of every file.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verify {
    /// Its length and its SHA-256.
    #[default]
    Sha256,
    /// Its length.
    Length,
}

/// A file whose SHA-256 the scenario knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The end of its URL or path.
    pub(crate) name: String,
    /// What it hashes to.
    pub(crate) sha256: [u8; 32],
}

impl Network {
    /// The `number`-th host's address, counted from 0; `None` where the network is too small.
    pub(crate) fn host(self, number: u32) -> Option<Ipv4Addr> {
        let room = 1_u64 << (32 - u32::from(self.bits.min(32)));
        let place = u64::from(number) + 1;
        (place + 1 < room).then(|| Ipv4Addr::from(u32::from(self.base) + number + 1))
    }

    /// Whether an address belongs to it.
    pub(crate) fn holds(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.base) & mask
    }
}
