//! One request of a machine, from the datagram to the reply.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use arrayvec::ArrayVec;

use super::facts::{Answer, Asker, ClientFacts, Phase, beginning};
use super::heard::Heard;
use super::packet::{MessageType, Packet};
use super::pxe::{self, BootItem, NetworkInterface, VendorClass};
use super::quirks::{self, Traits};
use super::relay::{self, RelayInfo};
use super::silence::{Silence, Why};
use super::style::Style;
use super::wds::WdsRequest;
use super::{ipxe, proxy};
use crate::types::{ClientArch, HardwareAddress};

/// How a datagram came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Port that it was sent to.
    pub port: Port,
    /// Where it came from.
    pub source: SocketAddrV4,
    /// Our address on the interface that it came in on: what answers name as server.
    pub local: Ipv4Addr,
    /// Index of that interface.
    pub interface: u32,
    /// It was sent to a broadcast or multicast address, not to us alone.
    pub broadcast: bool,
}

/// The two ports of a proxyDHCP server. A reply leaves from the port that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// UDP 67, shared with the DHCP server or on a host of our own.
    Dhcp67,
    /// UDP 4011, the PXE boot service.
    Pxe4011,
}

impl Port {
    /// The port number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Dhcp67 => 67,
            Self::Pxe4011 => 4011,
        }
    }
}

/// A reply that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the machine waits for it"]
pub struct Reply {
    /// Bytes written to the buffer.
    pub len: usize,
    /// Where to send them, from the port that was asked.
    pub to: Destination,
    /// What the reply is; `None` for BootP.
    pub message: Option<MessageType>,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To one host.
    Host(SocketAddrV4),
    /// To 255.255.255.255 port 68, on one interface alone.
    Broadcast {
        /// Index of the interface.
        interface: u32,
    },
}

impl Destination {
    /// The address to send to.
    #[must_use]
    pub const fn address(self) -> SocketAddrV4 {
        match self {
            Self::Host(address) => address,
            Self::Broadcast { .. } => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
        }
    }
}

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// A request that may be answered. It owns what a reply needs, so the buffer it was read from is
/// free again.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) seen: Seen,
    pub(super) exchange: Exchange,
    pub(super) hardware: HardwareAddress,
    pub(super) xid: u32,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) relay: RelayInfo,
    pub(super) relay_info: ArrayVec<u8, 510>,
    pub(super) client_id: ArrayVec<u8, 255>,
    pub(super) machine_id: ArrayVec<u8, 255>,
    pub(super) interface: Option<NetworkInterface>,
    pub(super) traits: Traits,
    facts: ClientFacts,
}

/// What kind of reply a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// A DISCOVER: an offer.
    Offer,
    /// A request for boot data, maybe of one boot server type: an ACK.
    Ack(Option<BootItem>),
    /// No option 53 came, none goes back.
    Bootp,
}

impl Request {
    /// Reads a datagram.
    ///
    /// # Errors
    /// A [`Silence`] for everything that a proxyDHCP server leaves alone: broken packets, machines
    /// that do not boot from the network, the DHCP server's business.
    pub fn read(bytes: &[u8], seen: &Seen) -> Result<Self, Silence> {
        let packet = Packet::parse(bytes)?;
        let hardware = packet.hardware();
        Self::read_packet(&packet, seen).map_err(|why| why.of(hardware))
    }

    fn read_packet(packet: &Packet<'_>, seen: &Seen) -> Result<Self, Why> {
        let giaddr = packet.giaddr();
        check_header(packet, giaddr)?;
        let heard = Heard::read(packet)?;
        let hardware = packet.hardware();
        if hardware.bytes().is_empty() && heard.client_id.bytes().is_empty() {
            return Err(Why::NoHardware);
        }
        let class = heard
            .vendor_class
            .and_then(VendorClass::parse)
            .ok_or(Why::NotPxe)?;
        let agent = relay_agent(&heard, giaddr);
        let relay = RelayInfo::parse(agent);
        let exchange = Exchange::of(packet, &heard, seen, relay)?;
        let asker = asker(class, &heard);
        let wds = heard.wds.and_then(WdsRequest::parse);
        let traits = quirks::correct(Traits {
            asker,
            arches: arches(&heard, wds),
            class_arch: class.arch,
            secs: packet.secs(),
            max_size: heard.max_size.unwrap_or(0),
            two_step: false,
            applied: ArrayVec::new(),
        });
        if let Some(arch) = quirks::unknown_arch(&traits) {
            return Err(Why::UnknownArch { arch });
        }
        let interface = heard.interface.and_then(NetworkInterface::parse);
        let facts = ClientFacts {
            hardware,
            guid: heard.machine_id.and_then(pxe::machine_guid),
            arches: traits.arches.clone(),
            asker,
            relay: (!giaddr.is_unspecified()).then_some(IpAddr::V4(giaddr)),
            address: client_address(packet, &heard, seen).map(IpAddr::V4),
            local: IpAddr::V4(seen.local),
            interface: seen.interface,
            phase: match exchange {
                Exchange::Offer => Phase::Offer,
                Exchange::Ack(_) | Exchange::Bootp => Phase::Boot,
            },
            secs: traits.secs,
            client_id: beginning(heard.client_id.bytes()),
            undi: interface.map(|interface| (interface.major, interface.minor)),
            vendor_class: beginning(heard.vendor_class.unwrap_or_default()),
            user_class: beginning(heard.user_class.unwrap_or_default()),
            circuit_id: beginning(relay::sub_option(agent, relay::CIRCUIT_ID)),
            remote_id: beginning(relay::sub_option(agent, relay::REMOTE_ID)),
            ipxe_features: heard.ipxe.map(ipxe::features).unwrap_or(0),
            wds,
        };
        Ok(Self {
            seen: *seen,
            exchange,
            hardware,
            xid: packet.xid(),
            flags: packet.flags(),
            ciaddr: packet.ciaddr(),
            giaddr,
            relay,
            relay_info: owned(heard.relay_info.bytes()),
            client_id: owned(heard.client_id.bytes()),
            machine_id: owned(heard.machine_id.unwrap_or_default()),
            interface,
            traits,
            facts,
        })
    }

    /// What the decision goes by.
    #[must_use]
    pub const fn facts(&self) -> &ClientFacts {
        &self.facts
    }

    /// Option 94, the driver standard of the network card.
    #[must_use]
    pub const fn network_interface(&self) -> Option<NetworkInterface> {
        self.interface
    }

    /// The part of option 82 that changes answers.
    #[must_use]
    pub const fn relay_info(&self) -> RelayInfo {
        self.relay
    }

    /// Names of the firmware quirks that were allowed for, as `explain` shows them.
    #[must_use]
    pub fn quirks(&self) -> &[&'static str] {
        &self.traits.applied
    }

    /// The machine asks for one boot server type (option 43 tag 71).
    #[must_use]
    pub const fn boot_item(&self) -> Option<BootItem> {
        match self.exchange {
            Exchange::Ack(item) => item,
            Exchange::Offer | Exchange::Bootp => None,
        }
    }

    /// Writes the reply into `buf`, which should hold [`REPLY_MAX`](super::REPLY_MAX) bytes.
    ///
    /// # Errors
    /// A [`Silence`] when the answer, the style or the request's own terms want no reply.
    pub fn reply(&self, answer: &Answer, style: &Style, buf: &mut [u8]) -> Result<Reply, Silence> {
        proxy::reply(self, answer, style, buf).map_err(|why| why.of(self.hardware))
    }

    /// The flags of the reply. A relay unicasts to yiaddr unless the broadcast flag is set
    /// (RFC 1542, section 5.4), and yiaddr is 0 in all that a proxy sends: a relay that goes by the
    /// machine's own flag would send the reply nowhere.
    pub(super) fn reply_flags(&self) -> u16 {
        let nowhere = !self.giaddr.is_unspecified() && self.ciaddr.is_unspecified();
        self.flags | if nowhere { BROADCAST_FLAG } else { 0 }
    }

    /// Where the reply goes (RFC 2131, section 4.1; PXE 2.1, section 2.4).
    pub(super) fn destination(&self) -> Destination {
        let source = self.seen.source;
        if self.seen.port == Port::Pxe4011 && relay::is_host(*source.ip()) {
            return Destination::Host(source);
        }
        if !self.giaddr.is_unspecified() {
            return Destination::Host(SocketAddrV4::new(self.giaddr, SERVER_PORT));
        }
        if relay::is_host(self.ciaddr) {
            return Destination::Host(SocketAddrV4::new(self.ciaddr, CLIENT_PORT));
        }
        // yiaddr is 0 in all that a proxy sends: there is no address to unicast to.
        Destination::Broadcast {
            interface: self.seen.interface,
        }
    }
}

impl Exchange {
    fn of(
        packet: &Packet<'_>,
        heard: &Heard<'_>,
        seen: &Seen,
        relay: RelayInfo,
    ) -> Result<Self, Why> {
        let item = BootItem::find(heard.vendor.bytes());
        match heard.message {
            Some(MessageType::Discover) => Ok(Self::Offer),
            Some(MessageType::Inform) => Ok(Self::Ack(item)),
            Some(MessageType::Request) => {
                let ours = |id| id == seen.local || Some(id) == relay.server_id;
                let to_us_alone = seen.port == Port::Pxe4011 && !seen.broadcast;
                match heard.server_id {
                    Some(server) if !ours(server) && !to_us_alone => {
                        Err(Why::OtherServer { server })
                    }
                    _ if seen.port == Port::Pxe4011 || item.is_some() => Ok(Self::Ack(item)),
                    Some(_) if heard.requested.is_none() => Ok(Self::Ack(None)),
                    _ => Err(Why::LeaseRequest),
                }
            }
            Some(message) => Err(Why::NotForProxy { message }),
            None => match client_address(packet, heard, seen) {
                Some(_) => Ok(Self::Bootp),
                None => Err(Why::BootpNoAddress),
            },
        }
    }
}

/// Option 82, where a relay put it there: whoever writes it without one is no relay.
fn relay_agent<'a>(heard: &'a Heard<'_>, giaddr: Ipv4Addr) -> &'a [u8] {
    if giaddr.is_unspecified() {
        &[]
    } else {
        heard.relay_info.bytes()
    }
}

fn check_header(packet: &Packet<'_>, giaddr: Ipv4Addr) -> Result<(), Why> {
    if packet.op() != BOOTREQUEST {
        return Err(Why::NotRequest { op: packet.op() });
    }
    if packet.hops() >= HOPS_LIMIT {
        return Err(Why::Hops {
            hops: packet.hops(),
        });
    }
    if !giaddr.is_unspecified() && !relay::is_host(giaddr) {
        return Err(Why::BadRelay { giaddr });
    }
    Ok(())
}

const BROADCAST_FLAG: u16 = 0x8000;
const BOOTREQUEST: u8 = 1;
const HOPS_LIMIT: u8 = 16;

fn asker(class: VendorClass, heard: &Heard<'_>) -> Asker {
    if heard.user_class.is_some_and(ipxe::is_ipxe_class) || heard.ipxe.is_some() {
        Asker::Ipxe
    } else if class.http {
        Asker::HttpFirmware
    } else {
        Asker::Firmware
    }
}

/// Option 93; a boot program of Windows names its architecture in option 250 alone.
fn arches(heard: &Heard<'_>, wds: Option<WdsRequest>) -> ArrayVec<ClientArch, 8> {
    let named = heard.arches.map(pxe::arches).unwrap_or_default();
    if named.is_empty() {
        wds.and_then(|wds| wds.arch).into_iter().collect()
    } else {
        named
    }
}

fn client_address(packet: &Packet<'_>, heard: &Heard<'_>, seen: &Seen) -> Option<Ipv4Addr> {
    let direct = packet.giaddr().is_unspecified();
    [
        Some(packet.ciaddr()),
        direct.then_some(*seen.source.ip()),
        heard.requested,
    ]
    .into_iter()
    .flatten()
    .find(|address| relay::is_host(*address))
}

fn owned<const N: usize>(bytes: &[u8]) -> ArrayVec<u8, N> {
    // Every caller's option is bounded by the room, or its reader refused the packet.
    bytes.iter().copied().take(N).collect()
}
