//! HTTP/1.1 as the boot endpoint speaks it: RFC 9110, RFC 9112.

mod exchange;

pub use exchange::{BODY_MAX, BootRequest, BootResponse, Method};
