//! An engine that answers DHCP on ports of the kernel's choice, and the packets of its clients.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bootstorm_catalog::Catalog;
use bootstorm_engine::handoff::{Decide, Question};
use bootstorm_engine::{DriverChoice, Engine, EngineConfig, Seams};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Longer than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What every test runs over.
pub(crate) const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// The broadcast address of the loopback network.
pub(crate) const EVERYBODY: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// The engine and what tests look at.
pub(crate) struct Lab {
    pub(crate) engine: Engine,
    /// The port in the place of 67.
    pub(crate) dhcp: u16,
    /// The port in the place of 4011.
    pub(crate) pxe: u16,
    pub(crate) events: Receiver<BootEvent>,
    pub(crate) metrics: Arc<Metrics>,
    same: Arc<Same>,
}

/// The same answer for everybody, once it is decided.
struct Same {
    decided: AtomicBool,
}

impl Decide for Same {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        if !self.decided.load(Ordering::Relaxed) {
            return Answer::Later;
        }
        Answer::Boot {
            file: "undionly.kpxe".into(),
            server: None,
            delay: 0,
            windows: None,
        }
    }
}

impl Lab {
    pub(crate) fn start(driver: DriverChoice, workers: usize) -> Self {
        let lab = Self::open(driver, workers, None);
        lab.decide();
        lab
    }

    /// Nothing is decided: machines are asked about.
    pub(crate) fn undecided(
        driver: DriverChoice,
        workers: usize,
        questions: Sender<Question>,
    ) -> Self {
        Self::open(driver, workers, Some(questions))
    }

    /// What every machine gets is decided.
    pub(crate) fn decide(&self) {
        self.same.decided.store(true, Ordering::Relaxed);
    }

    fn open(driver: DriverChoice, workers: usize, questions: Option<Sender<Question>>) -> Self {
        let (told, events) = bounded(100_000);
        let metrics = Arc::new(Metrics::new());
        let same = Arc::new(Same {
            decided: AtomicBool::new(false),
        });
        let seams = Seams {
            catalog: Arc::new(Catalog::default()),
            decide: Arc::<Same>::clone(&same),
            asks: bounded(1).0,
            questions,
            files: None,
            events: told,
            metrics: Arc::clone(&metrics),
            tls: None,
        };
        let any = Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let config = EngineConfig {
            workers,
            driver,
            dhcp: any,
            pxe: any,
            dhcp6: None,
            tftp: None,
            http: None,
            https: None,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, seams).unwrap();
        let port = |name| {
            let bound = engine.bound().iter().find(|bound| bound.name == name);
            bound.unwrap().address.unwrap().port()
        };
        Self {
            dhcp: port("dhcp"),
            pxe: port("pxe"),
            engine,
            events,
            metrics,
            same,
        }
    }

    /// The machines that asked, each as often as it was heard: so many, and whatever else comes
    /// within a moment.
    pub(crate) fn asked(&self, count: usize) -> Vec<MacAddress> {
        let end = Instant::now() + PATIENCE;
        let mut asked = Vec::new();
        while asked.len() < count {
            asked.extend(machine_that_asked(self.events.recv_deadline(end).unwrap()));
        }
        std::thread::sleep(Duration::from_millis(50));
        asked.extend(self.events.try_iter().filter_map(machine_that_asked));
        asked
    }

    /// The value of a sample in the exposition, by its name and labels; 0 where it is not yet.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values
            .next()
            .map_or(0, |value| value.trim().parse().unwrap())
    }
}

fn machine_that_asked(event: BootEvent) -> Option<MacAddress> {
    event
        .mac
        .filter(|_| matches!(event.what, What::Asked { .. }))
}

/// A client that may broadcast.
pub(crate) fn client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A MAC for each number.
pub(crate) fn mac(number: u16) -> MacAddress {
    let [high, low] = number.to_be_bytes();
    MacAddress::new([0x52, 0x54, 0, 0, high, low])
}

/// A message of BIOS PXE firmware: 1 is a DISCOVER, 3 a REQUEST.
pub(crate) fn message(kind: u8, mac: MacAddress) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&[1, 2, 3, 4]);
    packet[28..34].copy_from_slice(&mac.bytes());
    packet.extend([99, 130, 83, 99, 53, 1, kind]);
    let class = b"PXEClient:Arch:00000:UNDI:002001";
    packet.extend([60, class.len() as u8]);
    packet.extend(class);
    packet.extend([93, 2, 0, 0, 255]);
    packet
}
