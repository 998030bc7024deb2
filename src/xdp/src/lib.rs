//! Loads the kernel classifier, attaches it to interfaces, and talks to its maps.
//!
//! [`Classifier::start`] tries native mode, then generic mode, then leaves an interface alone:
//! whatever is not in the kernel is enforced by the engine, out of the same table. Nothing is
//! pinned, so the program leaves the interfaces with the process, however that ends. Attaching
//! takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the verifier takes pointers into packets only from
//! those who have it); afterwards [`give_up_capabilities`] drops them, and everything else here
//! goes on working.
#![cfg(target_os = "linux")]

mod addresses;
mod attach;
mod capabilities;
mod classifier;
mod error;
mod housekeeping;
mod interfaces;
mod maps;
mod netlink;
mod occupant;
mod other_links;
mod program;
mod roster;

pub use attach::Mode;
pub use capabilities::give_up_capabilities;
pub use classifier::{Classifier, Counts, XdpConfig};
pub use error::{Full, XdpError};
pub use interfaces::{Attached, Attachment};
pub use occupant::Occupant;
pub use roster::Roster;

/// Whether this kernel takes the classifier from this process: loads it and lets it go, without
/// attaching it anywhere.
///
/// # Errors
/// Why it does not.
pub fn check() -> Result<(), XdpError> {
    program::load().map(drop)
}
