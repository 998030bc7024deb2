//! How bytes get in and out: io_uring, epoll, or the simulated network of the tests.
//!
//! A worker owns one driver. The driver reports [`Event`]s; whatever is to be sent is queued with
//! [`Driver::send`] and [`Driver::write`] and leaves with the next [`Driver::wait`].

mod backlog;
pub(crate) mod epoll;
mod incoming;
mod kernel_tls;
mod outgoing;
#[cfg(test)]
pub(crate) mod sim;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod uring;

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use bootstorm_catalog::File;
use bootstorm_telemetry::event::Reason;

use crate::tls::{Keys, Suite};

/// Whether this kernel, and what it lets this process do, is enough for the io_uring driver.
///
/// # Errors
/// What setting a ring up came to.
pub fn probe() -> std::io::Result<()> {
    uring::probe()
}

/// Whether this kernel seals and opens the records of TLS connections.
///
/// # Errors
/// Why it does not; `NotFound` when it knows nothing of it or its module `tls` is not loaded.
pub fn kernel_tls() -> std::io::Result<()> {
    kernel_tls::suites().map(drop).map_err(|error| {
        let code = error.raw_os_error();
        code.map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
    })
}

/// A UDP socket of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub(crate) u32);

/// A TCP listener of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u32);

/// A TCP connection of this driver; the generation tells a reused slot from its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Received bytes, until they are given back with [`Driver::recycle`].
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the receive ring"]
pub struct Buffer {
    pub(crate) group: u16,
    pub(crate) id: u16,
    pub(crate) range: Range<usize>,
}

/// Where a datagram came from and where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Sender.
    pub source: SocketAddr,
    /// Our address on the interface that it came in on; for a broadcast the interface's primary
    /// one, never the broadcast address itself. Unspecified for IPv6 multicast.
    pub local: IpAddr,
    /// Index of that interface.
    pub interface: u32,
    /// It was sent to a broadcast or multicast address.
    pub broadcast: bool,
}

/// What a driver reports.
#[derive(Debug)]
pub enum Event {
    /// A datagram arrived.
    Datagram {
        /// On which socket.
        socket: SocketId,
        /// From where.
        arrival: Arrival,
        /// Its bytes.
        buffer: Buffer,
    },
    /// A connection was accepted; receiving has begun.
    Accepted {
        /// By which listener.
        listener: ListenerId,
        /// The connection.
        conn: ConnId,
        /// The client.
        peer: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// Bytes of a connection.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        buffer: Buffer,
    },
    /// The piece given to [`Driver::write`] was written as far as `bytes`; if that is less than
    /// the piece, the connection is broken and [`Event::Closed`] follows.
    Written {
        /// The connection.
        conn: ConnId,
        /// Bytes written.
        bytes: usize,
        /// An owned piece's allocation, to be used again.
        spent: Option<Vec<u8>>,
    },
    /// The peer closed its side or the connection broke. The connection is gone for good once the
    /// worker called [`Driver::close`].
    Closed {
        /// The connection.
        conn: ConnId,
        /// What broke it, if it was not a plain end.
        error: Option<std::io::ErrorKind>,
    },
    /// What [`Driver::read_in`] asked for is in memory, or cannot be read.
    ReadIn {
        /// What was asked for.
        read: ReadToken,
        /// How it came out, for [`Mapping::was_read_in`](bootstorm_catalog::Mapping::was_read_in).
        result: std::io::Result<()>,
    },
    /// [`Waker::wake`] was called.
    Woken,
}

/// Names a range that is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadToken {
    /// Who waits for it.
    pub(crate) reader: Reader,
    /// Which of the reader's.
    pub(crate) number: u32,
}

/// Who has ranges read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Tftp,
    Http,
}

/// A datagram, or a whole TFTP window, to be sent.
#[derive(Debug)]
#[must_use = "nothing is sent until the driver is given it"]
pub struct Transmit {
    /// Through which socket.
    pub socket: SocketId,
    /// Where to.
    pub to: SocketAddr,
    /// From which of our addresses (packet info); `None` leaves it to the routing table.
    pub from: Option<IpAddr>,
    /// The interface towards the client, 0 if unknown. Broadcasts, multicasts and link-local
    /// destinations leave through it; everything else follows the routing table.
    pub interface: u32,
    /// What.
    pub payload: Payload,
}

/// One datagram of at most an Ethernet frame's size.
pub type Packet = ArrayVec<u8, 1472>;

/// What a [`Transmit`] carries.
#[derive(Debug)]
pub enum Payload {
    /// One packet.
    Packet(Box<Packet>),
    /// Consecutive TFTP DATA packets out of a file: one send with UDP_SEGMENT where the kernel
    /// takes it, as many as needed where not.
    Window {
        /// The file.
        file: Arc<File>,
        /// Number of the first block on the wire (already rolled over).
        first_number: u16,
        /// Byte in the file where the first block begins.
        offset: u64,
        /// How many blocks; the last may be short or empty.
        blocks: u16,
        /// Block size.
        block_size: u16,
        /// The number that follows 65535: 0, or 1 where so configured.
        rollover: u16,
    },
}

/// A piece of a response.
#[derive(Debug)]
pub enum Piece {
    /// Bytes made for this connection; the allocation comes back in [`Event::Written`].
    Owned(Vec<u8>),
    /// Bytes straight from the map.
    Mapped(Arc<File>, Range<u64>),
}

impl Piece {
    /// The kernel could not read it (EFAULT): whoever sends more of the file is told.
    pub(crate) fn unreadable(&self) {
        if let Self::Mapped(file, _) = self {
            file.content.condemn();
        }
    }

    /// The bytes; none where the range leaves the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(file, range) => {
                let (Ok(begin), Ok(end)) =
                    (usize::try_from(range.start), usize::try_from(range.end))
                else {
                    return &[];
                };
                file.content.get(begin..end).unwrap_or_default()
            }
        }
    }
}

/// The driver cannot take more at this moment: wait for events first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Wakes a driver that waits, from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(crate) eventfd: Arc<std::os::fd::OwnedFd>,
}

impl Waker {
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            eventfd: Arc::new(eventfd),
        })
    }

    /// Makes the driver's wait return with [`Event::Woken`].
    pub fn wake(&self) {
        // A full counter means that a wake-up is pending already.
        let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
    }
}

/// Bytes in and out, by completion.
pub trait Driver {
    /// Takes a bound, configured UDP socket (packet info on) and begins to receive.
    ///
    /// # Errors
    /// What the kernel answered.
    fn add_udp(&mut self, socket: UdpSocket) -> std::io::Result<SocketId>;

    /// Opens a UDP socket of its own at `address` and begins to receive: TFTP data ports are
    /// opened when they are first needed.
    ///
    /// # Errors
    /// What the kernel answered; `AddrInUse` when somebody else has the port.
    fn bind_udp(&mut self, address: SocketAddr) -> std::io::Result<SocketId>;

    /// Takes a listening socket and begins to accept.
    ///
    /// # Errors
    /// What the kernel answered.
    fn add_listener(&mut self, listener: TcpListener) -> std::io::Result<ListenerId>;

    /// Accepts no further connections from `listener`.
    fn stop_listening(&mut self, listener: ListenerId);

    /// Sends what is queued and sleeps until something happens or `until` has come.
    ///
    /// # Errors
    /// Only what ends the worker: the ring itself failed.
    fn wait(&mut self, until: Option<Instant>) -> std::io::Result<()>;

    /// The next event of the last [`Driver::wait`].
    fn next_event(&mut self) -> Option<Event>;

    /// The bytes behind a buffer.
    fn bytes(&self, buffer: &Buffer) -> &[u8];

    /// Gives a buffer back to the receive ring.
    fn recycle(&mut self, buffer: Buffer);

    /// An empty packet out of the driver's pool; it goes back there once it was sent.
    fn packet(&mut self) -> Box<Packet>;

    /// Queues a datagram or a window.
    ///
    /// # Errors
    /// [`Busy`] with the transmit back when every send slot is taken.
    fn send(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)>;

    /// Queues a piece of a response; at most one is under way for a connection, and
    /// [`Event::Written`] says when the next may follow.
    fn write(&mut self, conn: ConnId, piece: Piece);

    /// Spreads what leaves on a connection to so many bytes a second, where the kernel can; `None`
    /// lifts the limit.
    fn pace(&mut self, conn: ConnId, rate: Option<u64>);

    /// Has the kernel seal and open the records of a TLS connection: from then on pieces and
    /// received bytes are plaintext. Nothing may be under way. `keys` gives the keys away and is
    /// called last; `Ok(false)` says that it was not.
    ///
    /// # Errors
    /// Why the connection cannot go on.
    fn take_over(
        &mut self,
        conn: ConnId,
        suite: Suite,
        keys: impl FnOnce() -> Result<Keys, Reason>,
    ) -> Result<bool, Reason>;

    /// Ends a connection: orderly when nothing is under way (what was written still arrives), else
    /// at once. No event names it afterwards; closing twice does nothing.
    fn close(&mut self, conn: ConnId);

    /// Reads a cold range of a file from the disk while everything else goes on;
    /// [`Event::ReadIn`] tells when it is there.
    fn read_in(&mut self, file: Arc<File>, range: Range<u64>, read: ReadToken);

    /// The first part of `range` that is not in memory: sending it as it is would stop the whole
    /// worker until the disk has answered.
    fn first_cold(&self, file: &File, range: Range<u64>, now: Instant) -> Option<Range<u64>> {
        file.content.first_cold(range, now)
    }

    /// The clock: monotonic time, virtual in the simulated driver.
    fn now(&self) -> Instant;

    /// Wakes this driver from other threads.
    fn waker(&self) -> Waker;
}
