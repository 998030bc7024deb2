//! One `sendmsg`, and the memory that the kernel reads while it is under way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bootstorm_catalog::File;
use socket2::SockAddr;

use super::{Packet, Payload, SocketId, Transmit};
use crate::limits;

/// One `sendmsg`, or a window of which one `sendmsg` after the other is cut.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) socket: SocketId,
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) interface: u32,
    pub(super) load: Load,
}

impl From<Transmit> for Part {
    fn from(transmit: Transmit) -> Self {
        let load = match transmit.payload {
            Payload::Packet(packet) => Load::Packet(packet),
            Payload::Window {
                file,
                first_number,
                offset,
                blocks,
                block_size,
                rollover,
            } => Load::Blocks(Blocks {
                file,
                first_number,
                offset,
                count: blocks,
                block_size,
                rollover,
            }),
        };
        Self {
            socket: transmit.socket,
            to: transmit.to,
            from: transmit.from,
            interface: transmit.interface,
            load,
        }
    }
}

impl Part {
    /// How many datagrams it is.
    pub(super) fn datagrams_in(&self) -> u16 {
        match &self.load {
            Load::Packet(_) => 1,
            Load::Train(packets) => packets.len() as u16,
            Load::Blocks(blocks) => blocks.count(),
        }
    }

    /// Bytes of the packet, if it is one.
    pub(super) fn packet_length(&self) -> Option<usize> {
        match &self.load {
            Load::Packet(packet) => Some(packet.len()),
            Load::Train(_) | Load::Blocks(_) => None,
        }
    }

    /// Whether it leaves by the same way to the same place.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        (self.socket, self.to, self.from, self.interface)
            == (other.socket, other.to, other.from, other.interface)
    }
}

/// What it carries.
#[derive(Debug)]
pub(super) enum Load {
    Packet(Box<Packet>),
    /// Packets of one length to one place; the last may be shorter.
    Train(Train),
    Blocks(Blocks),
}

impl Load {
    /// The packet, if it is one.
    pub(super) fn packet(self) -> Option<Box<Packet>> {
        match self {
            Self::Packet(packet) => Some(packet),
            Self::Train(_) | Self::Blocks(_) => None,
        }
    }
}

/// Packets of one send, at most [`limits::SEGMENTS`] of them.
pub(super) type Train = Vec<Box<Packet>>;

/// Consecutive blocks of a file; in a send at most [`limits::SEGMENTS`] of them.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<File>,
    first_number: u16,
    offset: u64,
    count: u16,
    block_size: u16,
    rollover: u16,
}

impl Blocks {
    /// Bytes of a datagram that is not the last.
    pub(super) const fn segment(&self) -> u32 {
        self.block_size as u32 + 4
    }

    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// The kernel could not read the map (EFAULT): whoever sends more of it is told.
    pub(super) fn unreadable(&self) {
        self.file.content.condemn();
    }

    /// Keeps the first `count` blocks and answers the rest, if there is one.
    pub(super) fn split_off(&mut self, count: u16) -> Option<Self> {
        let left = self.count.checked_sub(count).filter(|left| *left > 0)?;
        self.count = count;
        Some(Self {
            file: Arc::clone(&self.file),
            first_number: block_number(self.first_number, count, self.rollover),
            offset: self.offset + u64::from(count) * u64::from(self.block_size),
            count: left,
            ..*self
        })
    }

    /// Header and bytes of block `at` of this run.
    fn block(&self, at: u16) -> ([u8; 4], &[u8]) {
        let number = block_number(self.first_number, at, self.rollover);
        let [high, low] = number.to_be_bytes();
        let content: &[u8] = &self.file.content;
        let begin = self.offset + u64::from(at) * u64::from(self.block_size);
        let begin = usize::try_from(begin).map_or(content.len(), |b| b.min(content.len()));
        let end = content.len().min(begin + usize::from(self.block_size));
        ([0, 3, high, low], &content[begin..end])
    }
}

/// The number `later` blocks after `first`, where `rollover` follows 65535.
fn block_number(first: u16, later: u16, rollover: u16) -> u16 {
    let number = u32::from(first) + u32::from(later);
    match u16::try_from(number) {
        Ok(number) => number,
        // At most one turn: both summands are 16 bits wide.
        Err(_) => (number - 65536) as u16 + rollover,
    }
}

#[cfg(test)]
impl Part {
    /// The datagrams that arrive.
    pub(super) fn datagrams(&self) -> Vec<Vec<u8>> {
        match &self.load {
            Load::Packet(packet) => vec![packet.to_vec()],
            Load::Train(packets) => packets.iter().map(|packet| packet.to_vec()).collect(),
            Load::Blocks(blocks) => (0..blocks.count)
                .map(|at| blocks.block(at))
                .map(|(head, content)| [&head, content].concat())
                .collect(),
        }
    }
}

/// The memory of one send: everything that the kernel reads until the send is complete. It must
/// not move meanwhile.
pub(super) struct Slot {
    header: libc::msghdr,
    name: SockAddr,
    vectors: [libc::iovec; 2 * limits::SEGMENTS],
    heads: [[u8; 4]; limits::SEGMENTS],
    control: Control,
    /// Keeps packets or map alive; `None` when the slot is free.
    part: Option<Part>,
}

/// Control messages, aligned as the kernel wants them.
#[repr(C, align(8))]
struct Control([u8; limits::CONTROL]);

impl Slot {
    /// An empty slot.
    pub(super) fn new() -> Self {
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
            header: unsafe { std::mem::zeroed() },
            name: SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))),
            vectors: [nothing; 2 * limits::SEGMENTS],
            heads: [[0; 4]; limits::SEGMENTS],
            control: Control([0; limits::CONTROL]),
            part: None,
        }
    }

    /// Fills the slot. The pointer is valid until the slot is filled again or dropped, and the
    /// slot must stay where it is while the kernel uses it.
    pub(super) fn fill(&mut self, part: Part) -> *const libc::msghdr {
        let part = self.part.insert(part);
        self.name = SockAddr::from(part.to);
        let mut control_len = put_packet_info(&mut self.control.0, part);
        let mut segment = None;
        let mut vectors = 0;
        let mut vector = |bytes: &[u8]| {
            self.vectors[vectors] = libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            vectors += 1;
        };
        match &part.load {
            Load::Packet(packet) => vector(packet),
            Load::Train(packets) => {
                packets.iter().for_each(|packet| vector(packet));
                segment = packets.first().map(|first| first.len());
            }
            Load::Blocks(blocks) => {
                for at in 0..blocks.count {
                    let (head, content) = blocks.block(at);
                    let place = &mut self.heads[usize::from(at)];
                    *place = head;
                    vector(place);
                    vector(content);
                }
                segment = (blocks.count > 1).then(|| blocks.segment() as usize);
            }
        }
        if let Some(segment) = segment {
            let at = (libc::SOL_UDP, libc::UDP_SEGMENT);
            let bytes = (segment as u16).to_ne_bytes();
            control_len += put_control(&mut self.control.0[control_len..], at, &bytes);
        }
        self.header.msg_name = self.name.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.name.len();
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = vectors;
        self.header.msg_control = if control_len == 0 {
            std::ptr::null_mut()
        } else {
            self.control.0.as_mut_ptr().cast()
        };
        self.header.msg_controllen = control_len;
        &raw const self.header
    }

    /// Empties the slot once its send is complete.
    pub(super) fn take(&mut self) -> Option<Part> {
        self.part.take()
    }
}

/// Writes `IP_PKTINFO` or `IPV6_PKTINFO` where there is something to say.
fn put_packet_info(control: &mut [u8], part: &Part) -> usize {
    let interface = if bound_to_link(part.to.ip()) {
        part.interface
    } else {
        0
    };
    match (part.to, part.from) {
        (_, None) if interface == 0 => 0,
        (SocketAddr::V4(_), from) => {
            let mut info = [0; 12];
            info[..4].copy_from_slice(&interface.to_ne_bytes());
            if let Some(IpAddr::V4(ours)) = from {
                info[4..8].copy_from_slice(&ours.octets());
            }
            put_control(control, (libc::IPPROTO_IP, libc::IP_PKTINFO), &info)
        }
        (SocketAddr::V6(_), from) => {
            let mut info = [0; 20];
            if let Some(IpAddr::V6(ours)) = from {
                info[..16].copy_from_slice(&ours.octets());
            }
            info[16..].copy_from_slice(&interface.to_ne_bytes());
            put_control(control, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), &info)
        }
    }
}

/// Whether an address means something on one link only, so that no route leads to it.
fn bound_to_link(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.is_broadcast() || to.is_multicast(),
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}

/// Writes one control message and tells how much room it took.
fn put_control(control: &mut [u8], (level, kind): (i32, i32), data: &[u8]) -> usize {
    let length = size_of::<libc::cmsghdr>() + data.len();
    control[..8].copy_from_slice(&length.to_ne_bytes());
    control[8..12].copy_from_slice(&level.to_ne_bytes());
    control[12..16].copy_from_slice(&kind.to_ne_bytes());
    control[16..length].copy_from_slice(data);
    length.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_route_leads_to_is_bound_to_the_interface() {
        let cases = [
            ("255.255.255.255:68", 7),
            ("10.0.0.1:68", 0),
            ("[fe80::1]:546", 7),
            ("[2001:db8::1]:546", 0),
        ];
        for (to, interface) in cases {
            let part = Part {
                socket: SocketId(0),
                to: to.parse().unwrap(),
                from: None,
                interface: 7,
                load: Load::Packet(Box::default()),
            };
            let mut control = [0; limits::CONTROL];
            let length = put_packet_info(&mut control, &part);
            assert_eq!(length > 0, interface > 0, "{to}");
            let at = if part.to.is_ipv4() { 16 } else { 32 };
            assert_eq!(control[at], interface, "{to}");
        }
    }
}
