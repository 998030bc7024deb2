//! What the kernel knows about network interfaces: MTU and addresses.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How long what was read is believed.
const FRESH: Duration = Duration::from_secs(5);
/// An MTU that every Ethernet has, for an interface that the kernel does not know.
const ETHERNET: u32 = 1500;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) loopback: bool,
    pub(crate) up: bool,
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

/// The interfaces, read again when they are older than a few seconds.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    known: HashMap<u32, Interface>,
    read: Option<Instant>,
}

impl Interfaces {
    /// The interface with this index.
    pub(crate) fn get(&mut self, index: u32, now: Instant) -> Option<&Interface> {
        self.refresh(now);
        self.known.get(&index)
    }

    /// The interface that has this address.
    pub(crate) fn with_address(&mut self, address: IpAddr, now: Instant) -> Option<&Interface> {
        self.refresh(now);
        self.known.values().find(|i| match address {
            IpAddr::V4(ip) => i.v4.contains(&ip) || i.loopback && ip.is_loopback(),
            IpAddr::V6(ip) => i.v6.contains(&ip),
        })
    }

    fn refresh(&mut self, now: Instant) {
        let fresh = self
            .read
            .is_some_and(|read| now.saturating_duration_since(read) < FRESH);
        if !fresh {
            self.read = Some(now);
            match list() {
                Ok(list) => self.known = list.into_iter().map(|i| (i.index, i)).collect(),
                Err(error) => tracing::debug!(%error, "the interfaces cannot be read"),
            }
        }
    }

    /// The interface's MTU, that of Ethernet when it is unknown.
    pub(crate) fn mtu(&mut self, index: u32, now: Instant) -> u32 {
        self.get(index, now).map_or(ETHERNET, |i| i.mtu)
    }
}

/// Every interface.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn list() -> io::Result<Vec<Interface>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` is a valid place for the list's head.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found: HashMap<String, Interface> = HashMap::new();
    let mut next = first;
    // SAFETY: every entry of the list is valid until `freeifaddrs`, and so are its name and,
    // where it is not null, its address, whose family says how long it is.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        let Ok(name) = name.to_str() else { continue };
        let interface = found.entry(name.to_owned()).or_default();
        interface.loopback |= entry.ifa_flags & libc::IFF_LOOPBACK as u32 != 0;
        interface.up |= entry.ifa_flags & libc::IFF_UP as u32 != 0;
        // SAFETY: as above.
        unsafe { read_address(entry.ifa_addr, interface) };
    }
    // SAFETY: the list came from `getifaddrs` and is not used any more.
    unsafe { libc::freeifaddrs(first) };
    let mut list: Vec<Interface> = found
        .into_iter()
        .filter_map(|(name, interface)| {
            let (index, mtu) = index_and_mtu(&name)?;
            Some(Interface {
                index,
                name,
                mtu,
                ..interface
            })
        })
        .collect();
    list.sort_by_key(|i| i.index);
    Ok(list)
}

/// Adds an address to its interface.
///
/// # Safety
/// `address` is null or points to a socket address as long as its family's.
unsafe fn read_address(address: *const libc::sockaddr, interface: &mut Interface) {
    if address.is_null() {
        return;
    }
    // SAFETY: not null, and every socket address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            interface.v4.push(ip);
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            interface.v6.push(Ipv6Addr::from(v6.sin6_addr.s6_addr));
        }
        _ => {}
    }
}

fn index_and_mtu(name: &str) -> Option<(u32, u32)> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )
    .ok()?;
    let index = rustix::net::netdevice::name_to_index(&socket, name).ok()?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    // SAFETY: the request names an interface and has room for the answer.
    let result = unsafe {
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SIOCGIFMTU as _,
            &raw mut request,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: SIOCGIFMTU filled this field of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Some((index, u32::try_from(mtu).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_its_addresses_and_mtu() {
        let list = list().unwrap();
        let lo = list.iter().find(|i| i.loopback).unwrap();
        assert!(lo.v4.contains(&Ipv4Addr::LOCALHOST));
        assert!(lo.mtu >= 1500);
        let mut interfaces = Interfaces::default();
        let now = Instant::now();
        assert_eq!(interfaces.mtu(lo.index, now), lo.mtu);
        assert_eq!(interfaces.mtu(u32::MAX, now), ETHERNET);
        for address in ["127.0.0.1", "127.9.9.9"] {
            let found = interfaces.with_address(address.parse().unwrap(), now);
            assert_eq!(found, Some(lo));
        }
        let nobody = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(interfaces.with_address(nobody, now), None);
    }
}
