//! Streams over the ring.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Instant;

use io_uring::{cqueue, opcode, types};

use super::{Op, REST, STREAMS, Uring, earliest};
use crate::driver::streams::{Conn, Streams, Tried};
use crate::driver::{Buffer, ConnId, Event, ListenerId};
use crate::limits;

/// Listeners and connections.
pub(super) struct Tcp {
    listeners: Vec<Listener>,
    pub(super) conns: Streams<Watch>,
    /// Connections whose receive ended for want of buffers.
    idle: Vec<u32>,
}

struct Listener {
    /// `None` once it was told to stop.
    socket: Option<TcpListener>,
    accepting: bool,
    resume: Option<Instant>,
}

/// What the ring is asked for on behalf of a connection.
#[derive(Default)]
pub(super) struct Watch {
    receiving: bool,
    /// A write waits for room.
    polling: bool,
}

impl Tcp {
    pub(super) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            conns: Streams::new(),
            idle: Vec::new(),
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

    /// Frees a connection that was closed and has nothing under way.
    fn settle(&mut self, slot: u32) {
        let under_way = |conn: &Conn<Watch>| conn.watch.receiving || conn.watch.polling;
        if let Some(conn) = self.conns.get(slot)
            && conn.closing
            && !under_way(conn)
        {
            self.conns.release(slot);
        }
    }

    fn shut(&mut self, slot: u32) {
        if let Some(stream) = self.conns.get(slot).and_then(|c| c.stream.as_ref()) {
            // A connection that the peer reset is shut already.
            let _ = stream.shutdown(Shutdown::Both);
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
                .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
                .build()
                .user_data(Op::Accept.user_data(id as u32));
            // SAFETY: refers to nothing but the socket, which is kept until the accept ended.
            unsafe { self.push(entry) };
        }
        while let Some(slot) = self.tcp.idle.pop() {
            self.receive(slot);
        }
        loop {
            match self.tcp.conns.lingered(now) {
                Ok(slot) => self.tcp.shut(slot),
                Err(due) => return earliest(next, due),
            }
        }
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
        crate::congestion::reconsider(&stream);
        let Some(conn) = self.tcp.conns.insert(stream) else {
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
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let receiving = &mut conn.watch.receiving;
        let Some(stream) = conn.stream.as_ref().filter(|_| !*receiving) else {
            return;
        };
        *receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(stream.as_raw_fd()), STREAMS)
            .build()
            .user_data(Op::Received.user_data(slot));
        // SAFETY: the buffers are those of the registered ring; the socket is kept until the
        // receive has ended.
        unsafe { self.push(entry) };
    }

    pub(super) fn received(&mut self, slot: u32, entry: &cqueue::Entry) {
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let result = entry.result();
        let buffer = cqueue::buffer_select(entry.flags());
        let more = cqueue::more(entry.flags());
        conn.watch.receiving = more;
        // What broke a connection may have been told already, by its write.
        let told = conn.closing || conn.ended;
        let starved = result == -libc::ENOBUFS;
        conn.ended |= result <= 0 && !more && !starved;
        let over = conn.ended;
        let error = (over && !told && result < 0)
            .then(|| io::Error::from_raw_os_error(-result))
            .and_then(|error| conn.broken_by(&error));
        let id = self.tcp.conns.id(slot);
        match (result, buffer) {
            (1.., Some(buffer)) if !told => self.events.push_back(Event::Received {
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
                if over && !told {
                    self.events.push_back(Event::Closed { conn: id, error });
                }
            }
        }
        if !more && !over {
            self.tcp.idle.push(slot);
        }
        self.tcp.settle(slot);
    }

    /// Tries the writes that are due, as many as one turn may carry.
    pub(super) fn write_pending(&mut self) {
        let mut left = limits::TURN_WRITES;
        for _ in 0..self.tcp.conns.writes_pending() {
            let Some(slot) = self.tcp.conns.next_write() else {
                return;
            };
            let (sent, tried) = self.tcp.conns.try_write(slot, &mut self.events);
            match tried {
                Some(Tried::Full) => self.await_room(slot),
                Some(Tried::Ended) => self.tcp.settle(slot),
                None => {}
            }
            left = left.saturating_sub(sent);
            if left == 0 {
                return;
            }
        }
    }

    fn await_room(&mut self, slot: u32) {
        let Some(conn) = self.tcp.conns.get(slot) else {
            return;
        };
        let polling = &mut conn.watch.polling;
        let Some(stream) = conn.stream.as_ref().filter(|_| !*polling) else {
            return;
        };
        *polling = true;
        let entry = opcode::PollAdd::new(types::Fd(stream.as_raw_fd()), libc::POLLOUT as u32)
            .build()
            .user_data(Op::Room.user_data(slot));
        // SAFETY: refers to nothing but the socket, which is kept until the poll has ended.
        unsafe { self.push(entry) };
    }

    /// A connection may be written to again, or is broken, which writing will tell.
    pub(super) fn room(&mut self, slot: u32) {
        if let Some(conn) = self.tcp.conns.get(slot) {
            conn.watch.polling = false;
            if conn.is_writing() && !conn.closing {
                self.tcp.conns.resume_write(slot);
            }
        }
        self.tcp.settle(slot);
    }

    pub(super) fn close_stream(&mut self, id: ConnId) {
        let Some(conn) = self.tcp.conns.open(id) else {
            return;
        };
        let receiving = conn.watch.receiving;
        self.tcp.conns.part(id, receiving);
        self.tcp.settle(id.slot);
    }
}
