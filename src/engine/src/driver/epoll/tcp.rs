//! Streams over epoll.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::net::SendFlags;

use super::{Epoll, REST, STREAMS, Source};
use crate::driver::{Buffer, ConnId, Event, ListenerId, Piece};
use crate::limits;

/// Connections accepted in one go.
const ACCEPTS: usize = 64;

/// Listeners and connections.
pub(super) struct Streams {
    listeners: Vec<Option<TcpListener>>,
    /// Listeners that rest, out of the epoll set, until then.
    resting: Vec<(Instant, u32)>,
    conns: Vec<Conn>,
    free: Vec<u32>,
    /// Connections whose write is to be tried.
    writes: VecDeque<u32>,
    lingering: VecDeque<(Instant, ConnId)>,
}

/// A slot for a connection.
#[derive(Default)]
struct Conn {
    generation: u32,
    stream: Option<TcpStream>,
    /// The peer sends no more.
    ended: bool,
    /// The worker let go of it.
    closing: bool,
    /// A write waits for room.
    blocked: bool,
    /// What epoll was last told.
    watched: Option<EventFlags>,
    write: Option<(Piece, usize)>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            resting: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            writes: VecDeque::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Whether events may still name the connection.
    pub(super) fn is_open(&self, id: ConnId) -> bool {
        self.conns
            .get(id.slot as usize)
            .is_some_and(|c| c.generation == id.generation && c.stream.is_some() && !c.closing)
    }

    pub(super) fn writes_pending(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(super) fn remove_listener(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id.0 as usize) {
            *listener = None;
        }
    }

    pub(super) fn start_write(&mut self, id: ConnId, piece: Piece) {
        if !self.is_open(id) {
            return;
        }
        let conn = &mut self.conns[id.slot as usize];
        debug_assert!(conn.write.is_none(), "one piece at a time");
        if conn.write.is_none() {
            conn.write = Some((piece, 0));
            self.writes.push_back(id.slot);
        }
    }

    fn insert(&mut self, stream: TcpStream) -> Option<ConnId> {
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
        Some(ConnId {
            slot,
            generation: conn.generation,
        })
    }

    fn release(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        conn.write = None;
        // Closing the descriptor takes it out of the epoll set.
        if conn.stream.take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Epoll {
    pub(super) fn insert_listener(&mut self, socket: TcpListener) -> io::Result<ListenerId> {
        if self.tcp.listeners.len() >= limits::LISTENERS {
            return Err(io::Error::other("too many listeners"));
        }
        let id = self.tcp.listeners.len() as u32;
        let data = Source::Listener.data(id);
        epoll::add(&self.epoll, socket.as_fd(), data, EventFlags::IN)?;
        self.tcp.listeners.push(Some(socket));
        Ok(ListenerId(id))
    }

    /// Wakes what rested long enough and ends lingering connections; tells when there is next
    /// something to do.
    pub(super) fn tend(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let resting = std::mem::take(&mut self.tcp.resting);
        for (due, id) in resting {
            if due > now {
                next = Some(next.map_or(due, |n| n.min(due)));
                self.tcp.resting.push((due, id));
            } else if let Some(Some(socket)) = self.tcp.listeners.get(id as usize) {
                let data = Source::Listener.data(id);
                let _ = epoll::add(&self.epoll, socket.as_fd(), data, EventFlags::IN);
            }
        }
        while let Some(&(due, id)) = self.tcp.lingering.front() {
            if due > now {
                return Some(next.map_or(due, |n| n.min(due)));
            }
            self.tcp.lingering.pop_front();
            if self.tcp.conns[id.slot as usize].generation == id.generation {
                self.tcp.release(id.slot);
            }
        }
        next
    }

    pub(super) fn accept(&mut self, id: u32) {
        for _ in 0..ACCEPTS {
            let Some(Some(listener)) = self.tcp.listeners.get(id as usize) else {
                return;
            };
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tracing::debug!(%error, "accepting rests");
                    let _ = epoll::delete(&self.epoll, listener.as_fd());
                    self.tcp.resting.push((Instant::now() + REST, id));
                    return;
                }
            };
            let Ok(local) = stream.local_addr() else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Some(conn) = self.tcp.insert(stream) else {
                tracing::debug!(%peer, "refused: every connection of this worker is taken");
                continue;
            };
            self.watch_conn(conn.slot);
            self.events.push_back(Event::Accepted {
                listener: ListenerId(id),
                conn,
                peer,
                local,
            });
        }
    }

    pub(super) fn conn_ready(&mut self, slot: u32, flags: EventFlags) {
        let Some(conn) = self.tcp.conns.get_mut(slot as usize) else {
            return;
        };
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        if conn.blocked && (broken || flags.contains(EventFlags::OUT)) {
            conn.blocked = false;
            self.tcp.writes.push_back(slot);
        }
        if !conn.ended && (broken || flags.contains(EventFlags::IN)) {
            self.receive(slot);
        }
        self.watch_conn(slot);
    }

    fn receive(&mut self, slot: u32) {
        let conn = &mut self.tcp.conns[slot as usize];
        let Some(stream) = &mut conn.stream else {
            return;
        };
        let Some(buffer) = self.streams.free.pop() else {
            return;
        };
        let id = ConnId {
            slot,
            generation: conn.generation,
        };
        let error = match stream.read(self.streams.bytes_mut(buffer)) {
            Ok(length @ 1..) if !conn.closing => {
                self.events.push_back(Event::Received {
                    conn: id,
                    buffer: Buffer {
                        group: STREAMS,
                        id: buffer,
                        range: 0..length,
                    },
                });
                return;
            }
            Ok(1..) => return self.streams.free.push(buffer),
            Ok(0) => None,
            Err(error) => Some(error.kind()),
        };
        self.streams.free.push(buffer);
        if matches!(error, Some(ErrorKind::WouldBlock | ErrorKind::Interrupted)) {
            return;
        }
        conn.ended = true;
        if conn.closing {
            self.tcp.release(slot);
        } else {
            self.events.push_back(Event::Closed { conn: id, error });
        }
    }

    /// Tells epoll what is of interest; a broken connection would else be reported for ever.
    fn watch_conn(&mut self, slot: u32) {
        let conn = &mut self.tcp.conns[slot as usize];
        let Some(stream) = &conn.stream else { return };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !conn.ended);
        flags.set(EventFlags::OUT, conn.blocked);
        let wanted = (!flags.is_empty()).then_some(flags);
        if wanted == conn.watched {
            return;
        }
        let data = Source::Conn.data(slot);
        let result = match (conn.watched, wanted) {
            (None, _) => epoll::add(&self.epoll, stream.as_fd(), data, flags),
            (_, None) => epoll::delete(&self.epoll, stream.as_fd()),
            _ => epoll::modify(&self.epoll, stream.as_fd(), data, flags),
        };
        conn.watched = wanted;
        if let Err(error) = result {
            tracing::debug!(%error, "a connection cannot be watched");
        }
    }

    /// Tries each write that is due once.
    pub(super) fn write_pending(&mut self) {
        for _ in 0..self.tcp.writes.len() {
            let Some(slot) = self.tcp.writes.pop_front() else {
                return;
            };
            self.try_write(slot);
        }
    }

    fn try_write(&mut self, slot: u32) {
        let conn = &mut self.tcp.conns[slot as usize];
        let (Some(stream), Some((piece, done))) = (&conn.stream, &mut conn.write) else {
            return;
        };
        let rest = piece.bytes().get(*done..).unwrap_or_default();
        let length = rest.len();
        let result = if rest.is_empty() {
            Ok(0)
        } else {
            rustix::net::send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        };
        let error = match result {
            Ok(sent) => {
                *done += sent;
                if sent < length {
                    conn.blocked = true;
                    return self.watch_conn(slot);
                }
                None
            }
            Err(rustix::io::Errno::AGAIN) => {
                conn.blocked = true;
                return self.watch_conn(slot);
            }
            Err(rustix::io::Errno::INTR) => return self.tcp.writes.push_back(slot),
            Err(error) => Some(error),
        };
        self.end_write(slot, error);
    }

    fn end_write(&mut self, slot: u32, error: Option<rustix::io::Errno>) {
        let conn = &mut self.tcp.conns[slot as usize];
        let Some((piece, bytes)) = conn.write.take() else {
            return;
        };
        let id = ConnId {
            slot,
            generation: conn.generation,
        };
        if error == Some(rustix::io::Errno::FAULT) {
            piece.unreadable();
        }
        let spent = match piece {
            Piece::Owned(bytes) => Some(bytes),
            Piece::Mapped(..) => None,
        };
        self.events.push_back(Event::Written {
            conn: id,
            bytes,
            spent,
        });
        if let Some(error) = error {
            conn.ended = true;
            self.events.push_back(Event::Closed {
                conn: id,
                error: Some(io::Error::from(error).kind()),
            });
            self.watch_conn(slot);
        }
    }

    pub(super) fn close_stream(&mut self, id: ConnId) {
        if !self.tcp.is_open(id) {
            return;
        }
        let conn = &mut self.tcp.conns[id.slot as usize];
        conn.closing = true;
        let orderly = conn.write.is_none() && !conn.ended;
        let shut = conn
            .stream
            .as_ref()
            .map(|stream| stream.shutdown(Shutdown::Write));
        if orderly && matches!(shut, Some(Ok(()))) {
            let due = Instant::now() + limits::LINGER;
            self.tcp.lingering.push_back((due, id));
        } else {
            self.tcp.release(id.slot);
        }
    }
}
