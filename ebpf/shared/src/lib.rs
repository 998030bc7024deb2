//! What a packet is and whether it passes: shared by the kernel classifier and user space.
//!
//! [`classify`] sees the payload of one UDP datagram to one of the server's ports and says what it
//! is; [`sort`] does the same for a whole frame, wherever its bytes are. [`judge`] decides. Nothing
//! here allocates or can panic, and it finds the same as the full parser: the tests hold the two
//! together on every packet of real firmware and on mutations of them.
#![no_std]
#![forbid(unsafe_code)]

mod bucket;
mod class;
mod dhcp;
mod frame;
mod sample;
mod source;
mod table;
mod tftp;
mod verdict;

pub use bucket::{Bucket, Rate};
pub use class::{Broken, Class, Family};
pub use dhcp::{DHCP_MAX, STEPS, Walk};
pub use frame::{Frame, sort};
pub use sample::{HEAD, Sample};
pub use source::{Source, Span};
pub use table::{Action, Limits, Ports, Rule, Settings, Table};
pub use verdict::{COUNTERS, Cause, Count, Guid, Mac, Machine, Tables, Which, counter, judge};

/// The DHCP server's port.
pub const DHCP_PORT: u16 = 67;
/// The PXE boot service's port.
pub const PXE_PORT: u16 = 4011;
/// The port of TFTP requests.
pub const TFTP_PORT: u16 = 69;

/// Sorts a datagram by its payload and destination port. Datagrams to a TFTP data port go to
/// [`classify_data`].
#[must_use]
pub fn classify(payload: &[u8], port: u16) -> Class {
    inspect(payload, port).0
}

/// Sorts a datagram as [`classify`] does, and says who sent it: for DHCP from a machine with an
/// Ethernet address.
#[must_use]
pub fn inspect(payload: &[u8], port: u16) -> (Class, Option<Machine>) {
    match port {
        DHCP_PORT | PXE_PORT => dhcp::sort(payload),
        TFTP_PORT => (tftp::request(payload.first_chunk().copied()), None),
        _ => (Class::NotOurs, None),
    }
}

/// Sorts a datagram to a TFTP data port, where a read request has no business.
#[must_use]
pub fn classify_data(payload: &[u8]) -> Class {
    tftp::data(payload.first_chunk().copied())
}
