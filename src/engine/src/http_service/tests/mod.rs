//! The state machine against a driver that only notes down what it is told.

mod cold;
mod kernel;
mod paced;
mod plain;
mod sealed;
mod storm;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};

use super::*;
use crate::driver::{
    Buffer, Busy, Event, ListenerId, Packet, Piece, ReadToken, SocketId, Transmit, Waker,
};
use crate::handoff::{Ask, Decide};
use crate::tls::{Keys, Suite};

/// What the service told the driver about a connection.
#[derive(Default)]
struct Noted {
    out: Vec<u8>,
    pieces: Vec<usize>,
    under_way: Option<Piece>,
    closed: bool,
    kernel: Kernel,
    suite: Option<Suite>,
    keys: Option<Keys>,
}

/// What the kernel does when it is asked to seal.
#[derive(Default)]
enum Kernel {
    #[default]
    Refuses,
    Takes,
    Fails,
}

#[derive(Default)]
struct Notes(HashMap<u32, Noted>, Disk);

/// What is not in memory, and what is being read.
#[derive(Default)]
struct Disk {
    cold: Vec<Range<u64>>,
    reading: Vec<(Range<u64>, ReadToken)>,
}

impl Driver for Notes {
    fn add_udp(&mut self, _: UdpSocket) -> io::Result<SocketId> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn bind_udp(&mut self, _: SocketAddr) -> io::Result<SocketId> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn add_listener(&mut self, _: TcpListener) -> io::Result<ListenerId> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn stop_listening(&mut self, _: ListenerId) {}
    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
    fn next_event(&mut self) -> Option<Event> {
        None
    }
    fn bytes(&self, _: &Buffer) -> &[u8] {
        &[]
    }
    fn recycle(&mut self, _: Buffer) {}
    fn packet(&mut self) -> Box<Packet> {
        Box::default()
    }
    fn send(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        Err((Busy, transmit))
    }
    fn write(&mut self, conn: ConnId, piece: Piece) {
        let noted = self.0.entry(conn.slot).or_default();
        assert!(!noted.closed, "written after close");
        assert!(noted.under_way.is_none(), "one piece at a time");
        assert!(!piece.bytes().is_empty(), "an empty piece");
        noted.under_way = Some(piece);
    }
    fn pace(&mut self, _: ConnId, _: Option<u64>) {}

    fn take_over(
        &mut self,
        conn: ConnId,
        suite: Suite,
        keys: impl FnOnce() -> Result<Keys, Reason>,
    ) -> Result<bool, Reason> {
        let noted = self.0.entry(conn.slot).or_default();
        assert!(noted.under_way.is_none(), "taken over while sending");
        match noted.kernel {
            Kernel::Refuses => Ok(false),
            Kernel::Takes => keys().map(|keys| {
                noted.suite = Some(suite);
                noted.keys = Some(keys);
                true
            }),
            Kernel::Fails => {
                keys()?;
                Err(crate::tls::kernel_failed(&"of memory"))
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.0.entry(conn.slot).or_default().closed = true;
    }
    fn read_in(&mut self, _: Arc<File>, range: Range<u64>, read: ReadToken) {
        self.1.reading.push((range, read));
    }
    fn first_cold(&self, _: &File, range: Range<u64>, _: Instant) -> Option<Range<u64>> {
        let overlaps = |cold: &&Range<u64>| cold.start < range.end && range.start < cold.end;
        self.1.cold.iter().find(overlaps).cloned()
    }
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn waker(&self) -> Waker {
        Waker::new().unwrap()
    }
}

struct Nobody;

impl Decide for Nobody {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        unreachable!("the boot endpoint asks nothing of DHCP")
    }
}

/// A service with a catalog, its queues, and a clock that tests move.
struct Bench {
    service: HttpService,
    driver: Notes,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    asks: Receiver<Ask>,
    events: Receiver<BootEvent>,
    now: Instant,
}

const SMALL: &str = "boot/small.efi";
const LARGE: &str = "big.wim";
const LARGE_LENGTH: usize = 3 * 1024 * 1024 + 5;
const PEER: &str = "[::ffff:192.0.2.7]:50000";

impl Bench {
    fn new() -> Self {
        Self::with_tls(crate::tls::tests::config(true))
    }

    fn with_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        let catalog = Arc::new(Catalog::default());
        let files = [(SMALL, 1000), (LARGE, LARGE_LENGTH), ("empty", 0)];
        let files = files.map(|(path, length)| file(path, length));
        catalog.publish(Snapshot::new(files, vec![]));
        let (asks, asked) = bounded(2);
        let (events, told) = bounded(64);
        let metrics = Arc::new(Metrics::new());
        let seams = Seams {
            catalog: Arc::clone(&catalog),
            decide: Arc::new(Nobody),
            asks,
            questions: None,
            files: None,
            events,
            metrics: Arc::clone(&metrics),
            tls: Some(tls),
        };
        Self {
            service: HttpService::new(3, seams),
            driver: Notes::default(),
            catalog,
            metrics,
            asks: asked,
            events: told,
            now: Instant::now(),
        }
    }

    fn accept(&mut self, slot: u32, kind: ListenerKind) -> ConnId {
        let conn = ConnId {
            slot,
            generation: 9,
        };
        let ends = Ends {
            peer: PEER.parse().unwrap(),
            local: "[::ffff:192.0.2.1]:8080".parse().unwrap(),
        };
        let now = self.now;
        self.service
            .accepted(&mut self.driver, conn, kind, ends, now);
        conn
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.service
            .received(&mut self.driver, conn, bytes, self.now);
        self.turns(1);
    }

    // So many turns of the worker pass, in no time.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.timeout(&mut self.driver, self.now);
        }
    }

    fn answer(&mut self, ticket: Ticket, body: Vec<u8>) {
        let response = BootResponse {
            status: 200,
            content_type: "text/plain",
            retry_after: None,
            body,
        };
        self.service
            .answer(&mut self.driver, ticket, response, self.now);
    }

    // The kernel takes the piece under way; tells whether there was one.
    fn take(&mut self, conn: ConnId) -> bool {
        let noted = self.driver.0.entry(conn.slot).or_default();
        let Some(piece) = noted.under_way.take() else {
            return false;
        };
        noted.out.extend_from_slice(piece.bytes());
        let length = piece.bytes().len();
        noted.pieces.push(length);
        let spent = match piece {
            Piece::Owned(bytes) => Some(bytes),
            Piece::Mapped(..) => None,
        };
        self.service
            .written(&mut self.driver, conn, length, spent, self.now);
        true
    }

    /// The disk gives the range that it was asked for first.
    fn read(&mut self, result: &io::Result<()>) {
        let (range, read) = self.driver.1.reading.remove(0);
        self.driver.1.cold.retain(|cold| *cold != range);
        let now = self.now;
        self.service
            .was_read_in(&mut self.driver, read.number, result, now);
    }

    fn take_all(&mut self, conn: ConnId) -> Vec<u8> {
        while self.take(conn) {}
        std::mem::take(&mut self.driver.0.entry(conn.slot).or_default().out)
    }

    fn closed(&self, conn: ConnId) -> bool {
        self.driver.0.get(&conn.slot).is_some_and(|n| n.closed)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.service.timeout(&mut self.driver, self.now);
    }

    fn told(&self) -> Vec<What> {
        self.events.try_iter().map(|event| event.what).collect()
    }

    fn refusals(&self) -> Vec<&'static str> {
        self.told()
            .into_iter()
            .filter_map(|what| match what {
                What::Refused { reason, .. } | What::Broken { reason, .. } => Some(reason.code),
                _ => None,
            })
            .collect()
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|l| l == line)
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn file(path: &str, length: usize) -> Arc<File> {
    let mut copy = tempfile::NamedTempFile::new().unwrap();
    copy.write_all(&content(length)).unwrap();
    Arc::new(File {
        path: path.into(),
        content: Mapping::open(copy.path()).unwrap(),
        sha256: [0xab; 32],
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    })
}

/// Status line and fields, and the body.
fn split(response: &[u8]) -> (String, Vec<u8>) {
    let end = response.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(response[..end + 2].to_vec()).unwrap();
    (head, response[end + 4..].to_vec())
}

fn status(response: &[u8]) -> u16 {
    std::str::from_utf8(&response[9..12])
        .unwrap()
        .parse()
        .unwrap()
}
