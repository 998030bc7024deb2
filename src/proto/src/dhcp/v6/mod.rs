//! DHCPv6 boot options: RFC 5970 over RFC 8415.
//!
//! DHCPv6 knows no proxy: firmware takes boot options only from the server that gives it its
//! address. What is answered here is INFORMATION-REQUEST, and SOLICIT and REQUEST without an
//! address (`NoAddrsAvail`), so that nobody takes the answer for a lease. For the rest the LAN's
//! own DHCPv6 server hands out our URL in option 59.

mod duid;
mod heard;
mod message;
mod relay;
mod request;

pub use duid::Duid;
pub use request::{Message, Reply, Request, Seen};

/// Room for every reply, in bytes: 32 relays with all the interface identifiers that are kept, and
/// the longest URL. Replies without relays fit [`REPLY_MAX`](super::REPLY_MAX).
pub const REPLY_MAX: usize = 4096;
