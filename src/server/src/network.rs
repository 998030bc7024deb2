//! The host's interfaces and addresses, and the frames that pass on one of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, bail};
use bootstorm_config::{InterfaceChoice, InterfaceIs};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name, for example `eth0`.
    pub(crate) name: String,
    /// Kernel index.
    pub(crate) index: u32,
    /// Addresses that machines can reach, so no link-local ones.
    pub(crate) addresses: Vec<IpAddr>,
    /// It is the loopback interface.
    pub(crate) loopback: bool,
    /// It is up.
    pub(crate) up: bool,
    link: Option<LinkAddr>,
}

impl Interface {
    fn is(&self, which: &InterfaceIs) -> bool {
        match which {
            InterfaceIs::Name(name) => self.name == *name,
            InterfaceIs::Address(address) => self.addresses.contains(address),
            InterfaceIs::Mac(mac) => self.link.and_then(|link| link.addr()) == Some(mac.bytes()),
        }
    }
}

/// Every interface of this network namespace, by name.
pub(crate) fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs().context("the kernel does not list the network interfaces")? {
        let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else {
            continue;
        };
        let interface = found
            .entry(entry.interface_name.clone())
            .or_insert_with(|| Interface {
                name: entry.interface_name.clone(),
                index,
                addresses: Vec::new(),
                loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
                up: entry.flags.contains(InterfaceFlags::IFF_UP),
                link: None,
            });
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(v4) = address.as_sockaddr_in() {
            interface.addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            if !v6.ip().is_unicast_link_local() {
                interface.addresses.push(IpAddr::V6(v6.ip()));
            }
        } else if let Some(link) = address.as_link_addr() {
            interface.link = Some(*link);
        }
    }
    Ok(found.into_values().collect())
}

/// The interfaces that the choices mean: all but loopback where every choice only leaves out.
///
/// # Errors
/// A choice means no interface of this host, also one that leaves out: a slip there would answer
/// where nobody should. Or none is left.
pub(crate) fn chosen(choices: &[InterfaceChoice]) -> anyhow::Result<Vec<Interface>> {
    choose(interfaces()?, choices)
}

fn choose(all: Vec<Interface>, choices: &[InterfaceChoice]) -> anyhow::Result<Vec<Interface>> {
    if choices.is_empty() {
        return Ok(Vec::new());
    }
    for choice in choices {
        if !all.iter().any(|interface| interface.is(&choice.which)) {
            let known: Vec<_> = all.iter().map(|i| i.name.as_str()).collect();
            bail!(
                "there is no network interface `{}` [interface.unknown]\n  hint: this host has {}",
                choice.to_string().trim_start_matches('!'),
                known.join(", ")
            )
        }
    }
    let (out, within): (Vec<_>, Vec<_>) = choices.iter().partition(|choice| choice.left_out);
    let means = |list: &[&InterfaceChoice], interface: &Interface| {
        list.iter().any(|choice| interface.is(&choice.which))
    };
    let left: Vec<_> = all
        .into_iter()
        .filter(|i| !means(&out, i))
        .filter(|i| {
            if within.is_empty() {
                !i.loopback
            } else {
                means(&within, i)
            }
        })
        .collect();
    if left.is_empty() {
        bail!("no network interface is left to answer on [interface.unknown]");
    }
    Ok(left)
}

/// Hears every frame of one interface and sends none.
pub(crate) struct Ear {
    socket: OwnedFd,
}

impl Ear {
    /// Opens a packet socket; needs CAP_NET_RAW.
    pub(crate) fn open(interface: &Interface) -> anyhow::Result<Self> {
        let link = interface
            .link
            .with_context(|| format!("{} has no link layer to listen on", interface.name))?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .map_err(|errno| match errno {
            nix::Error::EPERM => anyhow::anyhow!(
                "listening to an interface needs the capability CAP_NET_RAW [watch.no-privilege]\n  \
                 hint: run it as root, or: sudo setcap cap_net_raw+ep $(command -v bootstorm)"
            ),
            other => anyhow::anyhow!("no packet socket: {other}"),
        })?;
        bind(socket.as_raw_fd(), &link)
            .with_context(|| format!("cannot listen on {}", interface.name))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 250_000))?;
        Ok(Self { socket })
    }

    /// The next frame, or `None` when a quarter of a second brought none.
    pub(crate) fn frame<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A UDP datagram inside an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    /// Sender.
    pub(crate) source: SocketAddr,
    /// Receiver.
    pub(crate) destination: SocketAddr,
    /// Bytes.
    pub(crate) payload: &'a [u8],
}

/// The UDP datagram in an Ethernet frame, if it holds a whole one.
pub(crate) fn datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => return None,
    };
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        return None;
    };
    Some(Datagram {
        source: (source, udp.source_port()).into(),
        destination: (destination, udp.destination_port()).into(),
        payload: udp.payload(),
    })
}

#[cfg(test)]
mod tests {
    use bootstorm_proto::types::MacAddress;

    use super::*;

    #[test]
    fn loopback_is_found_and_an_unknown_name_lists_the_known() {
        let all = interfaces().unwrap();
        assert!(all.iter().any(|i| i.loopback && i.index > 0), "{all:?}");
        let unknown = ["no-such-nic".parse().unwrap()];
        let error = chosen(&unknown).unwrap_err().to_string();
        assert!(
            error.contains("interface.unknown") && error.contains("lo"),
            "{error}"
        );
    }

    #[test]
    fn wds_22_interfaces_are_chosen_and_left_out_by_name_address_and_mac() {
        let interface = |name: &str, address: [u8; 4], loopback| Interface {
            name: name.to_owned(),
            index: 1,
            addresses: vec![address.into()],
            loopback,
            up: true,
            link: None,
        };
        let all = || {
            vec![
                interface("eth0", [10, 0, 0, 5], false),
                interface("eth1", [10, 1, 0, 5], false),
                interface("lo", [127, 0, 0, 1], true),
            ]
        };
        let names = |choices: &[&str]| -> Result<Vec<String>, String> {
            let choices: Vec<_> = choices.iter().map(|c| c.parse().unwrap()).collect();
            let chosen = choose(all(), &choices).map_err(|e| e.to_string())?;
            Ok(chosen.into_iter().map(|i| i.name).collect())
        };
        let are = |names: &[&str]| Ok(names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(names(&[]), are(&[]));
        assert_eq!(names(&["eth1"]), are(&["eth1"]));
        assert_eq!(names(&["10.0.0.5", "lo"]), are(&["eth0", "lo"]));
        assert_eq!(names(&["!10.1.0.5"]), are(&["eth0"]));
        assert_eq!(names(&["eth0", "eth1", "!eth1"]), are(&["eth0"]));
        assert!(names(&["!eth2"]).unwrap_err().contains("interface.unknown"));
        assert!(
            names(&["eth0", "!eth0"])
                .unwrap_err()
                .contains("no network interface is left")
        );
        // What the kernel says of this very host.
        let real = interfaces().unwrap();
        for interface in real.iter().filter(|i| !i.loopback) {
            let Some(mac) = interface.link.and_then(|link| link.addr()) else {
                continue;
            };
            let choice = MacAddress::new(mac).to_string().parse().unwrap();
            let chosen = choose(real.clone(), &[choice]).unwrap();
            assert!(chosen.contains(interface), "{chosen:?}");
        }
    }

    #[test]
    fn a_datagram_is_cut_out_of_its_frame_and_rubbish_is_not() {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [255; 6])
            .ipv4([10, 0, 0, 1], [255; 4], 64)
            .udp(68, 67);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"hello").unwrap();
        let found = datagram(&frame).unwrap();
        assert_eq!(found.source, "10.0.0.1:68".parse().unwrap());
        assert_eq!(found.payload, b"hello");
        for length in 0..frame.len() {
            assert!(datagram(&frame[..length]).is_none_or(|d| d.payload.len() < 5));
        }
    }
}
