//! The host's addresses: a packet to any of them is for us.

use std::net::{Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`.
pub(crate) type Address = [u8; 16];

/// Own addresses and directed broadcast addresses, without those of the loopback network.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn own() -> Result<Vec<Address>, Errno> {
    Ok(getifaddrs()?.flat_map(|entry| of(&entry)).collect())
}

fn of(entry: &InterfaceAddress) -> impl Iterator<Item = Address> + use<> {
    let v4 = entry.address.as_ref().and_then(ipv4);
    let v4 = v4.filter(|ip| !ip.is_loopback());
    let v6 = entry.address.as_ref().and_then(|a| a.as_sockaddr_in6());
    let v6 = v6.map(|a| a.ip()).filter(|ip| !ip.is_loopback());
    let directed = v4.and_then(|ip| directed_broadcast(ip, ipv4(entry.netmask.as_ref()?)?));
    // Somebody may have set another one.
    let set = v4.and_then(|_| ipv4(entry.broadcast.as_ref()?));
    let set = set.filter(|set| Some(*set) != directed);
    let all_v4 = [v4, directed, set].into_iter().flatten();
    all_v4
        .map(|ip| ip.to_ipv6_mapped())
        .chain(v6)
        .map(|ip: Ipv6Addr| ip.octets())
}

fn ipv4(address: &SockaddrStorage) -> Option<Ipv4Addr> {
    address.as_sockaddr_in().map(|a| a.ip())
}

/// RFC 919, section 7; networks of two addresses or one have none (RFC 3021).
fn directed_broadcast(ip: Ipv4Addr, mask: Ipv4Addr) -> Option<Ipv4Addr> {
    let host = !mask.to_bits();
    (host > 1).then(|| Ipv4Addr::from_bits(ip.to_bits() | host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_broadcast_address_unless_it_is_a_point_to_point_one() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        let of = |mask| directed_broadcast(ip, Ipv4Addr::from_bits(mask));
        assert_eq!(of(0xffff_ff00), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert_eq!(of(0xffff_0000), Some(Ipv4Addr::new(10, 1, 255, 255)));
        assert_eq!(of(0xffff_fffe), None);
        assert_eq!(of(0xffff_ffff), None);
    }

    #[test]
    fn nobody_sends_to_the_loopback_network_from_outside() {
        let own = own().unwrap();
        let loopback = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        assert!(!own.contains(&loopback.octets()));
        assert!(!own.contains(&Ipv6Addr::LOCALHOST.octets()));
    }
}
