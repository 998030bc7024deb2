//! Streams over epoll.

use std::io::{self, ErrorKind, Read};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};

use super::{Epoll, REST, STREAMS, Source};
use crate::driver::streams::{Streams, Tried};
use crate::driver::{Buffer, ConnId, Event, ListenerId};
use crate::limits;

/// Connections accepted in one go.
const ACCEPTS: usize = 64;

/// Listeners and connections.
pub(super) struct Tcp {
    listeners: Vec<Option<TcpListener>>,
    /// Listeners that rest, out of the epoll set, until then.
    resting: Vec<(Instant, u32)>,
    pub(super) conns: Streams<Watch>,
}

/// What epoll is asked for on behalf of a connection.
#[derive(Default)]
pub(super) struct Watch {
    /// A write waits for room.
    blocked: bool,
    /// What epoll was last told.
    told: Option<EventFlags>,
}

impl Tcp {
    pub(super) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            resting: Vec::new(),
            conns: Streams::new(),
        }
    }

    pub(super) fn remove_listener(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id.0 as usize) {
            *listener = None;
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
        loop {
            match self.tcp.conns.lingered(now) {
                // Closing the descriptor takes it out of the epoll set.
                Ok(slot) => self.tcp.conns.release(slot),
                Err(None) => return next,
                Err(Some(due)) => return Some(next.map_or(due, |n| n.min(due))),
            }
        }
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
            crate::congestion::reconsider(&stream);
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Some(conn) = self.tcp.conns.insert(stream) else {
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
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let receive = !conn.ended && (broken || flags.contains(EventFlags::IN));
        if conn.watch.blocked && (broken || flags.contains(EventFlags::OUT)) {
            conn.watch.blocked = false;
            self.tcp.conns.resume_write(slot);
        }
        if receive {
            self.receive(slot);
        }
        self.watch_conn(slot);
    }

    fn receive(&mut self, slot: u32) {
        let id = self.tcp.conns.id(slot);
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let Some(stream) = &mut conn.stream else {
            return;
        };
        let Some(buffer) = self.streams.free.pop() else {
            return;
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
            Err(error) => conn.broken_by(&error),
        };
        self.streams.free.push(buffer);
        if matches!(error, Some(ErrorKind::WouldBlock | ErrorKind::Interrupted)) {
            return;
        }
        conn.ended = true;
        if conn.closing {
            self.tcp.conns.release(slot);
        } else {
            self.events.push_back(Event::Closed { conn: id, error });
        }
    }

    /// Tells epoll what is of interest; a broken connection would else be reported for ever.
    fn watch_conn(&mut self, slot: u32) {
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let Some(stream) = &conn.stream else { return };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !conn.ended);
        flags.set(EventFlags::OUT, conn.watch.blocked);
        let wanted = (!flags.is_empty()).then_some(flags);
        if wanted == conn.watch.told {
            return;
        }
        let data = Source::Conn.data(slot);
        let result = match (conn.watch.told, wanted) {
            (None, _) => epoll::add(&self.epoll, stream.as_fd(), data, flags),
            (_, None) => epoll::delete(&self.epoll, stream.as_fd()),
            _ => epoll::modify(&self.epoll, stream.as_fd(), data, flags),
        };
        conn.watch.told = wanted;
        if let Err(error) = result {
            tracing::debug!(%error, "a connection cannot be watched");
        }
    }

    /// Tries the writes that are due, as many as one turn may carry.
    pub(super) fn write_pending(&mut self) {
        let mut left = limits::TURN_WRITES;
        for _ in 0..self.tcp.conns.writes_pending() {
            let Some(slot) = self.tcp.conns.next_write() else {
                return;
            };
            let (sent, tried) = self.tcp.conns.try_write(slot, &mut self.events);
            if let (Some(Tried::Full), Some(conn)) = (&tried, self.tcp.conns.get(slot)) {
                conn.watch.blocked = true;
            }
            if tried.is_some() {
                self.watch_conn(slot);
            }
            left = left.saturating_sub(sent);
            if left == 0 {
                return;
            }
        }
    }

    pub(super) fn close_stream(&mut self, id: ConnId) {
        if self.tcp.conns.is_open(id) && !self.tcp.conns.part(id, true) {
            self.tcp.conns.release(id.slot);
        }
    }
}
