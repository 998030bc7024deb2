//! The driver over io_uring: one ring, buffer rings, multishot receives and accepts.

mod awake;
mod buffers;
mod reads;
mod ring;
mod tcp;
mod udp;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_catalog::File;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::os::fd::AsRawFd;

use super::{
    Buffer, Busy, ConnId, Driver, Event, ListenerId, Packet, Piece, ReadToken, SocketId, Transmit,
    Waker,
};
use crate::limits;
use crate::tls::{Keys, Suite};
use awake::Awake;
use bootstorm_telemetry::event::Reason;
use buffers::BufferRing;

const DATAGRAMS: u16 = 0;
const STREAMS: u16 = 1;
/// A flood of requests leaves the buffers of transfers alone.
const REQUESTS: u16 = 2;

/// How long a socket rests whose receive or accept failed for want of files or memory.
const REST: Duration = Duration::from_millis(100);

/// io_uring.
pub(crate) struct Uring {
    // First: closing the ring ends every use of the memory below.
    ring: IoUring,
    requests: BufferRing,
    datagrams: BufferRing,
    streams: BufferRing,
    udp: udp::Sockets,
    tcp: tcp::Tcp,
    reads: reads::Reads,
    waker: Waker,
    woken: Box<u64>,
    waiting_for_wake: bool,
    events: VecDeque<Event>,
    completed: Vec<cqueue::Entry>,
    failed: Option<io::Error>,
    awake: Awake,
}

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Wake,
    Datagram,
    Sent,
    Accept,
    Received,
    Room,
    Cancel,
    ReadIn,
}

impl Op {
    const ALL: [Self; 8] = [
        Self::Wake,
        Self::Datagram,
        Self::Sent,
        Self::Accept,
        Self::Received,
        Self::Room,
        Self::Cancel,
        Self::ReadIn,
    ];

    const fn user_data(self, index: u32) -> u64 {
        (self as u64) << 32 | index as u64
    }

    fn read(user_data: u64) -> Option<(Self, u32)> {
        let op = Self::ALL.get(usize::try_from(user_data >> 32).ok()?)?;
        Some((*op, user_data as u32))
    }
}

/// Whether threads of this program may make a ring with everything that the driver needs.
///
/// # Errors
/// Why not.
pub(crate) fn probe() -> io::Result<()> {
    // In a thread of its own: taking a ring down interrupts the system calls of the thread that
    // made it.
    let attempt = std::thread::spawn(|| {
        let ring = ring::build()?;
        BufferRing::register(&ring, DATAGRAMS, 2, 64).map(drop)
    });
    let panicked = |_| io::Error::other("the attempt panicked");
    attempt.join().map_err(panicked)?
}

impl Uring {
    /// The driver of the calling thread, which must stay the only one to use it.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn new(waker: Waker) -> io::Result<Self> {
        let ring = ring::build()?;
        let requests = BufferRing::register(
            &ring,
            REQUESTS,
            limits::REQUEST_BUFFERS,
            limits::DATAGRAM_BUFFER,
        )?;
        let datagrams = BufferRing::register(
            &ring,
            DATAGRAMS,
            limits::DATAGRAM_BUFFERS,
            limits::DATAGRAM_BUFFER,
        )?;
        let streams = BufferRing::register(
            &ring,
            STREAMS,
            limits::STREAM_BUFFERS,
            limits::STREAM_BUFFER,
        )?;
        Ok(Self {
            ring,
            requests,
            datagrams,
            streams,
            udp: udp::Sockets::new(),
            tcp: tcp::Tcp::new(),
            reads: reads::Reads::default(),
            waker,
            woken: Box::new(0),
            waiting_for_wake: false,
            events: VecDeque::with_capacity(1024),
            completed: Vec::with_capacity(1024),
            failed: None,
            awake: Awake::new(),
        })
    }

    /// Queues an entry for the next submission.
    ///
    /// # Safety
    /// Everything that `entry` points to must stay valid and in place until it has completed.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        for _ in 0..8 {
            // SAFETY: passed on to the caller.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if transient(&error) => self.collect(),
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
        let full = io::Error::other("the submission queue does not empty");
        self.failed = Some(full);
    }

    /// Submits, and waits for `want` completions or `until`.
    fn enter(&mut self, want: usize, until: Option<Instant>) -> io::Result<()> {
        let result = match until {
            None => self.ring.submit_and_wait(want),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let left = types::Timespec::from(left);
                let args = types::SubmitArgs::new().timespec(&left);
                self.ring.submitter().submit_with_args(want, &args)
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) if transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends, and waits awake for a moment, when one datagram after the other is asked for.
    fn stay_awake(&mut self, sends: usize, until: Option<Instant>) -> io::Result<()> {
        if !self.udp.is_turn_by_turn() || !self.awake.is_worth_it() {
            return Ok(());
        }
        match self.ring.submit() {
            Err(error) if !transient(&error) => return Err(error),
            _ => {}
        }
        let end = Instant::now() + limits::AWAKE;
        let end = until.map_or(end, |until| until.min(end));
        let answered = loop {
            if self.ring.submission().taskrun() || self.ring.completion().len() > sends {
                break true;
            }
            if Instant::now() >= end {
                break false;
            }
            std::hint::spin_loop();
        };
        self.awake.note(answered);
        Ok(())
    }

    /// Takes every completion off the ring, into events and state. Submits nothing.
    fn collect(&mut self) {
        let mut completed = std::mem::take(&mut self.completed);
        completed.extend(self.ring.completion());
        for entry in completed.drain(..) {
            self.complete(&entry);
        }
        self.completed = completed;
    }

    fn complete(&mut self, entry: &cqueue::Entry) {
        let Some((op, index)) = Op::read(entry.user_data()) else {
            return;
        };
        match op {
            Op::Wake => {
                self.waiting_for_wake = false;
                self.events.push_back(Event::Woken);
            }
            Op::Datagram => self.datagram(index, entry),
            Op::Sent => self.sent(index, entry.result()),
            Op::Accept => self.accepted(index, entry),
            Op::Received => self.received(index, entry),
            Op::Room => self.room(index),
            Op::Cancel => {}
            Op::ReadIn => self.was_read_in(index, entry.result()),
        }
    }

    fn arm_waker(&mut self) {
        if self.waiting_for_wake {
            return;
        }
        self.waiting_for_wake = true;
        let fd = types::Fd(self.waker.eventfd.as_raw_fd());
        let entry = opcode::Read::new(fd, (&raw mut *self.woken).cast(), 8)
            .build()
            .user_data(Op::Wake.user_data(0));
        // SAFETY: the eight bytes are on the heap and live as long as the ring, as does the
        // eventfd.
        unsafe { self.push(entry) };
    }
}

/// Errors of `io_uring_enter` after which one goes on.
fn transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)
    )
}

impl Driver for Uring {
    fn add_udp(&mut self, socket: UdpSocket) -> io::Result<SocketId> {
        Ok(self.udp.add(socket, REQUESTS))
    }

    fn bind_udp(&mut self, address: SocketAddr) -> io::Result<SocketId> {
        let socket = crate::udp::bind(address, crate::udp::Use::Data)?;
        Ok(self.udp.add(socket, DATAGRAMS))
    }

    fn add_listener(&mut self, listener: TcpListener) -> io::Result<ListenerId> {
        self.tcp.add_listener(listener)
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        self.cancel_accept(listener);
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        self.arm_waker();
        let retry = self.arm_udp(now);
        let retry = earliest(retry, self.arm_tcp(now));
        let pause = self.flush(now);
        self.write_pending();
        let sends = self.udp.under_way();
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let until = earliest(earliest(until, retry), pause);
        // Datagrams are sent while they are submitted, so that their completions are there at
        // once: only what comes beyond them is worth waking for.
        let idle = self.events.is_empty() && !self.udp.has_more();
        let (want, until) = if idle && self.tcp.conns.writes_pending() == 0 {
            self.stay_awake(sends, until)?;
            (sends + 1, until)
        } else {
            (sends.max(1), Some(now))
        };
        self.enter(want, until)?;
        self.collect();
        Ok(())
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
        let ring = match buffer.group {
            DATAGRAMS => &self.datagrams,
            REQUESTS => &self.requests,
            _ => &self.streams,
        };
        ring.bytes(buffer.id, buffer.range.clone())
    }

    fn recycle(&mut self, buffer: Buffer) {
        let ring = match buffer.group {
            DATAGRAMS => &mut self.datagrams,
            REQUESTS => &mut self.requests,
            _ => &mut self.streams,
        };
        ring.recycle(buffer.id);
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
        // A ring without deferred work receives at any time, between these lines too.
        if !self.ring.params().is_setup_single_issuer() {
            return Ok(false);
        }
        self.collect();
        let events = &self.events;
        self.tcp.conns.take_over(conn, events, suite, keys)
    }

    fn close(&mut self, conn: ConnId) {
        self.close_stream(conn);
    }

    fn read_in(&mut self, file: Arc<File>, range: Range<u64>, read: ReadToken) {
        self.start_read(file, &range, read);
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Nothing may be under way when the slots and buffers go: closing the ring alone cancels
        // later, in the background.
        let all = types::CancelBuilder::any().all();
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(Some(types::Timespec::new().sec(1)), all);
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
