//! From the frame to the service that it is for: Ethernet with up to two VLAN tags (IEEE 802.1Q),
//! IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), TCP (RFC 9293).

use crate::class::Class;
use crate::source::{Source, Span};
use crate::table::Ports;
use crate::tftp;

/// A frame, and what is known where it came in.
pub trait Frame: Source {
    /// Whether the address is one of this host's, or a broadcast address of one of its networks.
    /// IPv4 comes as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
    fn is_own(&mut self, address: u128) -> bool;

    /// Sorts the DHCP message that stands at `message`.
    fn dhcp(&mut self, message: Span) -> Class;
}

/// Sorts a frame. What is not addressed to this host is not ours, wherever it goes on to.
#[inline]
pub fn sort<F: Frame>(frame: &mut F, ports: &Ports) -> Class {
    let Some(headers) = Headers::read(frame) else {
        return Class::NotOurs;
    };
    // Ports first: they are at hand, addresses are looked up.
    let Some(service) = headers.service(ports) else {
        return Class::NotOurs;
    };
    if !headers.is_for_us(frame) {
        return Class::NotOurs;
    }
    match service {
        Service::Dhcp => frame.dhcp(headers.payload),
        Service::TftpRequest => tftp::request(opcode(frame, headers.payload)),
        Service::TftpData => tftp::data(opcode(frame, headers.payload)),
        Service::Boot => Class::BootConnection,
        Service::Unknown => Class::Fragment,
    }
}

/// What the headers of a frame say. Every field has a value whatever the frame holds: the kernel's
/// verifier takes none that may not have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Headers {
    /// IPv4, not IPv6.
    is_v4: bool,
    /// Where the IP header begins.
    ip: usize,
    transport: Transport,
    /// The port that it goes to; 0 for a fragment.
    port: u16,
    /// What a datagram carries.
    payload: Span,
}

/// What an IP packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    /// A connection begins: SYN without ACK.
    TcpSyn,
    /// A piece of something.
    Fragment,
}

/// A service of this server.
enum Service {
    Dhcp,
    TftpRequest,
    TftpData,
    Boot,
    /// A fragment shows no port.
    Unknown,
}

impl Headers {
    /// Reads the headers; `None` for everything that no service of ours is reached by, and for what
    /// the host would not take: lengths that contradict each other.
    #[inline]
    fn read<S: Source>(frame: &S) -> Option<Self> {
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
    fn ipv4<S: Source>(frame: &S, at: usize) -> Option<Self> {
        let header = usize::from(frame.byte(at)?);
        let total = usize::from(frame.number(at + 2)?);
        let piece = frame.number(at + 6)?;
        let protocol = frame.byte(at + 9)?;
        let len = (header & 0x0f) * 4;
        if header >> 4 != 4 || len < 20 || total < len || at + total > frame.size() {
            return None;
        }
        let headers = Self::fragment(true, at);
        if piece & MORE_OR_OFFSET != 0 {
            return Some(headers);
        }
        headers.transport(frame, protocol, at + len, total - len)
    }

    /// Of the extension headers only the fragment's is known: no boot firmware sends others.
    #[inline]
    fn ipv6<S: Source>(frame: &S, at: usize) -> Option<Self> {
        let version = frame.byte(at)? >> 4;
        let len = usize::from(frame.number(at + 4)?);
        let next = frame.byte(at + 6)?;
        if version != 6 || at + 40 + len > frame.size() {
            return None;
        }
        let headers = Self::fragment(false, at);
        if next == IPV6_FRAGMENT {
            return Some(headers);
        }
        headers.transport(frame, next, at + 40, len)
    }

    #[inline]
    const fn fragment(is_v4: bool, ip: usize) -> Self {
        Self {
            is_v4,
            ip,
            transport: Transport::Fragment,
            port: 0,
            payload: Span { at: 0, len: 0 },
        }
    }

    #[inline]
    fn transport<S: Source>(self, frame: &S, protocol: u8, at: usize, room: usize) -> Option<Self> {
        match protocol {
            UDP => {
                let port = frame.number(at + 2)?;
                let len = usize::from(frame.number(at + 4)?);
                let payload = Span {
                    at: at + 8,
                    len: len.checked_sub(8)?,
                };
                (len <= room).then_some(Self {
                    transport: Transport::Udp,
                    port,
                    payload,
                    ..self
                })
            }
            TCP if room >= 20 => {
                let port = frame.number(at + 2)?;
                let flags = frame.byte(at + 13)?;
                (flags & (SYN | ACK) == SYN).then_some(Self {
                    transport: Transport::TcpSyn,
                    port,
                    ..self
                })
            }
            _ => None,
        }
    }

    #[inline]
    const fn service(&self, ports: &Ports) -> Option<Service> {
        let port = self.port;
        match self.transport {
            Transport::Fragment => Some(Service::Unknown),
            _ if port == 0 => None,
            Transport::Udp if self.is_v4 && (port == ports.dhcp || port == ports.pxe) => {
                Some(Service::Dhcp)
            }
            Transport::Udp if port == ports.tftp => Some(Service::TftpRequest),
            Transport::Udp if ports.data_first <= port && port <= ports.data_last => {
                Some(Service::TftpData)
            }
            Transport::Udp => None,
            Transport::TcpSyn => {
                let [a, b, c, d] = ports.boot;
                if port == a || port == b || port == c || port == d {
                    Some(Service::Boot)
                } else {
                    None
                }
            }
        }
    }

    #[inline]
    fn is_for_us<F: Frame>(&self, frame: &mut F) -> bool {
        let address = if self.is_v4 {
            match frame.array(self.ip + 16).map(u32::from_be_bytes) {
                Some(u32::MAX) => return true,
                address => address.map(|v4| V4_IN_V6 | u128::from(v4)),
            }
        } else {
            frame.array(self.ip + 24).map(u128::from_be_bytes)
        };
        address.is_some_and(|address| frame.is_own(address))
    }
}

#[inline]
fn opcode<S: Source>(frame: &S, message: Span) -> Option<[u8; 2]> {
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
const V4_IN_V6: u128 = 0xffff_0000_0000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
