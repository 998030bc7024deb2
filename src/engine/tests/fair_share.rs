//! Rates that clients see on real sockets, and how even they are.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod tftp_lab;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bootstorm_engine::DriverChoice;
use bootstorm_engine::pacing::PacingConfig;
use bootstorm_telemetry::event::What;
use rustix::event::{Timespec, epoll};
use tftp_lab::{DRIVERS, Lab, ack, request};

const CLIENTS: usize = 500;
const LENGTH: usize = 256 * 1024;
const BLOCK: usize = 1428;
const WINDOW: u16 = 16;
const PATIENCE: Duration = Duration::from_secs(120);
/// What all clients share where there is a total: less than any machine that runs tests can send.
const TOTAL: u64 = 32 << 20;

/// Something that fetches the file and has its own address.
trait Client: AsFd {
    fn begin(&mut self);
    /// Takes what came.
    fn read(&mut self, content: &[u8]);
    fn is_done(&self) -> bool;
}

struct Tftp {
    socket: UdpSocket,
    peer: SocketAddr,
    expected: u16,
    received: usize,
    done: bool,
}

struct Http {
    stream: TcpStream,
    head: Vec<u8>,
    received: usize,
    length: usize,
}

/// The loopback address of client `number`; two clients share each, like two bodies of one machine.
fn address(server: SocketAddr, number: usize) -> SocketAddr {
    let IpAddr::V4(server) = server.ip() else {
        unreachable!()
    };
    let [a, b, c, _] = server.octets();
    SocketAddr::from((Ipv4Addr::new(a, b, c, 2 + (number / 2 % 250) as u8), 0))
}

impl Tftp {
    fn new(lab: &Lab, number: usize) -> Self {
        let socket = UdpSocket::bind(address(lab.server, number)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            peer: lab.server,
            expected: 1,
            received: 0,
            done: false,
        }
    }
}

impl AsFd for Tftp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client for Tftp {
    fn begin(&mut self) {
        let packet = request(BLOCK, WINDOW);
        self.socket.send_to(&packet, self.peer).unwrap();
    }

    fn read(&mut self, content: &[u8]) {
        let mut packet = [0; BLOCK + 100];
        // One window, then the others have their turn.
        for _ in 0..WINDOW {
            let Ok((length, from)) = self.socket.recv_from(&mut packet) else {
                return;
            };
            self.peer = from;
            let number = match &packet[..length] {
                [0, 6, ..] => 0,
                [0, 3, high, low, data @ ..] => {
                    let number = u16::from_be_bytes([*high, *low]);
                    if number == self.expected {
                        assert_eq!(data, &content[self.received..][..data.len()]);
                        self.received += data.len();
                        self.expected += 1;
                        self.done = data.len() < BLOCK;
                    }
                    number
                }
                other => panic!("{other:?}"),
            };
            if number % WINDOW == 0 || self.done || number >= self.expected {
                let _ = self.socket.send_to(&ack(self.expected - 1), from);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl Http {
    fn new(lab: &Lab, number: usize) -> Self {
        let domain = socket2::Domain::IPV4;
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address(lab.server, number).into()).unwrap();
        // As on an Ethernet: loopback would send a quarter of the file in one packet.
        socket.set_tcp_mss(1448).unwrap();
        let mut bound = lab.engine.bound().iter();
        let http = bound.find(|b| b.name == "http").unwrap();
        socket.connect(&http.address.unwrap().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            stream: socket.into(),
            head: Vec::new(),
            received: 0,
            length: lab.content.len(),
        }
    }

    fn take(&mut self, mut bytes: &[u8], content: &[u8]) {
        while !self.head.ends_with(b"\r\n\r\n") {
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            self.head.push(*first);
            bytes = rest;
        }
        assert!(bytes == &content[self.received..][..bytes.len()]);
        self.received += bytes.len();
    }
}

impl AsFd for Http {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Client for Http {
    fn begin(&mut self) {
        let request = b"GET /images/test.bin HTTP/1.1\r\nHost: h\r\n\r\n";
        self.stream.write_all(request).unwrap();
    }

    fn read(&mut self, content: &[u8]) {
        let mut bytes = [0; 64 * 1024];
        // One look, then the others have their turn.
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the connection ended early"),
            Ok(length) => self.take(&bytes[..length], content),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn is_done(&self) -> bool {
        self.received == self.length
    }
}

/// All clients begin at once; gives how long each of them took.
fn fetch<C: Client>(lab: &Lab, mut clients: Vec<C>) -> Vec<Duration> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (number, client) in clients.iter().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, client.as_fd(), data, epoll::EventFlags::IN).unwrap();
    }
    let start = Instant::now();
    for client in &mut clients {
        client.begin();
    }
    let mut took = vec![None; clients.len()];
    while took.iter().any(Option::is_none) {
        assert!(start.elapsed() < PATIENCE, "not everybody has the file");
        let mut ready = Vec::with_capacity(256);
        let soon = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        let room = rustix::buffer::spare_capacity(&mut ready);
        epoll::wait(&epoll, room, Some(&soon)).unwrap();
        for event in ready {
            let number = event.data.u64() as usize;
            if took[number].is_none() {
                clients[number].read(&lab.content);
                took[number] = clients[number].is_done().then(|| start.elapsed());
            }
        }
    }
    let broken = |what: &What| matches!(what, What::Broken { .. } | What::Refused { .. });
    assert!(!lab.events.try_iter().any(|event| broken(&event.what)));
    took.into_iter().flatten().collect()
}

/// Jain's index over the clients' rates: 1 when all are equal.
fn evenness(took: &[Duration]) -> f64 {
    let rates: Vec<f64> = took.iter().map(|t| 1.0 / t.as_secs_f64()).collect();
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares)
}

fn with_total(total: Option<u64>) -> PacingConfig {
    PacingConfig {
        total: total.and_then(NonZeroU64::new),
        ..PacingConfig::default()
    }
}

/// Five hundred clients at once, with a total and without, where the file is so long.
fn all_get_the_same<C: Client>(alone: usize, client: impl Fn(&Lab, usize) -> C) {
    for driver in DRIVERS {
        let took = fairly(driver, LENGTH, Some(TOTAL), &client);
        let longest = took.iter().max().unwrap().as_secs_f64();
        let together = (CLIENTS * LENGTH) as f64 / longest;
        assert!(together < 1.05 * TOTAL as f64, "{driver:?}: {together}");
        fairly(driver, alone, None, &client);
    }
}

/// Where the kernel of a busy machine drops packets, some clients wait for a time-out that the
/// server has no part in: then it is tried again.
fn fairly<C: Client>(
    driver: DriverChoice,
    length: usize,
    total: Option<u64>,
    client: impl Fn(&Lab, usize) -> C,
) -> Vec<Duration> {
    for tries_left in (0..4).rev() {
        let lab = Lab::start(driver, length);
        lab.engine.pacing().set(with_total(total));
        let clients = (0..CLIENTS).map(|number| client(&lab, number)).collect();
        let took = fetch(&lab, clients);
        let Lab {
            engine, metrics, ..
        } = lab;
        assert!(engine.drain(Duration::from_secs(10)));
        assert_eq!(metrics.tftp.active.get() + metrics.http.active(), 0);
        let (jain, resent) = (evenness(&took), metrics.tftp.resent_bytes.get());
        if jain >= 0.95 {
            return took;
        }
        assert!(
            resent > 0 && tries_left > 0,
            "{driver:?} {total:?}: {jain}, {resent} bytes were sent again"
        );
    }
    unreachable!("the last try returns or fails")
}

#[test]
fn five_hundred_tftp_clients_get_the_same() {
    all_get_the_same(2 * LENGTH, Tftp::new);
}

#[test]
fn five_hundred_http_clients_get_the_same() {
    // Bodies up to 1 MiB leave in one piece each, in the order of the requests.
    all_get_the_same(6 << 20, Http::new);
}

/// One client for four seconds. That it is not faster holds on any machine.
fn one_gets_its_rate<C: Client>(client: impl Fn(&Lab, usize) -> C) {
    for driver in DRIVERS {
        let lab = Lab::start(driver, LENGTH);
        lab.engine.pacing().set(PacingConfig {
            per_machine: NonZeroU64::new(LENGTH as u64 / 4),
            ..PacingConfig::default()
        });
        let took = fetch(&lab, vec![client(&lab, 0)])[0].as_secs_f64();
        assert!((3.4..4.6).contains(&took), "{driver:?}: {took} s");
    }
}

#[test]
fn a_tftp_client_gets_its_rate() {
    one_gets_its_rate(Tftp::new);
}

#[test]
fn an_http_client_gets_its_rate() {
    one_gets_its_rate(Http::new);
}
