//! Streams over the ring.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Instant;

use io_uring::{cqueue, opcode, types};

use super::{Op, REST, STREAMS, Uring, earliest};
use crate::driver::{Buffer, ConnId, Event, ListenerId, Piece};
use crate::limits;

/// Listeners and connections.
pub(super) struct Streams {
    listeners: Vec<Listener>,
    conns: Vec<Conn>,
    free: Vec<u32>,
    /// Connections whose receive ended for want of buffers.
    idle: Vec<u32>,
    lingering: VecDeque<(Instant, ConnId)>,
}

struct Listener {
    /// `None` once it was told to stop.
    socket: Option<TcpListener>,
    accepting: bool,
    resume: Option<Instant>,
}

/// A slot for a connection.
#[derive(Default)]
struct Conn {
    generation: u32,
    stream: Option<TcpStream>,
    receiving: bool,
    /// The peer sends no more.
    ended: bool,
    /// The worker let go of it.
    closing: bool,
    write: Option<Write>,
}

/// A piece under way.
struct Write {
    piece: Piece,
    done: usize,
}

impl Write {
    fn rest(&self) -> &[u8] {
        self.piece.bytes().get(self.done..).unwrap_or_default()
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            lingering: VecDeque::new(),
        }
    }

    pub(super) fn add_listener(&mut self, socket: TcpListener) -> io::Result<ListenerId> {
        if self.listeners.len() >= limits::LISTENERS {
            return Err(io::Error::other("too many listeners"));
        }
        let id = ListenerId(self.listeners.len() as u32);
        self.listeners.push(Listener {
            socket: Some(socket),
            accepting: false,
            resume: None,
        });
        Ok(id)
    }

    /// Whether events may still name the connection.
    pub(super) fn is_open(&self, id: ConnId) -> bool {
        self.conns
            .get(id.slot as usize)
            .is_some_and(|c| c.generation == id.generation && c.stream.is_some() && !c.closing)
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

    /// Frees a connection that was closed and has nothing under way.
    fn release(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if conn.closing && !conn.receiving && conn.write.is_none() && conn.stream.take().is_some() {
            self.free.push(slot);
        }
    }

    fn shut(&self, slot: u32, how: Shutdown) {
        if let Some(stream) = &self.conns[slot as usize].stream {
            // A connection that the peer reset is shut already.
            let _ = stream.shutdown(how);
        }
    }
}

impl Uring {
    /// Starts the accepts and receives that are not running and ends lingering connections; tells
    /// when there is next something to do.
    pub(super) fn arm_tcp(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for id in 0..self.tcp.listeners.len() {
            let listener = &mut self.tcp.listeners[id];
            let Some(socket) = listener.socket.as_ref().filter(|_| !listener.accepting) else {
                continue;
            };
            if let Some(resume) = listener.resume.filter(|&r| r > now) {
                next = earliest(next, Some(resume));
                continue;
            }
            listener.accepting = true;
            let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
                .flags(libc::SOCK_CLOEXEC)
                .build()
                .user_data(Op::Accept.user_data(id as u32));
            // SAFETY: refers to nothing but the socket, which is kept until the accept ended.
            unsafe { self.push(entry) };
        }
        while let Some(slot) = self.tcp.idle.pop() {
            self.receive(slot);
        }
        while let Some(&(due, id)) = self.tcp.lingering.front() {
            if due > now {
                return earliest(next, Some(due));
            }
            self.tcp.lingering.pop_front();
            if self.tcp.conns[id.slot as usize].generation == id.generation {
                self.tcp.shut(id.slot, Shutdown::Both);
            }
        }
        next
    }

    pub(super) fn cancel_accept(&mut self, id: ListenerId) {
        let Some(listener) = self.tcp.listeners.get_mut(id.0 as usize) else {
            return;
        };
        if !listener.accepting {
            listener.socket = None;
            return;
        }
        // The socket itself goes when the accept has ended.
        listener.resume = None;
        let entry = opcode::AsyncCancel::new(Op::Accept.user_data(id.0))
            .build()
            .user_data(Op::Cancel.user_data(id.0));
        // SAFETY: refers to no memory.
        unsafe { self.push(entry) };
    }

    pub(super) fn accepted(&mut self, id: u32, entry: &cqueue::Entry) {
        let result = entry.result();
        if let Some(listener) = self.tcp.listeners.get_mut(id as usize)
            && !cqueue::more(entry.flags())
        {
            listener.accepting = false;
            match -result {
                libc::ECANCELED => listener.socket = None,
                // Out of files or memory: let connections end first.
                error if error > 0 => listener.resume = Some(Instant::now() + REST),
                _ => {}
            }
        }
        if result < 0 {
            return;
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else has it.
        let stream = unsafe { TcpStream::from_raw_fd(result) };
        // A peer that is gone already has no address any more.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
            return;
        };
        let _ = stream.set_nodelay(true);
        let Some(conn) = self.tcp.insert(stream) else {
            tracing::debug!(%peer, "refused: every connection of this worker is taken");
            return;
        };
        self.tcp.idle.push(conn.slot);
        self.events.push_back(Event::Accepted {
            listener: ListenerId(id),
            conn,
            peer,
            local,
        });
    }

    fn receive(&mut self, slot: u32) {
        let conn = &mut self.tcp.conns[slot as usize];
        let Some(stream) = conn.stream.as_ref().filter(|_| !conn.receiving) else {
            return;
        };
        conn.receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(stream.as_raw_fd()), STREAMS)
            .build()
            .user_data(Op::Received.user_data(slot));
        // SAFETY: the buffers are those of the registered ring; the socket is kept until the
        // receive has ended.
        unsafe { self.push(entry) };
    }

    pub(super) fn received(&mut self, slot: u32, entry: &cqueue::Entry) {
        let Some(conn) = self.tcp.conns.get_mut(slot as usize) else {
            return;
        };
        let id = ConnId {
            slot,
            generation: conn.generation,
        };
        let result = entry.result();
        let buffer = cqueue::buffer_select(entry.flags());
        let ended = !cqueue::more(entry.flags());
        if ended {
            conn.receiving = false;
        }
        match (result, buffer) {
            (1.., Some(buffer)) if conn.closing => self.streams.recycle(buffer),
            (1.., Some(buffer)) => self.events.push_back(Event::Received {
                conn: id,
                buffer: Buffer {
                    group: STREAMS,
                    id: buffer,
                    range: 0..result as usize,
                },
            }),
            (_, buffer) => {
                if let Some(buffer) = buffer {
                    self.streams.recycle(buffer);
                }
                let error = (result < 0).then(|| io::Error::from_raw_os_error(-result).kind());
                if ended && result != -libc::ENOBUFS {
                    conn.ended = true;
                    if !conn.closing {
                        self.events.push_back(Event::Closed { conn: id, error });
                    }
                }
            }
        }
        let conn = &self.tcp.conns[slot as usize];
        if ended && !conn.ended {
            self.tcp.idle.push(slot);
        }
        self.tcp.release(slot);
    }

    pub(super) fn start_write(&mut self, id: ConnId, piece: Piece) {
        if !self.tcp.is_open(id) {
            return;
        }
        let conn = &mut self.tcp.conns[id.slot as usize];
        debug_assert!(conn.write.is_none(), "one piece at a time");
        if conn.write.is_some() {
            return;
        }
        conn.write = Some(Write { piece, done: 0 });
        self.push_write(id.slot);
    }

    fn push_write(&mut self, slot: u32) {
        let conn = &self.tcp.conns[slot as usize];
        let (Some(stream), Some(write)) = (&conn.stream, &conn.write) else {
            return;
        };
        let rest = write.rest();
        let length = rest.len().min(limits::WRITE) as u32;
        let entry = opcode::Send::new(types::Fd(stream.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(Op::Written.user_data(slot));
        // SAFETY: the piece owns or maps the bytes, does not move them, and is kept in the
        // connection until this send has completed.
        unsafe { self.push(entry) };
    }

    pub(super) fn written(&mut self, slot: u32, result: i32) {
        let Some(conn) = self.tcp.conns.get_mut(slot as usize) else {
            return;
        };
        let Some(write) = &mut conn.write else {
            return;
        };
        if let Ok(more @ 1..) = usize::try_from(result) {
            write.done += more;
        }
        let left = !write.rest().is_empty();
        if left && result > 0 && !conn.closing {
            return self.push_write(slot);
        }
        let conn_id = ConnId {
            slot,
            generation: conn.generation,
        };
        let Some(Write { piece, done }) = conn.write.take() else {
            return;
        };
        if result == -libc::EFAULT {
            piece.unreadable();
        }
        if !conn.closing {
            let spent = match piece {
                Piece::Owned(bytes) => Some(bytes),
                Piece::Mapped(..) => None,
            };
            self.events.push_back(Event::Written {
                conn: conn_id,
                bytes: done,
                spent,
            });
            // The receive that is running reports what broke the connection, if it still runs.
            if left && (conn.ended || !conn.receiving) {
                let error = (result < 0).then(|| io::Error::from_raw_os_error(-result).kind());
                self.events.push_back(Event::Closed {
                    conn: conn_id,
                    error,
                });
            } else if left {
                self.tcp.shut(slot, Shutdown::Both);
            }
        }
        self.tcp.release(slot);
    }

    pub(super) fn close_stream(&mut self, id: ConnId) {
        if !self.tcp.is_open(id) {
            return;
        }
        let conn = &mut self.tcp.conns[id.slot as usize];
        conn.closing = true;
        let orderly = conn.write.is_none() && !conn.ended && conn.receiving;
        if orderly {
            self.tcp.shut(id.slot, Shutdown::Write);
            let due = Instant::now() + limits::LINGER;
            self.tcp.lingering.push_back((due, id));
        } else {
            self.tcp.shut(id.slot, Shutdown::Both);
        }
        self.tcp.release(id.slot);
    }
}
