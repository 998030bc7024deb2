//! Boot protocols as pure state machines (sans-IO).
//!
//! Everything here sees bytes, addresses and the time that it is given, and returns what is to be
//! sent. Nothing here owns a socket, a clock, a file or a thread; `clippy.toml` beside this crate
//! bans them.
#![forbid(unsafe_code)]

pub mod dhcp;
pub mod http;
pub mod ipxe;
pub mod tftp;
pub mod types;
