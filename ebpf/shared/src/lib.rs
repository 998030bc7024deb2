//! Packet classes shared by the kernel classifier and user space.
//!
//! [`classify`] sees the payload of one UDP datagram to one of the server's ports and says what it
//! is. It allocates nothing, cannot panic, and finds the same as the full parser: the tests hold
//! the two together on every packet of real firmware and on mutations of them.
#![no_std]
#![forbid(unsafe_code)]

mod bucket;
mod class;
mod dhcp;
mod sample;
mod table;
mod tftp;
mod verdict;

pub use bucket::{Bucket, Rate};
pub use class::{Broken, Class, Family};
pub use sample::{HEAD, Sample};
pub use table::{Action, Limits, Ports, Rule, Settings, Table};
pub use tftp::classify_data;
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
    match port {
        DHCP_PORT | PXE_PORT => dhcp::classify(payload),
        TFTP_PORT => tftp::classify(payload),
        _ => Class::NotOurs,
    }
}
