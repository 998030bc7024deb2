//! The interface and the packet socket on it.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context as _, anyhow, bail, ensure};
use bootstorm_proto::types::MacAddress;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

/// Frames handed to the kernel by one call.
pub(crate) const BATCH: usize = 64;

/// An interface of this host.
#[derive(Debug)]
pub(crate) struct Interface {
    name: String,
    link: LinkAddr,
    promiscuous: bool,
    address: Option<Network>,
}

/// An IPv4 network and the own address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) own: Ipv4Addr,
    pub(crate) mask: Ipv4Addr,
}

impl Interface {
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let (mut link, mut address, mut promiscuous) = (None, None, false);
        let of_name = getifaddrs()
            .context("cannot list the network interfaces")?
            .filter(|entry| entry.interface_name == name);
        for entry in of_name {
            promiscuous |= entry.flags.contains(InterfaceFlags::IFF_PROMISC);
            let Some(found) = entry.address else { continue };
            if let Some(found) = found.as_link_addr() {
                link = Some(*found);
            }
            let mask = entry
                .netmask
                .as_ref()
                .and_then(|mask| mask.as_sockaddr_in());
            if let (Some(own), Some(mask), None) = (found.as_sockaddr_in(), mask, address) {
                address = Some(Network {
                    own: own.ip(),
                    mask: mask.ip(),
                });
            }
        }
        Ok(Self {
            name: name.to_owned(),
            link: link.with_context(|| format!("there is no network interface `{name}`"))?,
            promiscuous,
            address,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It takes frames for every Ethernet address, because somebody switched that on.
    pub(crate) const fn is_promiscuous(&self) -> bool {
        self.promiscuous
    }

    /// Binds a packet socket to it.
    pub(crate) fn bind(&self, socket: &impl AsRawFd) -> anyhow::Result<()> {
        bind(socket.as_raw_fd(), &self.link)
            .with_context(|| format!("no frames of {} can be had", self.name))
    }

    /// Its Ethernet address.
    pub(crate) fn mac(&self) -> Option<MacAddress> {
        self.link.addr().map(MacAddress::new)
    }

    /// The network of its first IPv4 address.
    pub(crate) fn network(&self) -> anyhow::Result<Network> {
        let network = self.address.with_context(|| {
            format!(
                "{} has no IPv4 address whose neighbours could be made up; give it one, or send \
                 to 255.255.255.255",
                self.name
            )
        })?;
        ensure!(
            network.hosts() >= 6,
            "the network of {} on {} is too small to make up neighbours in",
            network.own,
            self.name
        );
        Ok(network)
    }
}

impl Network {
    /// Addresses of hosts.
    fn hosts(self) -> u32 {
        (!self.mask.to_bits()).saturating_sub(1)
    }

    /// A neighbour, neither this host nor `other`; the numbers are gone through in turn.
    pub(crate) fn neighbour(self, number: u32, other: Ipv4Addr) -> Ipv4Addr {
        let base = self.own.to_bits() & self.mask.to_bits();
        let hosts = self.hosts().max(1);
        let host = |step: u32| Ipv4Addr::from(base + 1 + number.wrapping_add(step) % hosts);
        (0..3)
            .map(host)
            .find(|address| *address != self.own && *address != other)
            .unwrap_or(self.own)
    }
}

/// Sends whole Ethernet frames; hears nothing.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: OwnedFd,
    name: String,
}

impl Sender {
    pub(crate) fn open(interface: &Interface) -> anyhow::Result<Self> {
        let kind = (AddressFamily::Packet, SockType::Raw);
        // Without a protocol it is never given a packet that comes in.
        let socket =
            socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, None).map_err(|errno| match errno {
                Errno::EPERM => anyhow!(
                    "whole frames need the capability CAP_NET_RAW; run it as root, in a network \
                     namespace of its own"
                ),
                other => anyhow!("no packet socket: {other}"),
            })?;
        interface.bind(&socket)?;
        Ok(Self {
            socket,
            name: interface.name.clone(),
        })
    }

    /// Room for the headers of a batch.
    pub(crate) fn headers(batch: usize) -> MultiHeaders<LinkAddr> {
        MultiHeaders::preallocate(batch, None)
    }

    /// Sends frames and says how many went; `None` when the interface had no room for the first.
    pub(crate) fn send(
        &self,
        headers: &mut MultiHeaders<LinkAddr>,
        frames: &[[IoSlice<'_>; 1]],
    ) -> anyhow::Result<Option<usize>> {
        let to_where_it_is_bound = [None; BATCH];
        let sent = sendmmsg(
            self.socket.as_raw_fd(),
            headers,
            frames,
            to_where_it_is_bound,
            [],
            MsgFlags::empty(),
        );
        match sent {
            Ok(results) => Ok(Some(results.count())),
            Err(Errno::EINTR) => Ok(Some(0)),
            Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(None),
            Err(errno) => bail!("cannot send on {}: {}", self.name, errno.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_interface_is_named_and_loopback_has_a_network() {
        let error = Interface::named("no-such-nic").unwrap_err().to_string();
        assert!(error.contains("no-such-nic"), "{error}");
        let network = Interface::named("lo").unwrap().network().unwrap();
        assert_eq!(network.own, Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn neighbours_are_hosts_of_the_network_but_not_the_two_that_exist() {
        let network = Network {
            own: Ipv4Addr::new(10, 0, 0, 9),
            mask: Ipv4Addr::new(255, 255, 255, 248),
        };
        let server = Ipv4Addr::new(10, 0, 0, 10);
        let all: std::collections::BTreeSet<_> = (0..1000)
            .map(|number| network.neighbour(number, server))
            .collect();
        let expected = (11..=14).map(|host| Ipv4Addr::new(10, 0, 0, host));
        assert!(all.into_iter().eq(expected));
    }
}
