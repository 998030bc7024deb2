//! Datagrams over epoll.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

use rustix::event::epoll::{self, EventFlags};

use super::{DATAGRAMS, Epoll, Pool, Source};
use crate::driver::backlog::Backlog;
use crate::driver::outgoing::{Part, Slot};
use crate::driver::{Buffer, Busy, Event, Packet, SocketId, Transmit, incoming};
use crate::limits;

/// Datagrams taken in one call.
const BATCH: usize = 32;

/// Sockets and the sends through them.
pub(super) struct Sockets {
    sockets: Vec<UdpSocket>,
    slot: Box<Slot>,
    backlog: Backlog,
    /// The socket whose full send buffer everything waits for.
    full: Option<SocketId>,
    batch: Box<Batch>,
}

/// What `recvmmsg` fills beside the payloads.
struct Batch {
    ids: [u16; BATCH],
    names: [[u64; limits::NAME.div_ceil(8)]; BATCH],
    controls: [[u64; limits::CONTROL / 8]; BATCH],
    vectors: [libc::iovec; BATCH],
    messages: [libc::mmsghdr; BATCH],
}

impl Sockets {
    pub(super) fn new() -> Self {
        // SAFETY: all-zero integers, null pointers and zero lengths are valid.
        let batch: Box<Batch> = Box::new(unsafe { std::mem::zeroed() });
        Self {
            sockets: Vec::new(),
            slot: Box::new(Slot::new()),
            backlog: Backlog::new(),
            full: None,
            batch,
        }
    }

    pub(super) fn packet(&mut self) -> Box<Packet> {
        self.backlog.packet()
    }

    pub(super) fn queue(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        self.backlog.push(transmit)
    }

    /// Whether something waits that may be sent at once.
    pub(super) fn has_more(&self) -> bool {
        self.full.is_none() && !self.backlog.is_empty()
    }
}

impl Batch {
    /// Points the message headers at free buffers; tells how many that were.
    fn prepare(&mut self, pool: &mut Pool) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some(id) = pool.free.pop()
        {
            self.ids[count] = id;
            let buffer = pool.bytes_mut(id);
            self.vectors[count] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let header = &mut self.messages[count].msg_hdr;
            header.msg_name = self.names[count].as_mut_ptr().cast();
            header.msg_namelen = limits::NAME as u32;
            header.msg_iov = &raw mut self.vectors[count];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[count].as_mut_ptr().cast();
            header.msg_controllen = limits::CONTROL;
            header.msg_flags = 0;
            count += 1;
        }
        count
    }

    /// Sender and packet info of message `at`, unless it was cut off.
    fn arrival(&self, at: usize) -> Option<crate::driver::Arrival> {
        let header = &self.messages[at].msg_hdr;
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return None;
        }
        let name = bytes_of(&self.names[at]);
        let control = bytes_of(&self.controls[at]);
        incoming::arrival(
            name.get(..header.msg_namelen as usize)?,
            control.get(..header.msg_controllen)?,
        )
    }
}

fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: any bytes are valid, and a u64 is aligned more strictly than a byte.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

impl Epoll {
    pub(super) fn insert_udp(&mut self, socket: UdpSocket) -> io::Result<SocketId> {
        let id = self.udp.sockets.len() as u32;
        let data = Source::Udp.data(id);
        epoll::add(&self.epoll, socket.as_fd(), data, EventFlags::IN)?;
        self.udp.sockets.push(socket);
        Ok(SocketId(id))
    }

    /// Takes a batch; what is left keeps the socket ready.
    pub(super) fn receive_datagrams(&mut self, id: u32) {
        let Some(socket) = self.udp.sockets.get(id as usize) else {
            return;
        };
        let batch = &mut self.udp.batch;
        let count = batch.prepare(&mut self.datagrams);
        // SAFETY: the first `count` headers point at buffers of the pool that nobody else uses
        // and at this batch's own names and controls, each with its length.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                batch.messages.as_mut_ptr(),
                count as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).unwrap_or(0);
        for at in 0..count {
            let arrival = (at < received).then(|| batch.arrival(at)).flatten();
            let Some(arrival) = arrival else {
                self.datagrams.free.push(batch.ids[at]);
                continue;
            };
            self.events.push_back(Event::Datagram {
                socket: SocketId(id),
                arrival,
                buffer: Buffer {
                    group: DATAGRAMS,
                    id: batch.ids[at],
                    range: 0..batch.messages[at].msg_len as usize,
                },
            });
        }
    }

    /// The socket that everything waited for takes more.
    pub(super) fn resume(&mut self, id: u32) {
        if self.udp.full == Some(SocketId(id)) {
            self.udp.full = None;
            self.watch(id, EventFlags::IN);
        }
    }

    fn watch(&self, id: u32, flags: EventFlags) {
        let socket = &self.udp.sockets[id as usize];
        let data = Source::Udp.data(id);
        if let Err(error) = epoll::modify(&self.epoll, socket.as_fd(), data, flags) {
            tracing::warn!(%error, "a socket cannot be watched");
        }
    }

    /// Sends what waits, as much as one turn takes, until a send buffer is full.
    pub(super) fn flush(&mut self) {
        for _ in 0..limits::SEND_SLOTS {
            let udp = &mut self.udp;
            if udp.full.is_some() {
                return;
            }
            let Some(part) = udp.backlog.pop() else {
                return;
            };
            let id = part.socket;
            let Some(socket) = udp.sockets.get(id.0 as usize) else {
                udp.backlog.reuse(part);
                continue;
            };
            let message = udp.slot.fill(part);
            // SAFETY: the slot holds what the message points at until it is taken below.
            let result = unsafe {
                libc::sendmsg(
                    socket.as_raw_fd(),
                    message,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            let error = (result < 0).then(io::Error::last_os_error);
            let Some(part) = udp.slot.take() else { return };
            match error.as_ref().and_then(io::Error::raw_os_error) {
                None => udp.backlog.reuse(part),
                Some(error) => self.refused(part, error),
            }
        }
    }

    fn refused(&mut self, part: Part, error: i32) {
        if error == libc::EAGAIN {
            let id = part.socket;
            self.udp.full = Some(id);
            self.udp.backlog.give_back(part);
            self.watch(id.0, EventFlags::IN | EventFlags::OUT);
        } else if let Some(part) = self.udp.backlog.refused(part, error) {
            let error = io::Error::from_raw_os_error(error);
            tracing::debug!(to = %part.to, %error, "a datagram could not be sent");
            self.udp.backlog.reuse(part);
        }
    }
}
