//! The driver over epoll, for kernels and containers that forbid io_uring.

mod reads;
mod tcp;
mod udp;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_catalog::File;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::{
    Buffer, Busy, ConnId, Driver, Event, ListenerId, Packet, Piece, ReadToken, SocketId, Transmit,
    Waker,
};
use crate::limits;
use crate::tls::{Keys, Suite};
use bootstorm_telemetry::event::Reason;

const DATAGRAMS: u16 = 0;
const STREAMS: u16 = 1;

/// How long a listener rests that could not accept for want of files or memory.
const REST: Duration = Duration::from_millis(100);

/// epoll.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    datagrams: Pool,
    streams: Pool,
    udp: udp::Sockets,
    tcp: tcp::Tcp,
    reads: reads::Reads,
    waker: Waker,
    events: VecDeque<Event>,
    ready: Vec<epoll::Event>,
}

/// What a readiness belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Waker,
    Udp,
    Listener,
    Conn,
}

impl Source {
    const ALL: [Self; 4] = [Self::Waker, Self::Udp, Self::Listener, Self::Conn];

    fn data(self, index: u32) -> EventData {
        EventData::new_u64((self as u64) << 32 | u64::from(index))
    }

    fn read(data: EventData) -> Option<(Self, u32)> {
        let data = data.u64();
        let source = Self::ALL.get(usize::try_from(data >> 32).ok()?)?;
        Some((*source, data as u32))
    }
}

impl Epoll {
    /// A driver.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn new(waker: Waker) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = Source::Waker.data(0);
        epoll::add(&epoll, waker.eventfd.as_fd(), data, EventFlags::IN)?;
        Ok(Self {
            epoll,
            datagrams: Pool::new(limits::DATAGRAM_BUFFERS, limits::DATAGRAM),
            streams: Pool::new(limits::STREAM_BUFFERS, limits::STREAM_BUFFER),
            udp: udp::Sockets::new(),
            tcp: tcp::Tcp::new(),
            reads: reads::Reads::new(waker.clone()),
            waker,
            events: VecDeque::with_capacity(1024),
            ready: Vec::with_capacity(256),
        })
    }

    fn handle(&mut self, event: epoll::Event) {
        let Some((source, index)) = Source::read(event.data) else {
            return;
        };
        let flags = event.flags;
        match source {
            Source::Waker => {
                let mut count = [0; 8];
                let _ = rustix::io::read(&self.waker.eventfd, &mut count);
                self.events.push_back(Event::Woken);
                self.events.extend(self.reads.done());
            }
            Source::Udp => {
                if flags.contains(EventFlags::OUT) {
                    self.resume(index);
                }
                self.receive_datagrams(index);
            }
            Source::Listener => self.accept(index),
            Source::Conn => self.conn_ready(index, flags),
        }
    }
}

impl Driver for Epoll {
    fn add_udp(&mut self, socket: UdpSocket) -> io::Result<SocketId> {
        self.insert_udp(socket)
    }

    fn bind_udp(&mut self, address: SocketAddr) -> io::Result<SocketId> {
        let socket = crate::udp::bind(address, crate::udp::Use::Data)?;
        self.insert_udp(socket)
    }

    fn add_listener(&mut self, listener: TcpListener) -> io::Result<ListenerId> {
        self.insert_listener(listener)
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        self.tcp.remove_listener(listener);
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        let due = self.tend(now);
        self.flush();
        self.write_pending();
        let until = match (until, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let at_once =
            !self.events.is_empty() || self.udp.has_more() || self.tcp.conns.writes_pending() > 0;
        let left = match until {
            _ if at_once => Some(Duration::ZERO),
            Some(until) => Some(until.saturating_duration_since(Instant::now())),
            None => None,
        };
        let left = left.and_then(|left| rustix::event::Timespec::try_from(left).ok());
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let result = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut ready),
            left.as_ref(),
        );
        for event in ready.drain(..) {
            self.handle(event);
        }
        self.ready = ready;
        match result {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.events.pop_front()?;
            let conn = match &event {
                Event::Accepted { conn, .. }
                | Event::Received { conn, .. }
                | Event::Written { conn, .. }
                | Event::Closed { conn, .. } => *conn,
                Event::Datagram { .. } | Event::ReadIn { .. } | Event::Woken => return Some(event),
            };
            if self.tcp.conns.is_open(conn) {
                return Some(event);
            }
            if let Event::Received { buffer, .. } = event {
                self.recycle(buffer);
            }
        }
    }

    fn bytes(&self, buffer: &Buffer) -> &[u8] {
        let pool = if buffer.group == DATAGRAMS {
            &self.datagrams
        } else {
            &self.streams
        };
        pool.bytes(buffer.id, buffer.range.clone())
    }

    fn recycle(&mut self, buffer: Buffer) {
        if buffer.group == DATAGRAMS {
            self.datagrams.free.push(buffer.id);
        } else {
            self.streams.free.push(buffer.id);
        }
    }

    fn packet(&mut self) -> Box<Packet> {
        self.udp.packet()
    }

    fn send(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        self.udp.queue(transmit)
    }

    fn write(&mut self, conn: ConnId, piece: Piece) {
        self.tcp.conns.start_write(conn, piece);
    }

    fn pace(&mut self, conn: ConnId, rate: Option<u64>) {
        self.tcp.conns.pace(conn, rate);
    }

    fn take_over(
        &mut self,
        conn: ConnId,
        suite: Suite,
        keys: impl FnOnce() -> Result<Keys, Reason>,
    ) -> Result<bool, Reason> {
        let events = &self.events;
        self.tcp.conns.take_over(conn, events, suite, keys)
    }

    fn close(&mut self, conn: ConnId) {
        self.close_stream(conn);
    }

    fn read_in(&mut self, file: Arc<File>, range: Range<u64>, read: ReadToken) {
        if let Some(event) = self.reads.start(file, range, read) {
            self.events.push_back(event);
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// Receive buffers of one size.
struct Pool {
    size: usize,
    storage: Vec<u8>,
    free: Vec<u16>,
}

impl Pool {
    fn new(entries: u16, size: usize) -> Self {
        Self {
            size,
            storage: vec![0; usize::from(entries) * size],
            free: (0..entries).rev().collect(),
        }
    }

    fn bytes(&self, id: u16, range: Range<usize>) -> &[u8] {
        let at = usize::from(id) * self.size;
        &self.storage[at..at + self.size][range]
    }

    fn bytes_mut(&mut self, id: u16) -> &mut [u8] {
        let at = usize::from(id) * self.size;
        &mut self.storage[at..at + self.size]
    }
}
