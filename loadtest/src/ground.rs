//! Where storms may be let loose.

use std::net::Ipv4Addr;

/// Loopback, private and link-local addresses: a storm against any other is an attack.
pub(crate) const fn is_own(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}
