//! DHCP as a proxyDHCP server speaks it: PXE 2.1, RFC 2131, RFC 2132, RFC 4578, RFC 8415.

mod facts;

pub use facts::{Answer, Asker, ClientFacts};
