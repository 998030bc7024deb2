//! Images that have to be read from the disk, and copies that are harmed while they are sent: real
//! sockets, both drivers.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs::File as OnDisk;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bootstorm_catalog::mapping::CHUNK;
use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_engine::handoff::Decide;
use bootstorm_engine::{DriverChoice, Engine, EngineConfig, Seams};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};
use rustix::fs::{Advice, fadvise};
use socket2::{Domain, Socket, Type};

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];
const LENGTH: usize = 6 * CHUNK as usize + 1000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Nobody;

impl Decide for Nobody {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        unreachable!("DHCP is switched off here")
    }
}

/// One worker with one image, whose copy is at `copy`.
struct Lab {
    engine: Engine,
    copy: PathBuf,
    content: Vec<u8>,
    metrics: Arc<Metrics>,
    events: Receiver<BootEvent>,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn start(driver: DriverChoice) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let content: Vec<u8> = (0..LENGTH).map(|i| (i / 7 % 251) as u8).collect();
        std::fs::write(&copy, &content).unwrap();
        let file = File {
            path: "boot/image.bin".into(),
            content: Mapping::open(&copy).unwrap(),
            sha256: [7; 32],
            modified: SystemTime::UNIX_EPOCH,
        };
        let catalog = Arc::new(Catalog::default());
        catalog.publish(Snapshot::new([Arc::new(file)], Vec::new()));
        let metrics = Arc::new(Metrics::new());
        let (events, told) = bounded(10_000);
        let (asks, _) = bounded(1);
        let seams = Seams {
            catalog,
            decide: Arc::new(Nobody),
            asks,
            questions: None,
            files: None,
            events,
            metrics: Arc::clone(&metrics),
            tls: None,
        };
        let loopback = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = EngineConfig {
            workers: 1,
            driver,
            dhcp: None,
            pxe: None,
            dhcp6: None,
            tftp: loopback,
            http: loopback,
            https: None,
            ..EngineConfig::default()
        };
        Self {
            engine: Engine::start(config, seams).unwrap(),
            copy,
            content,
            metrics,
            events: told,
            _folder: folder,
        }
    }

    fn address(&self, name: &str) -> SocketAddr {
        let bound = self.engine.bound().iter().find(|b| b.name == name).unwrap();
        bound.address.unwrap()
    }

    /// Takes the image out of memory; `false` where the file system keeps everything there.
    fn evict(&self) -> bool {
        let copy = OnDisk::open(&self.copy).unwrap();
        copy.sync_all().unwrap();
        fadvise(&copy, 0, None, Advice::DontNeed).unwrap();
        let fresh = Mapping::open(&self.copy).unwrap();
        fresh.first_cold(0..1, Instant::now()).is_some()
    }

    fn reason(&self) -> &'static str {
        let end = Instant::now() + PATIENCE;
        loop {
            if let What::Broken { reason, .. } = self.events.recv_deadline(end).unwrap().what {
                return reason.code;
            }
        }
    }
}

/// A TFTP client that takes a window at a time.
struct Machine {
    socket: UdpSocket,
    peer: SocketAddr,
    got: Vec<u8>,
}

const BLOCK: usize = 1408;
const WINDOW: usize = 16;

impl Machine {
    fn ask(lab: &Lab) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = b"\0\x01boot/image.bin\0octet\0blksize\x001408\0windowsize\x0016\0";
        socket.send_to(request, lab.address("tftp")).unwrap();
        let mut packet = [0; 2048];
        let (length, peer) = socket.recv_from(&mut packet).unwrap();
        assert!(packet[..length].starts_with(&[0, 6]), "no OACK");
        Self {
            socket,
            peer,
            got: Vec::new(),
        }
    }

    /// Acknowledges what is there and takes the next window; `None` at the end, else the text of
    /// an ERROR. Blocks come in order over loopback; what is repeated is dropped.
    fn window(&mut self) -> Option<Result<(), String>> {
        let have = (self.got.len() / BLOCK) as u16;
        let [high, low] = have.to_be_bytes();
        self.socket.send_to(&[0, 4, high, low], self.peer).unwrap();
        for next in have.wrapping_add(1)..=have.wrapping_add(WINDOW as u16) {
            let mut packet = [0; 2048];
            let length = loop {
                let length = self.socket.recv(&mut packet).unwrap();
                let number = u16::from_be_bytes([packet[2], packet[3]]);
                if packet.starts_with(&[0, 5]) {
                    return Some(Err(String::from_utf8_lossy(&packet[4..length]).into()));
                }
                if number == next {
                    break length;
                }
            };
            self.got.extend(&packet[4..length]);
            if length < BLOCK + 4 {
                let [high, low] = next.to_be_bytes();
                self.socket.send_to(&[0, 4, high, low], self.peer).unwrap();
                return None;
            }
        }
        Some(Ok(()))
    }

    fn rest(&mut self) -> Result<(), String> {
        while let Some(window) = self.window() {
            window?;
        }
        Ok(())
    }
}

fn get(lab: &Lab) -> TcpStream {
    // A small buffer, so that the body cannot be on this side before anybody reads it.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(&lab.address("http").into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /images/boot/image.bin HTTP/1.0\r\n\r\n";
    stream.write_all(request).unwrap();
    stream
}

fn body(response: &[u8]) -> &[u8] {
    let head = response.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    &response[head + 4..]
}

#[test]
fn a_cold_image_arrives_whole_over_tftp_and_http() {
    for driver in DRIVERS {
        let lab = Lab::start(driver);
        let mut cold = lab.evict();
        let mut machine = Machine::ask(&lab);
        machine.rest().unwrap();
        assert!(machine.got == lab.content, "{driver:?}");
        cold &= lab.evict();
        // What was in memory a moment ago is trusted to be there still.
        std::thread::sleep(Duration::from_millis(1100));
        let mut response = Vec::new();
        get(&lab).read_to_end(&mut response).unwrap();
        assert!(body(&response) == lab.content, "{driver:?}");
        let read = lab.metrics.memory.read_in_bytes.get();
        if cold {
            assert!(read >= CHUNK, "{driver:?}: {read}");
        } else {
            eprintln!("nothing can be taken out of memory here: only warm images were sent");
        }
        assert_eq!(lab.metrics.memory.read_in_errors.get(), 0);
    }
}

fn truncate(copy: &Path, length: u64) {
    let copy = OnDisk::options().write(true).open(copy).unwrap();
    copy.set_len(length).unwrap();
}

#[test]
fn a_copy_that_is_cut_ends_its_transfers_and_not_the_server() {
    for driver in DRIVERS {
        let lab = Lab::start(driver);
        let mut machine = Machine::ask(&lab);
        machine.window().unwrap().unwrap();
        let mut stream = get(&lab);
        let mut some = [0; 4096];
        stream.read_exact(&mut some).unwrap();
        truncate(&lab.copy, CHUNK / 2);
        let told = machine.rest().unwrap_err();
        assert!(told.contains("changed"), "{told}");
        // What was in the socket's buffers already may still arrive, but never the whole.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(some.len() + rest.len() < LENGTH);
        let mut reasons = [lab.reason(), lab.reason()];
        reasons.sort_unstable();
        assert_eq!(
            reasons,
            ["http.file-changed", "tftp.file-changed"],
            "{driver:?}"
        );
        // It is offered no more, and the server goes on.
        let mut response = Vec::new();
        get(&lab).read_to_end(&mut response).unwrap();
        assert!(response.starts_with(b"HTTP/1.1 503"));
        assert!(lab.engine.is_running());
    }
}
