//! A simulated network with a virtual clock: a minute of lost packets passes in milliseconds, and
//! the same seed loses the same packets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_catalog::File;
use bootstorm_telemetry::event::Reason;

use super::backlog::Backlog;
use super::{
    Arrival, Buffer, Busy, ConnId, Driver, Event, ListenerId, Packet, Payload, Piece, ReadToken,
    SocketId, Transmit, Waker,
};
use crate::tls::{Keys, Suite};

/// A machine in the simulated network.
pub(crate) trait Host {
    /// A datagram arrived; what is pushed to `out` is sent.
    fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Instant, out: &mut Outbox);

    /// When [`Host::timeout`] is due.
    fn next_timeout(&self) -> Option<Instant>;

    /// Its time has come.
    fn timeout(&mut self, now: Instant, out: &mut Outbox);
}

/// What a host sends: destination and bytes.
pub(crate) type Outbox = Vec<(SocketAddr, Vec<u8>)>;

/// How well the network carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Packets in a thousand that are lost.
    pub(crate) loss: u32,
    /// Packets in a thousand that arrive twice.
    pub(crate) twice: u32,
    /// Packets in a thousand that arrive late, behind others.
    pub(crate) late: u32,
    /// One way.
    pub(crate) delay: Duration,
}

/// The simulated driver, with the network that it stands in.
pub(crate) struct Sim {
    now: Instant,
    random: u64,
    weather: Weather,
    sockets: Vec<SocketAddr>,
    hosts: HashMap<SocketAddr, Box<dyn Host>>,
    flying: BinaryHeap<Reverse<Flight>>,
    sequence: u64,
    events: VecDeque<Event>,
    buffers: HashMap<u16, Vec<u8>>,
    next_buffer: u16,
    waker: Waker,
    backlog: Backlog,
    /// Datagrams that the server sent, lost ones included.
    pub(crate) sent: u64,
    /// Bytes written to each connection.
    pub(crate) written: HashMap<u32, Vec<u8>>,
    open: HashMap<u32, u32>,
    /// Parts of any file that are not in memory.
    pub(crate) cold: Vec<Range<u64>>,
    /// How long the disk takes for one of them.
    pub(crate) disk: Duration,
    reading: VecDeque<(Instant, Range<u64>, ReadToken)>,
    /// Parts that were read.
    pub(crate) reads: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    sequence: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Sim {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            now: Instant::now(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            weather,
            sockets: Vec::new(),
            hosts: HashMap::new(),
            flying: BinaryHeap::new(),
            sequence: 0,
            events: VecDeque::new(),
            buffers: HashMap::new(),
            next_buffer: 0,
            waker: Waker::new().unwrap(),
            backlog: Backlog::new(),
            sent: 0,
            written: HashMap::new(),
            open: HashMap::new(),
            cold: Vec::new(),
            disk: Duration::ZERO,
            reading: VecDeque::new(),
            reads: 0,
        }
    }

    /// A UDP socket of the server.
    pub(crate) fn attach(&mut self, address: SocketAddr) -> SocketId {
        self.sockets.push(address);
        SocketId(self.sockets.len() as u32 - 1)
    }

    /// Somebody's socket is closed.
    pub(crate) fn detach(&mut self, socket: SocketId) {
        self.sockets[socket.0 as usize].set_port(0);
    }

    /// A machine.
    pub(crate) fn add_host(&mut self, address: SocketAddr, host: Box<dyn Host>) {
        self.hosts.insert(address, host);
    }

    /// A connection that a peer opened.
    pub(crate) fn connect(&mut self, listener: ListenerId, peer: SocketAddr, local: SocketAddr) {
        let slot = self.open.len() as u32;
        self.open.insert(slot, 1);
        let conn = ConnId {
            slot,
            generation: 1,
        };
        self.events.push_back(Event::Accepted {
            listener,
            conn,
            peer,
            local,
        });
    }

    /// Bytes that the peer sends on its connection.
    pub(crate) fn stream(&mut self, slot: u32, bytes: &[u8]) {
        let buffer = self.hold(bytes.to_vec());
        let conn = ConnId {
            slot,
            generation: 1,
        };
        self.events.push_back(Event::Received { conn, buffer });
    }

    /// Whether the worker still holds the connection.
    pub(crate) fn is_open(&self, slot: u32) -> bool {
        self.open.get(&slot) == Some(&1)
    }

    /// Whether anything will happen by itself.
    pub(crate) fn has_more(&self) -> bool {
        !self.events.is_empty()
            || !self.flying.is_empty()
            || !self.reading.is_empty()
            || self.next_host().is_some()
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        self.random() % 1000 < u64::from(in_a_thousand)
    }

    fn launch(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let copies = if self.chance(self.weather.twice) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.chance(self.weather.loss) {
                continue;
            }
            let mut at = self.now + self.weather.delay;
            if self.chance(self.weather.late) {
                at += self.weather.delay * 3;
            }
            self.sequence += 1;
            self.flying.push(Reverse(Flight {
                at,
                sequence: self.sequence,
                from,
                to,
                bytes: bytes.clone(),
            }));
        }
    }

    /// The disk, which does one thing at a time, has read.
    fn was_read_in(&mut self) {
        if let Some((_, range, read)) = self.reading.pop_front() {
            self.reads += 1;
            self.cold.retain(|cold| *cold != range);
            let result = Ok(());
            self.events.push_back(Event::ReadIn { read, result });
        }
    }

    fn hold(&mut self, bytes: Vec<u8>) -> Buffer {
        let id = self.next_buffer;
        self.next_buffer = id.wrapping_add(1);
        let range = 0..bytes.len();
        assert!(
            self.buffers.insert(id, bytes).is_none(),
            "buffers are not given back"
        );
        Buffer {
            group: 0,
            id,
            range,
        }
    }

    fn land(&mut self, flight: Flight) {
        let Flight {
            from, to, bytes, ..
        } = flight;
        if let Some(socket) = self.sockets.iter().position(|address| *address == to) {
            let buffer = self.hold(bytes);
            self.events.push_back(Event::Datagram {
                socket: SocketId(socket as u32),
                arrival: Arrival {
                    source: from,
                    local: to.ip(),
                    interface: 1,
                    broadcast: false,
                },
                buffer,
            });
        } else {
            self.with_host(to, |host, now, out| host.receive(from, &bytes, now, out));
        }
    }

    fn with_host(
        &mut self,
        address: SocketAddr,
        act: impl FnOnce(&mut dyn Host, Instant, &mut Outbox),
    ) {
        let mut out = Outbox::new();
        if let Some(host) = self.hosts.get_mut(&address) {
            act(host.as_mut(), self.now, &mut out);
        }
        for (to, bytes) in out {
            self.launch(address, to, bytes);
        }
    }

    /// The host that is due first.
    fn next_host(&self) -> Option<(Instant, SocketAddr)> {
        self.hosts
            .iter()
            .filter_map(|(address, host)| host.next_timeout().map(|at| (at, *address)))
            .min()
    }
}

impl Driver for Sim {
    fn add_udp(&mut self, socket: UdpSocket) -> io::Result<SocketId> {
        Ok(self.attach(socket.local_addr()?))
    }

    fn bind_udp(&mut self, address: SocketAddr) -> io::Result<SocketId> {
        if self.sockets.contains(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(self.attach(address))
    }

    fn add_listener(&mut self, _: TcpListener) -> io::Result<ListenerId> {
        Ok(ListenerId(0))
    }

    fn stop_listening(&mut self, _: ListenerId) {}

    /// Lets time pass until something reaches the server, or until `until`; with neither, nothing
    /// will ever happen again and it returns.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        while self.events.is_empty() {
            let flight = self.flying.peek().map(|Reverse(flight)| flight.at);
            let host = self.next_host();
            let disk = self.reading.front().map(|(at, ..)| *at);
            let next = [disk, flight, host.map(|(at, _)| at), until];
            let Some(next) = next.into_iter().flatten().min() else {
                return Ok(());
            };
            self.now = self.now.max(next);
            if disk == Some(next) {
                self.was_read_in();
            } else if flight == Some(next) {
                if let Some(Reverse(flight)) = self.flying.pop() {
                    self.land(flight);
                }
            } else if let Some((_, address)) = host.filter(|(at, _)| *at == next) {
                self.with_host(address, |host, now, out| host.timeout(now, out));
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn bytes(&self, buffer: &Buffer) -> &[u8] {
        &self.buffers[&buffer.id][buffer.range.clone()]
    }

    fn recycle(&mut self, buffer: Buffer) {
        self.buffers.remove(&buffer.id);
    }

    fn packet(&mut self) -> Box<Packet> {
        Box::default()
    }

    fn send(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        let from = self.sockets[transmit.socket.0 as usize];
        if let Payload::Window {
            file,
            offset,
            blocks,
            block_size,
            ..
        } = &transmit.payload
        {
            let end = offset + u64::from(*blocks) * u64::from(*block_size);
            let cold = self.first_cold(file, *offset..end, self.now);
            assert_eq!(
                cold, None,
                "a window at {offset} was sent before it was read in"
            );
        }
        self.backlog.push(transmit)?;
        while let Some(part) = self.backlog.pop() {
            for datagram in part.datagrams() {
                self.sent += 1;
                self.launch(from, part.to, datagram);
            }
        }
        Ok(())
    }

    fn write(&mut self, conn: ConnId, piece: Piece) {
        let bytes = piece.bytes();
        self.written
            .entry(conn.slot)
            .or_default()
            .extend_from_slice(bytes);
        let bytes = bytes.len();
        let spent = match piece {
            Piece::Owned(bytes) => Some(bytes),
            Piece::Mapped(..) => None,
        };
        self.events.push_back(Event::Written { conn, bytes, spent });
    }

    fn pace(&mut self, _: ConnId, _: Option<u64>) {}

    fn take_over(
        &mut self,
        _: ConnId,
        _: Suite,
        _: impl FnOnce() -> Result<Keys, Reason>,
    ) -> Result<bool, Reason> {
        Ok(false)
    }

    fn close(&mut self, conn: ConnId) {
        self.open.remove(&conn.slot);
    }

    fn read_in(&mut self, _: Arc<File>, range: Range<u64>, read: ReadToken) {
        let last = self.reading.back().map_or(self.now, |(at, ..)| *at);
        self.reading.push_back((last + self.disk, range, read));
    }

    fn first_cold(&self, _: &File, range: Range<u64>, _: Instant) -> Option<Range<u64>> {
        let overlaps = |cold: &&Range<u64>| cold.start < range.end && range.start < cold.end;
        self.cold.iter().find(overlaps).cloned()
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// The address of a host that is of no further interest.
pub(crate) fn host(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, last]), port)
}
