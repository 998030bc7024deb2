//! Datagrams over the ring.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};

use super::{Op, REST, Uring};
use crate::driver::backlog::Backlog;
use crate::driver::outgoing::Slot;
use crate::driver::{Buffer, Busy, Driver, Event, Packet, SocketId, Transmit, incoming};
use crate::limits;

/// How long sending rests when a socket's send buffer is full.
const FULL: Duration = Duration::from_millis(1);

/// Sockets and the sends through them.
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    /// Sockets whose receive has ended and must be started again.
    idle: Vec<u32>,
    /// What the kernel is told about name and control room; it reads it at each start.
    template: Box<libc::msghdr>,
    /// Never moved nor resized: the kernel reads them.
    slots: Box<[Slot]>,
    free: Vec<u32>,
    backlog: Backlog,
    resume: Option<Instant>,
    /// What the last flush sent was one datagram a send.
    turn_by_turn: bool,
}

struct Socket {
    socket: UdpSocket,
    /// Whose buffers it receives into.
    group: u16,
    resume: Option<Instant>,
}

impl Sockets {
    pub(super) fn new() -> Self {
        // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
        let mut template: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        template.msg_namelen = limits::NAME as u32;
        template.msg_controllen = limits::CONTROL;
        Self {
            sockets: Vec::new(),
            idle: Vec::new(),
            template,
            slots: (0..limits::SEND_SLOTS).map(|_| Slot::new()).collect(),
            free: (0..limits::SEND_SLOTS as u32).rev().collect(),
            backlog: Backlog::new(),
            resume: None,
            turn_by_turn: false,
        }
    }

    pub(super) fn add(&mut self, socket: UdpSocket, group: u16) -> SocketId {
        let id = self.sockets.len() as u32;
        self.sockets.push(Socket {
            socket,
            group,
            resume: None,
        });
        self.idle.push(id);
        SocketId(id)
    }

    pub(super) fn packet(&mut self) -> Box<Packet> {
        self.backlog.packet()
    }

    pub(super) fn queue(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        self.backlog.push(transmit)
    }

    /// Whether something waits that may be sent at once.
    pub(super) fn has_more(&self) -> bool {
        self.resume.is_none() && !self.backlog.is_empty()
    }

    /// Sends that have not completed.
    pub(super) fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the last flush sent something, and no more than one datagram to anybody.
    pub(super) fn is_turn_by_turn(&self) -> bool {
        self.turn_by_turn
    }
}

impl Uring {
    /// Starts the receives that are not running; tells when the next that rests is due.
    pub(super) fn arm_udp(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut at = 0;
        while let Some(&id) = self.udp.idle.get(at) {
            let socket = &mut self.udp.sockets[id as usize];
            if let Some(resume) = socket.resume.filter(|&r| r > now) {
                next = super::earliest(next, Some(resume));
                at += 1;
                continue;
            }
            socket.resume = None;
            self.udp.idle.swap_remove(at);
            let fd = types::Fd(socket.socket.as_raw_fd());
            let template: *const libc::msghdr = &raw const *self.udp.template;
            let entry = opcode::RecvMsgMulti::new(fd, template, socket.group)
                .build()
                .user_data(Op::Datagram.user_data(id));
            // SAFETY: the template lives on the heap as long as the ring; sockets are never
            // removed; the buffers are those of the registered ring.
            unsafe { self.push(entry) };
        }
        next
    }

    /// Puts what waits onto the ring, as much as one turn takes. When sending rests, tells until
    /// when.
    pub(super) fn flush(&mut self, now: Instant) -> Option<Instant> {
        if let Some(resume) = self.udp.resume {
            if resume > now {
                return Some(resume);
            }
            self.udp.resume = None;
        }
        let mut largest = 0;
        while let Some(&slot) = self.udp.free.last() {
            let udp = &mut self.udp;
            let Some(part) = udp.backlog.pop() else {
                break;
            };
            let Some(socket) = udp.sockets.get(part.socket.0 as usize) else {
                udp.backlog.reuse(part);
                continue;
            };
            udp.free.pop();
            largest = part.datagrams_in().max(largest);
            let fd = types::Fd(socket.socket.as_raw_fd());
            let message = udp.slots[slot as usize].fill(part);
            let entry = opcode::SendMsg::new(fd, message)
                .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
                .build()
                .user_data(Op::Sent.user_data(slot));
            // SAFETY: the slot is on the heap and neither moved nor filled again before this send has
            // completed; it holds the packet or the map that its vectors point into.
            unsafe { self.push(entry) };
        }
        self.udp.turn_by_turn = largest == 1;
        None
    }

    /// A send completed.
    pub(super) fn sent(&mut self, slot: u32, result: i32) {
        let udp = &mut self.udp;
        let Some(part) = udp.slots.get_mut(slot as usize).and_then(|s| s.take()) else {
            return;
        };
        udp.free.push(slot);
        if result >= 0 {
            return udp.backlog.reuse(part);
        }
        let error = -result;
        if error == libc::EAGAIN {
            udp.resume = Some(Instant::now() + FULL);
            udp.backlog.give_back(part);
        } else if let Some(part) = udp.backlog.refused(part, error) {
            let error = std::io::Error::from_raw_os_error(error);
            tracing::debug!(to = %part.to, %error, "a datagram could not be sent");
            udp.backlog.reuse(part);
        }
    }

    /// A datagram came, or the receive ended.
    pub(super) fn datagram(&mut self, id: u32, entry: &cqueue::Entry) {
        if !cqueue::more(entry.flags()) {
            self.udp.idle.push(id);
        }
        let result = entry.result();
        if result < 0 {
            // Buffers are back before the next wait; anything else gets a rest.
            if -result != libc::ENOBUFS
                && let Some(socket) = self.udp.sockets.get_mut(id as usize)
            {
                socket.resume = Some(Instant::now() + REST);
            }
            return;
        }
        let (Some(number), Some(socket)) = (
            cqueue::buffer_select(entry.flags()),
            self.udp.sockets.get(id as usize),
        ) else {
            return;
        };
        let mut buffer = Buffer {
            group: socket.group,
            id: number,
            range: 0..result as usize,
        };
        match self.read_datagram(&buffer) {
            Some((arrival, range)) => {
                buffer.range = range;
                self.events.push_back(Event::Datagram {
                    socket: SocketId(id),
                    arrival,
                    buffer,
                });
            }
            None => self.recycle(buffer),
        }
    }

    fn read_datagram(
        &self,
        buffer: &Buffer,
    ) -> Option<(crate::driver::Arrival, std::ops::Range<usize>)> {
        let bytes = self.bytes(buffer);
        let out = types::RecvMsgOut::parse(bytes, &self.udp.template).ok()?;
        if out.is_payload_truncated() || out.is_control_data_truncated() {
            return None;
        }
        let arrival = incoming::arrival(out.name_data(), out.control_data())?;
        let begin = limits::RECVMSG_HEADER + limits::NAME + limits::CONTROL;
        Some((arrival, begin..begin + out.payload_data().len()))
    }
}
