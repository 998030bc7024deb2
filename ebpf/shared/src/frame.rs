//! From the frame to the service that it is for: Ethernet with up to two VLAN tags (IEEE 802.1Q),
//! IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), TCP (RFC 9293).

use crate::class::Class;
use crate::source::{Source, Span};
use crate::table::Ports;
use crate::tftp;
use crate::verdict::Machine;

/// An address that a frame is for; IPv4 as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
pub type Address = [u8; 16];

/// A frame, and what is known where it came in.
pub trait Frame: Source {
    /// Whether the address is one of this host's, or a broadcast address of one of its networks.
    fn is_own(&mut self, address: &Address) -> bool;

    /// Sorts the DHCP message that stands at `message`.
    fn dhcp(&mut self, message: Span) -> (Class, Option<Machine>);
}

/// Sorts a frame. What is not addressed to this host is not ours, wherever it goes on to.
#[inline]
pub fn sort<F: Frame>(frame: &mut F, ports: &Ports) -> (Class, Option<Machine>) {
    let Some(headers) = Headers::read(frame) else {
        return (Class::NotOurs, None);
    };
    // Ports first: they are at hand, addresses are looked up.
    let Some(service) = headers.service(ports) else {
        return (Class::NotOurs, None);
    };
    if headers.to != BROADCAST && !frame.is_own(&headers.to) {
        return (Class::NotOurs, None);
    }
    match service {
        Service::Dhcp(message) => frame.dhcp(message),
        Service::TftpRequest(message) => (tftp::request(opcode(frame, message)), None),
        Service::TftpData(message) => (tftp::data(opcode(frame, message)), None),
        Service::Boot => (Class::BootConnection, None),
        Service::Unknown => (Class::Fragment, None),
    }
}

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Where it goes.
    pub to: Address,
    /// IPv4, not IPv6.
    pub is_v4: bool,
    /// What is in it.
    pub transport: Transport,
}

/// What an IP packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp {
        /// Its port.
        port: u16,
        /// Its payload.
        payload: Span,
    },
    /// A connection begins: SYN without ACK.
    TcpSyn {
        /// Its port.
        port: u16,
    },
    /// A piece of something.
    Fragment,
}

/// A service of this server.
enum Service {
    Dhcp(Span),
    TftpRequest(Span),
    TftpData(Span),
    Boot,
    /// A fragment shows no port.
    Unknown,
}

impl Headers {
    /// Reads the headers; `None` for everything that no service of ours is reached by, and for what
    /// the host would not take: lengths that contradict each other.
    #[inline]
    pub fn read<S: Source + ?Sized>(frame: &S) -> Option<Self> {
        let mut kind = frame.number(12)?;
        let mut at = 14;
        if is_vlan(kind) {
            kind = frame.number(16)?;
            at = 18;
            if is_vlan(kind) {
                kind = frame.number(20)?;
                at = 22;
            }
        }
        match kind {
            IPV4 => Self::ipv4(frame, at),
            IPV6 => Self::ipv6(frame, at),
            _ => None,
        }
    }

    #[inline]
    fn ipv4<S: Source + ?Sized>(frame: &S, at: usize) -> Option<Self> {
        let [version, _, len0, len1, _, _, piece0, piece1] = frame.array(at)?;
        let header = usize::from(version & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([len0, len1]));
        if version >> 4 != 4 || header < 20 || total < header || at + total > frame.size() {
            return None;
        }
        let protocol = frame.byte(at + 9)?;
        let [a, b, c, d] = frame.array(at + 16)?;
        let transport = if u16::from_be_bytes([piece0, piece1]) & MORE_OR_OFFSET == 0 {
            Transport::read(frame, protocol, at + header, total - header)?
        } else {
            Transport::Fragment
        };
        Some(Self {
            to: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d],
            is_v4: true,
            transport,
        })
    }

    /// Of the extension headers only the fragment's is known: no boot firmware sends others.
    #[inline]
    fn ipv6<S: Source + ?Sized>(frame: &S, at: usize) -> Option<Self> {
        let [version, _, _, _, len0, len1, next, _] = frame.array(at)?;
        let len = usize::from(u16::from_be_bytes([len0, len1]));
        if version >> 4 != 6 || at + 40 + len > frame.size() {
            return None;
        }
        let to = frame.array(at + 24)?;
        let transport = match next {
            IPV6_FRAGMENT => Transport::Fragment,
            next => Transport::read(frame, next, at + 40, len)?,
        };
        Some(Self {
            to,
            is_v4: false,
            transport,
        })
    }

    #[inline]
    fn service(&self, ports: &Ports) -> Option<Service> {
        match self.transport {
            Transport::Udp { port: 0, .. } | Transport::TcpSyn { port: 0 } => None,
            Transport::Udp { port, payload } => {
                if self.is_v4 && (port == ports.dhcp || port == ports.pxe) {
                    Some(Service::Dhcp(payload))
                } else if port == ports.tftp {
                    Some(Service::TftpRequest(payload))
                } else if ports.data_first <= port && port <= ports.data_last {
                    Some(Service::TftpData(payload))
                } else {
                    None
                }
            }
            Transport::TcpSyn { port } => {
                let [a, b, c, d] = ports.boot;
                (port == a || port == b || port == c || port == d).then_some(Service::Boot)
            }
            Transport::Fragment => Some(Service::Unknown),
        }
    }
}

impl Transport {
    #[inline]
    fn read<S: Source + ?Sized>(frame: &S, protocol: u8, at: usize, room: usize) -> Option<Self> {
        match protocol {
            UDP => {
                let [_, _, port0, port1, len0, len1, _, _] = frame.array(at)?;
                let len = usize::from(u16::from_be_bytes([len0, len1]));
                if len < 8 || len > room {
                    return None;
                }
                Some(Self::Udp {
                    port: u16::from_be_bytes([port0, port1]),
                    payload: Span {
                        at: at + 8,
                        len: len - 8,
                    },
                })
            }
            TCP if room >= 20 => {
                let flags = frame.byte(at + 13)?;
                let port = frame.number(at + 2)?;
                (flags & (SYN | ACK) == SYN).then_some(Self::TcpSyn { port })
            }
            _ => None,
        }
    }
}

#[inline]
fn opcode<S: Source + ?Sized>(frame: &S, message: Span) -> Option<[u8; 2]> {
    frame.array(message.at).filter(|_| message.len >= 2)
}

#[inline]
const fn is_vlan(kind: u16) -> bool {
    kind == VLAN || kind == SERVICE_VLAN
}

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const TCP: u8 = 6;
const IPV6_FRAGMENT: u8 = 44;
/// "More fragments" and the offset.
const MORE_OR_OFFSET: u16 = 0x3fff;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const BROADCAST: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255];
