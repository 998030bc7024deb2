//! An engine that serves one file by TFTP, and the packets of its clients.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_engine::handoff::Decide;
use bootstorm_engine::{DriverChoice, Engine, EngineConfig, Seams};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_telemetry::event::BootEvent;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};

/// What every test runs over.
pub(crate) const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// The engine and what tests look at.
pub(crate) struct Lab {
    pub(crate) engine: Engine,
    pub(crate) server: SocketAddr,
    pub(crate) content: Vec<u8>,
    pub(crate) events: Receiver<BootEvent>,
    pub(crate) metrics: Arc<Metrics>,
}

struct Nobody;

impl Decide for Nobody {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        unreachable!("DHCP is switched off here")
    }
}

/// A loopback address of this process: TFTP data ports of other servers are not in its way.
pub(crate) fn loopback() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 128 | high, low, 1), 0))
}

impl Lab {
    /// One worker, also for HTTP, and the file `test.bin` of `length` bytes.
    pub(crate) fn start(driver: DriverChoice, length: usize) -> Self {
        let content: Vec<u8> = (0..length).map(|i| (i / 7 % 251) as u8).collect();
        let mut copy = tempfile::NamedTempFile::new().unwrap();
        copy.write_all(&content).unwrap();
        let file = File {
            path: "test.bin".into(),
            content: Mapping::open(copy.path()).unwrap(),
            sha256: [7; 32],
            modified: SystemTime::UNIX_EPOCH,
        };
        let catalog = Arc::new(Catalog::default());
        catalog.publish(Snapshot::new([Arc::new(file)], Vec::new()));
        let (told, events) = bounded(20_000);
        let metrics = Arc::new(Metrics::new());
        let seams = Seams {
            catalog,
            decide: Arc::new(Nobody),
            asks: bounded(1).0,
            questions: None,
            files: None,
            events: told,
            metrics: Arc::clone(&metrics),
            tls: None,
        };
        let config = EngineConfig {
            workers: 1,
            driver,
            dhcp: None,
            pxe: None,
            dhcp6: None,
            tftp: Some(loopback()),
            http: Some(loopback()),
            https: None,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, seams).unwrap();
        let server = engine.bound()[0].address.unwrap();
        Self {
            engine,
            server,
            content,
            events,
            metrics,
        }
    }
}

/// A read request for `test.bin`.
pub(crate) fn request(block: usize, window: u16) -> Vec<u8> {
    format!("\0\x01test.bin\0octet\0blksize\0{block}\0windowsize\0{window}\0").into_bytes()
}

/// An acknowledgement.
pub(crate) fn ack(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0, 4, high, low]
}
