//! What both drivers keep of their connections: slots and generations, the piece under way, and
//! those whose peer may still read our last bytes.
//!
//! A write is tried at once and never waits in the kernel; what finds no room is tried again when
//! the driver learns that there is some.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use bootstorm_telemetry::event::Reason;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::{ConnId, Event, Piece, kernel_tls};
use crate::limits;
use crate::tls::{Keys, Suite};

/// The connections of a driver; `W` is what the driver itself notes down about each.
pub(super) struct Streams<W> {
    conns: Vec<Conn<W>>,
    free: Vec<u32>,
    /// Connections whose write is to be tried.
    writes: VecDeque<u32>,
    lingering: VecDeque<(Instant, ConnId)>,
}

/// A slot for a connection.
#[derive(Default)]
pub(super) struct Conn<W> {
    generation: u32,
    pub(super) stream: Option<TcpStream>,
    /// The peer sends no more.
    pub(super) ended: bool,
    /// The worker let go of it.
    pub(super) closing: bool,
    /// The kernel seals and opens its records.
    kernel_tls: bool,
    write: Option<Write>,
    pub(super) watch: W,
}

/// A piece under way.
struct Write {
    piece: Piece,
    done: usize,
}

/// What came of trying a write.
pub(super) enum Tried {
    /// There is no more room: try again when there is.
    Full,
    /// The piece has ended, whole or broken; the events are told.
    Ended,
}

impl<W> Conn<W> {
    /// A piece is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.write.is_some()
    }

    /// What a receive that failed so means.
    pub(super) fn broken_by(&self, error: &io::Error) -> Option<ErrorKind> {
        match &self.stream {
            Some(stream) if self.kernel_tls => kernel_tls::ended(stream.as_fd(), error),
            _ => Some(error.kind()),
        }
    }
}

impl<W: Default> Streams<W> {
    pub(super) fn new() -> Self {
        Self {
            conns: Vec::new(),
            free: Vec::new(),
            writes: VecDeque::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Gives a stream a slot; `None` when every one is taken.
    pub(super) fn insert(&mut self, stream: TcpStream) -> Option<ConnId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.conns.len() < limits::CONNECTIONS => {
                self.conns.push(Conn::default());
                self.conns.len() as u32 - 1
            }
            None => return None,
        };
        let conn = &mut self.conns[slot as usize];
        *conn = Conn {
            generation: conn.generation.wrapping_add(1),
            stream: Some(stream),
            ..Conn::default()
        };
        Some(self.id(slot))
    }

    /// What is in a slot.
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Conn<W>> {
        self.conns.get_mut(slot as usize)
    }

    /// The present name of a slot that was used before.
    pub(super) fn id(&self, slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: self.conns[slot as usize].generation,
        }
    }

    /// Whether events may still name the connection.
    pub(super) fn is_open(&self, id: ConnId) -> bool {
        self.conns
            .get(id.slot as usize)
            .is_some_and(|c| c.generation == id.generation && c.stream.is_some() && !c.closing)
    }

    /// The open connection of that name.
    pub(super) fn open(&mut self, id: ConnId) -> Option<&mut Conn<W>> {
        self.is_open(id).then(|| &mut self.conns[id.slot as usize])
    }

    /// Takes a piece to be written.
    pub(super) fn start_write(&mut self, id: ConnId, piece: Piece) {
        let Some(conn) = self.open(id) else { return };
        debug_assert!(conn.write.is_none(), "one piece at a time");
        if conn.write.is_none() {
            conn.write = Some(Write { piece, done: 0 });
            self.writes.push_back(id.slot);
        }
    }

    /// Spreads what the connection sends.
    pub(super) fn pace(&mut self, id: ConnId, rate: Option<u64>) {
        if let Some(stream) = self.open(id).and_then(|conn| conn.stream.as_ref()) {
            crate::congestion::pace(stream, rate);
        }
    }

    /// [`Driver::take_over`](super::Driver::take_over), while nothing is received; `events` are
    /// those that the worker has not seen.
    pub(super) fn take_over(
        &mut self,
        id: ConnId,
        events: &VecDeque<Event>,
        suite: Suite,
        keys: impl FnOnce() -> Result<Keys, Reason>,
    ) -> Result<bool, Reason> {
        let conn = self
            .open(id)
            .filter(|conn| !conn.ended && !conn.is_writing());
        if let Some(conn) = conn
            && let Some(stream) = &conn.stream
        {
            conn.kernel_tls = kernel_tls::take_over(stream, id, events, suite, keys)?;
            return Ok(conn.kernel_tls);
        }
        Ok(false)
    }

    /// There is room again.
    pub(super) fn resume_write(&mut self, slot: u32) {
        self.writes.push_back(slot);
    }

    /// How many writes are to be tried.
    pub(super) fn writes_pending(&self) -> usize {
        self.writes.len()
    }

    /// The write that is to be tried next.
    pub(super) fn next_write(&mut self) -> Option<u32> {
        self.writes.pop_front()
    }

    /// Gives the kernel what it takes of a piece and tells `events` when that was the end of it;
    /// answers how many bytes went, too.
    pub(super) fn try_write(
        &mut self,
        slot: u32,
        events: &mut VecDeque<Event>,
    ) -> (usize, Option<Tried>) {
        let id = self.id(slot);
        let conn = &mut self.conns[slot as usize];
        let (Some(stream), Some(write)) = (&conn.stream, &mut conn.write) else {
            return (0, None);
        };
        if conn.closing {
            conn.write = None;
            return (0, Some(Tried::Ended));
        }
        let (sent, error) = write.push(stream, conn.kernel_tls);
        write.done += sent;
        if write.left() > 0 && error.is_none() {
            return (sent, Some(Tried::Full));
        }
        if let Some(Write { piece, done }) = conn.write.take() {
            if matches!(error, Some(Errno::FAULT | Errno::IO)) {
                piece.unreadable();
            }
            let spent = match piece {
                Piece::Owned(bytes) => Some(bytes),
                Piece::Mapped(..) => None,
            };
            events.push_back(Event::Written {
                conn: id,
                bytes: done,
                spent,
            });
        }
        if let Some(error) = error {
            conn.ended = true;
            events.push_back(Event::Closed {
                conn: id,
                error: Some(io::Error::from(error).kind()),
            });
        }
        (sent, Some(Tried::Ended))
    }

    /// The worker lets go of a connection. Where nothing is under way and the peer can still be
    /// heard, it gets our last bytes and answers `true`: the slot is in use until the peer has
    /// ended, or [`Streams::lingered`] names it.
    pub(super) fn part(&mut self, id: ConnId, heard: bool) -> bool {
        let Some(conn) = self.open(id) else {
            return false;
        };
        conn.closing = true;
        let orderly = heard && conn.write.is_none() && !conn.ended;
        // A connection that the peer reset is shut already.
        let shut = conn.stream.as_ref().map(|stream| match orderly {
            true if conn.kernel_tls => kernel_tls::say_goodbye(stream.as_fd()),
            true => stream.shutdown(Shutdown::Write),
            false => stream.shutdown(Shutdown::Both),
        });
        let lingers = orderly && matches!(shut, Some(Ok(())));
        if lingers {
            let due = Instant::now() + limits::LINGER;
            self.lingering.push_back((due, id));
        }
        lingers
    }

    /// A connection whose peer had its time to read our last bytes, or when the next one has.
    pub(super) fn lingered(&mut self, now: Instant) -> Result<u32, Option<Instant>> {
        while let Some(&(due, id)) = self.lingering.front() {
            if due > now {
                return Err(Some(due));
            }
            self.lingering.pop_front();
            if self.id(id.slot) == id && self.conns[id.slot as usize].stream.is_some() {
                return Ok(id.slot);
            }
        }
        Err(None)
    }

    /// Ends a connection for good; nothing of it may be under way in the kernel.
    pub(super) fn release(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        conn.write = None;
        if conn.stream.take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Write {
    /// Bytes that are still to go.
    fn left(&self) -> usize {
        let length = match &self.piece {
            Piece::Owned(bytes) => bytes.len(),
            Piece::Mapped(_, range) => usize::try_from(range.end - range.start).unwrap_or(0),
        };
        length.saturating_sub(self.done)
    }

    /// Writes what there is room for; how much that was, and what broke the connection.
    fn push(&self, stream: &TcpStream, kernel_tls: bool) -> (usize, Option<Errno>) {
        if self.left() == 0 {
            return (0, None);
        }
        loop {
            return match self.push_once(stream, kernel_tls) {
                // The file was cut off below the map.
                Ok(0) => (0, Some(Errno::FAULT)),
                Ok(sent) => (sent, None),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => (0, None),
                Err(error) => (0, Some(error)),
            };
        }
    }

    fn push_once(&self, stream: &TcpStream, kernel_tls: bool) -> rustix::io::Result<usize> {
        // Linux 6.12 follows a null pointer when sendfile finds no room for all of a record.
        if !kernel_tls
            && let Piece::Mapped(file, range) = &self.piece
            && let Some(copy) = file.content.file()
        {
            // The pages themselves go out: nothing is copied on our side. Rust's runtime has
            // SIGPIPE ignored, which sendfile cannot be told.
            let mut offset = range.start + self.done as u64;
            return rustix::fs::sendfile(stream, copy, Some(&mut offset), self.left());
        }
        let rest = self.piece.bytes().get(self.done..).unwrap_or_default();
        rustix::net::send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    }
}
