//! A whole site that is switched on at once.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod tftp_lab;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bootstorm_telemetry::event::What;
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt;
use tftp_lab::{DRIVERS, Lab, ack, loopback, request};

const MACHINES: usize = 5_000;
const BLOCK: usize = 1024;
const WINDOW: u16 = 4;
/// Ten windows, the last of them short.
const LENGTH: usize = 39 * BLOCK + 100;
/// Requests a millisecond: all of them in one second.
const PACE: usize = 5;
/// No machine that boots waits longer in all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that asks once and never again: a lost first request would leave it without answer.
struct Machine {
    socket: UdpSocket,
    peer: Option<SocketAddr>,
    expected: u16,
    unacknowledged: u16,
    received: usize,
    done: bool,
}

impl Machine {
    fn new() -> Self {
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            peer: None,
            expected: 1,
            unacknowledged: 0,
            received: 0,
            done: false,
        }
    }

    /// Reads what came. `begin` answers the OACK, so that data follows.
    fn read(&mut self, content: &[u8], begin: bool) {
        let mut packet = [0; BLOCK + 100];
        while let Ok((length, from)) = self.socket.recv_from(&mut packet) {
            assert!(self.peer.is_none_or(|peer| peer == from));
            self.peer = Some(from);
            match &packet[..length] {
                [0, 6, ..] if begin && self.expected == 1 => self.acknowledge(),
                [0, 6, ..] => {}
                [0, 3, high, low, data @ ..] => {
                    self.data(u16::from_be_bytes([*high, *low]), data, content);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn data(&mut self, number: u16, data: &[u8], content: &[u8]) {
        if number != self.expected {
            // A window that was sent again because our answer was late.
            return if number == self.expected.wrapping_sub(1) {
                self.acknowledge()
            };
        }
        assert_eq!(data, &content[self.received..self.received + data.len()]);
        self.received += data.len();
        self.expected += 1;
        self.unacknowledged += 1;
        self.done = data.len() < BLOCK;
        if self.done || self.unacknowledged == WINDOW {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        self.unacknowledged = 0;
        let number = self.expected - 1;
        self.socket
            .send_to(&ack(number), self.peer.unwrap())
            .unwrap();
    }
}

/// All machines, and what tells which of them have something to read.
struct Site {
    machines: Vec<Machine>,
    epoll: OwnedFd,
}

impl Site {
    fn new(machines: usize) -> Self {
        let machines: Vec<_> = (0..machines).map(|_| Machine::new()).collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (number, machine) in machines.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, machine.socket.as_fd(), data, epoll::EventFlags::IN).unwrap();
        }
        Self { machines, epoll }
    }

    fn read(&mut self, content: &[u8], begin: bool) {
        let mut ready = Vec::with_capacity(256);
        let soon = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let room = rustix::buffer::spare_capacity(&mut ready);
        epoll::wait(&self.epoll, room, Some(&soon)).unwrap();
        for event in ready {
            self.machines[event.data.u64() as usize].read(content, begin);
        }
    }

    /// Every machine asks once; reads until each has its answer.
    fn ask(&mut self, lab: &Lab) {
        let at_once = outstanding();
        let packet = request(BLOCK, WINDOW);
        let end = Instant::now() + PATIENCE;
        let (mut asked, mut answered) = (0, 0);
        while answered < self.machines.len() {
            let more = (at_once + answered)
                .min(asked + PACE)
                .min(self.machines.len());
            for machine in &self.machines[asked..more.max(asked)] {
                machine.socket.send_to(&packet, lab.server).unwrap();
            }
            asked = more.max(asked);
            self.read(&lab.content, false);
            answered = self.machines.iter().filter(|m| m.peer.is_some()).count();
            assert!(
                Instant::now() < end,
                "{answered} of {asked} requests answered"
            );
        }
    }

    /// Every machine fetches the file; tells how many of them the server saw finish.
    fn fetch(&mut self, lab: &Lab) -> usize {
        for machine in &mut self.machines {
            machine.acknowledge();
        }
        let end = Instant::now() + PATIENCE;
        let mut finished = 0;
        while finished < self.machines.len() {
            self.read(&lab.content, true);
            // Progress is told as well: the queue of events must not fill.
            for event in lab.events.try_iter() {
                match event.what {
                    What::Finished { bytes, .. } => {
                        assert_eq!(bytes, LENGTH as u64);
                        finished += 1;
                    }
                    What::Refused { .. } | What::Broken { .. } => panic!("{event:?}"),
                    _ => {}
                }
            }
            assert!(Instant::now() < end, "{finished} machines have the file");
        }
        assert!(self.machines.iter().all(|m| m.done));
        finished
    }
}

/// First requests that the server's socket holds for certain while the server does something else:
/// where this user may not enlarge it beyond the system's limit, it is small.
fn outstanding() -> usize {
    let socket = UdpSocket::bind(loopback()).unwrap();
    let wanted = bootstorm_engine::RECEIVE_BUFFER;
    if sockopt::set_socket_recv_buffer_size_force(&socket, wanted).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, wanted).unwrap();
    }
    // The kernel counts at most about this much for a small packet on loopback.
    sockopt::socket_recv_buffer_size(&socket).unwrap() / 1280
}

/// Bytes of this process that are not maps of files.
fn anonymous_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn five_thousand_machines_ask_within_a_second_and_all_are_served() {
    for driver in DRIVERS {
        let lab = Lab::start(driver, LENGTH);
        let mut site = Site::new(MACHINES);
        site.ask(&lab);
        // Now every one of them has a transfer that is held open.
        assert_eq!(lab.metrics.tftp.active.get(), MACHINES as i64);
        let memory = anonymous_memory();
        assert!(memory < 200 << 20, "{memory} bytes with {driver:?}");
        assert_eq!(site.fetch(&lab), MACHINES);
        assert_eq!(lab.metrics.tftp.active.get(), 0);
        assert!(lab.engine.drain(PATIENCE));
    }
}
