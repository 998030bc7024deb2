//! The whole data plane over loopback, with both drivers.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_engine::handoff::{Ask, Decide};
use bootstorm_engine::{DataPorts, DriverChoice, Engine, EngineConfig, EngineError, Seams};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::http::BootResponse;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};

/// Longer than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

struct Everything;

impl Decide for Everything {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        Answer::Boot {
            file: "undionly.kpxe".into(),
            server: None,
            delay: 0,
            windows: None,
        }
    }
}

struct Lab {
    engine: Engine,
    content: Vec<u8>,
    events: Receiver<BootEvent>,
    asks: Receiver<Ask>,
    metrics: Arc<Metrics>,
}

impl Lab {
    fn address(&self, name: &str) -> SocketAddr {
        let bound = self.engine.bound().iter().find(|b| b.name == name).unwrap();
        bound.address.unwrap()
    }

    /// Waits for an event that fits.
    fn expect(&self, fits: impl Fn(&What) -> bool) -> BootEvent {
        let end = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_deadline(end).unwrap();
            if fits(&event.what) {
                return event;
            }
        }
    }
}

/// A loopback address of this process: TFTP data ports of other servers are not in its way.
fn loopback() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 128 | high, low, 1), 0))
}

fn quiet(driver: DriverChoice) -> EngineConfig {
    EngineConfig {
        workers: 2,
        driver,
        dhcp: None,
        pxe: None,
        dhcp6: None,
        tftp: None,
        http: None,
        https: None,
        ..EngineConfig::default()
    }
}

fn seams(content: &[u8]) -> (Seams, Receiver<BootEvent>, Receiver<Ask>) {
    let mut copy = tempfile::NamedTempFile::new().unwrap();
    copy.write_all(content).unwrap();
    let file = File {
        path: "boot/test.bin".into(),
        content: Mapping::open(copy.path()).unwrap(),
        sha256: [7; 32],
        modified: SystemTime::UNIX_EPOCH,
    };
    let catalog = Arc::new(Catalog::default());
    catalog.publish(Snapshot::new([Arc::new(file)], Vec::new()));
    let (events, seen) = bounded(10_000);
    let (asks, asked) = bounded(16);
    let seams = Seams {
        catalog,
        decide: Arc::new(Everything),
        asks,
        questions: None,
        files: None,
        events,
        metrics: Arc::new(Metrics::new()),
        tls: None,
    };
    (seams, seen, asked)
}

fn lab(config: EngineConfig, length: usize) -> Lab {
    let content: Vec<u8> = (0..length).map(|i| (i / 7 % 251) as u8).collect();
    let (seams, events, asks) = seams(&content);
    let metrics = Arc::clone(&seams.metrics);
    Lab {
        engine: Engine::start(config, seams).unwrap(),
        content,
        events,
        asks,
        metrics,
    }
}

/// A TFTP client that gives up at some time.
fn client() -> UdpSocket {
    client_at(loopback())
}

fn client_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn request(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = vec![0, 1];
    let texts = [name, "octet"];
    let options = options.iter().flat_map(|(name, value)| [*name, *value]);
    for text in texts.into_iter().chain(options) {
        packet.extend(text.as_bytes());
        packet.push(0);
    }
    packet
}

/// Fetches a file; answers the content and the address that it came from.
fn fetch(server: SocketAddr, name: &str, block: usize, window: u16) -> (Vec<u8>, SocketAddr) {
    let socket = client_at(SocketAddr::new(server.ip(), 0));
    let (size, count) = (block.to_string(), window.to_string());
    let options = [("blksize", &*size), ("windowsize", &*count)];
    socket.send_to(&request(name, &options), server).unwrap();
    let mut packet = vec![0; 65536];
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    assert_eq!(&packet[..2], [0, 6], "{:?}", &packet[..length]);
    socket.send_to(&[0, 4, 0, 0], from).unwrap();
    let mut content = Vec::new();
    let mut expected = 1u16;
    let mut unacknowledged = 0;
    loop {
        let (length, sender) = socket.recv_from(&mut packet).unwrap();
        assert_eq!(sender, from);
        assert_eq!(&packet[..2], [0, 3]);
        if packet[2..4] != expected.to_be_bytes() {
            continue;
        }
        content.extend(&packet[4..length]);
        unacknowledged += 1;
        let last = length < block + 4;
        if last || unacknowledged == window {
            let [high, low] = expected.to_be_bytes();
            socket.send_to(&[0, 4, high, low], from).unwrap();
            unacknowledged = 0;
        }
        if last {
            return (content, from);
        }
        expected = expected.wrapping_add(1);
    }
}

#[test]
fn a_file_travels_by_tftp_in_windows() {
    for driver in DRIVERS {
        let config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(driver)
        };
        let lab = lab(config, 5_000_001);
        let server = lab.address("tftp");
        for (block, window) in [(1468, 16), (1468, 64), (512, 1), (65464, 2)] {
            let (content, from) = fetch(server, "/BOOT\\test.bin", block, window);
            assert!(content == lab.content, "{driver:?} {block} {window}");
            assert!((64001..=65000).contains(&from.port()));
            lab.expect(|what| {
                matches!(
                    what,
                    What::Started {
                        size: 5_000_001,
                        ..
                    }
                )
            });
            lab.expect(|what| {
                matches!(
                    what,
                    What::Finished {
                        bytes: 5_000_001,
                        ..
                    }
                )
            });
        }
        assert_eq!(lab.metrics.tftp.active.get(), 0);
        assert!(lab.engine.drain(PATIENCE));
    }
}

#[test]
fn a_file_travels_over_ipv6() {
    for driver in DRIVERS {
        let config = EngineConfig {
            tftp: Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))),
            ..quiet(driver)
        };
        let lab = lab(config, 1_000_000);
        let (content, from) = fetch(lab.address("tftp"), "test.bin", 1428, 16);
        assert!(content == lab.content);
        assert_eq!(from.ip(), Ipv6Addr::LOCALHOST);
        lab.expect(|what| matches!(what, What::Finished { .. }));
    }
}

#[test]
fn wds_24_data_comes_from_the_ports_that_firewalls_let_through() {
    // Ports of their own: the kernel closes a ring's sockets a while after the ring.
    for (driver, ports) in DRIVERS.into_iter().zip([64980..=64987, 64990..=64997]) {
        let mut config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(driver)
        };
        config.transfers.ports = DataPorts::Range(ports.clone());
        let lab = lab(config, 1000);
        for _ in 0..20 {
            let (content, from) = fetch(lab.address("tftp"), "test.bin", 512, 4);
            assert!(content == lab.content);
            assert!(ports.contains(&from.port()), "{from}");
        }
    }
}

#[test]
fn line_24_single_port_sends_data_from_the_request_port() {
    for driver in DRIVERS {
        let mut config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(driver)
        };
        config.transfers.ports = DataPorts::Single;
        let lab = lab(config, 100_000);
        let server = lab.address("tftp");
        let (content, from) = fetch(server, "test.bin", 1428, 4);
        assert!(content == lab.content);
        assert_eq!(from, server);
    }
}

#[test]
fn refusals_say_why_on_the_wire_and_in_events() {
    for driver in DRIVERS {
        let config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(driver)
        };
        let lab = lab(config, 10);
        let server = lab.address("tftp");
        let socket = client();
        let cases: [(&[u8], u8, &str); 4] = [
            (&request("missing.efi", &[]), 1, "tftp.not-found"),
            (&request("../../etc/passwd", &[]), 2, "tftp.forbidden"),
            (b"\0\x02upload\0octet\0", 2, "tftp.write-refused"),
            (b"\0\x01test.bin\0netascii\0", 4, "tftp.netascii"),
        ];
        for (packet, code, reason) in cases {
            socket.send_to(packet, server).unwrap();
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).unwrap();
            assert_eq!(&answer[..4], [0, 5, 0, code], "{reason}");
            assert_eq!(answer[length - 1], 0);
            lab.expect(|what| matches!(what, What::Refused { reason: r, .. } if r.code == reason));
        }
        // A stranger at a data port gets an error and does not disturb the transfer.
        socket.send_to(&request("test.bin", &[]), server).unwrap();
        let mut data = [0; 1024];
        let (length, from) = socket.recv_from(&mut data).unwrap();
        assert_eq!(&data[..length], [&[0, 3, 0, 1], &lab.content[..]].concat());
        let stranger = client();
        stranger.send_to(&[0, 4, 0, 1], from).unwrap();
        let mut answer = [0; 512];
        stranger.recv(&mut answer).unwrap();
        assert_eq!(&answer[..4], [0, 5, 0, 5]);
        socket.send_to(&[0, 4, 0, 1], from).unwrap();
        lab.expect(|what| matches!(what, What::Finished { bytes: 10, .. }));
    }
}

#[test]
fn one_address_has_no_more_transfers_than_it_may() {
    for driver in DRIVERS {
        let mut config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(driver)
        };
        config.transfers.max_transfers_per_client = 3;
        let lab = lab(config, 10);
        let server = lab.address("tftp");
        let clients: Vec<_> = (0..4).map(|_| client()).collect();
        let mut packet = [0; 512];
        let mut ask = |client: &UdpSocket| {
            client.send_to(&request("test.bin", &[]), server).unwrap();
            let (length, from) = client.recv_from(&mut packet).unwrap();
            (packet[..length].to_vec(), from)
        };
        let (_, from) = ask(&clients[0]);
        ask(&clients[1]);
        ask(&clients[2]);
        let (refused, _) = ask(&clients[3]);
        assert_eq!(refused[..4], [0, 5, 0, 0]);
        lab.expect(|what| {
            matches!(what, What::Refused { reason, .. } if reason.code == "tftp.too-many-transfers")
        });
        // Asking again for a transfer of its own is no new one.
        let (again, _) = ask(&clients[1]);
        assert_eq!(again[..4], [0, 3, 0, 1]);
        // Another address has its own share, and a transfer that ends gives its place back.
        let other = client_at(SocketAddr::from(([127, 0, 0, 2], 0)));
        assert_eq!(ask(&other).0[..4], [0, 3, 0, 1]);
        clients[0].send_to(&[0, 4, 0, 1], from).unwrap();
        lab.expect(|what| matches!(what, What::Finished { .. }));
        assert_eq!(ask(&clients[3]).0[..4], [0, 3, 0, 1]);
    }
}

/// A DISCOVER of a BIOS PXE client, with the broadcast flag clear and a client address, so that
/// the answer can be received without privileges on loopback.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&[1, 2, 3, 4]);
    packet[28..34].copy_from_slice(&mac);
    packet.extend([99, 130, 83, 99, 53, 1, 1]);
    let class = b"PXEClient:Arch:00000:UNDI:002001";
    packet.extend([60, class.len() as u8]);
    packet.extend(class);
    packet.extend([93, 2, 0, 0, 255]);
    packet
}

#[test]
fn a_pxe_client_is_answered_from_the_port_it_asked() {
    for driver in DRIVERS {
        let config = EngineConfig {
            pxe: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
            ..quiet(driver)
        };
        let lab = lab(config, 10);
        let server = lab.address("pxe");
        let socket = client();
        let mut answer = [0; 1500];
        let mut request = discover([2, 0, 0, 0, 0, 1]);
        // What is asked on 4011 is a REQUEST.
        request[242] = 3;
        socket.send_to(&request, server).unwrap();
        let (length, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!(from, server);
        assert_eq!((answer[0], &answer[4..8]), (2, &[1, 2, 3, 4][..]));
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(text.contains("undionly.kpxe"), "{text}");
        lab.expect(|what| matches!(what, What::Asked { .. }));
        lab.expect(|what| matches!(what, What::Answered { .. }));
        // A flood from one machine is answered a few times.
        for _ in 0..200 {
            socket.send_to(&request, server).unwrap();
        }
        let quiet = Some(Duration::from_millis(200));
        socket.set_read_timeout(quiet).unwrap();
        let answered = std::iter::from_fn(|| socket.recv(&mut answer).ok()).count();
        assert!(answered < 40, "{answered}");
    }
}

#[test]
fn http_serves_images_and_hands_other_paths_over() {
    for driver in DRIVERS {
        let config = EngineConfig {
            http: Some(loopback()),
            ..quiet(driver)
        };
        let lab = lab(config, 3_000_000);
        let server = lab.address("http");
        let replies = lab.engine.replies();
        let asks = lab.asks.clone();
        let control = std::thread::spawn(move || {
            let ask = asks.recv_timeout(PATIENCE).unwrap();
            assert_eq!(ask.request.path, "/boot");
            let response = BootResponse {
                status: 200,
                content_type: "text/plain",
                retry_after: None,
                body: b"#!ipxe\n".to_vec(),
            };
            replies.send(ask.ticket, response).unwrap();
        });
        let get = |path: &str| {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).unwrap();
            response
        };
        let image = get("/images/boot/test.bin");
        assert!(image.starts_with(b"HTTP/1.1 200"));
        assert!(image.ends_with(&lab.content));
        let script = get("/boot");
        assert!(script.ends_with(b"\r\n\r\n#!ipxe\n"), "{script:?}");
        control.join().unwrap();
    }
}

#[test]
fn ports_are_open_before_the_workers_run() {
    for driver in DRIVERS {
        let (seams, ..) = seams(b"content");
        let wanted = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
        let config = EngineConfig {
            tftp: Some(wanted),
            ..quiet(driver)
        };
        let opened = Engine::open(config, seams).unwrap();
        let early = client();
        early.send_to(&request("test.bin", &[]), wanted).unwrap();
        early
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut packet = [0; 64];
        assert!(early.recv(&mut packet).is_err(), "nobody works yet");
        early.set_read_timeout(Some(PATIENCE)).unwrap();
        let engine = opened.start().unwrap();
        let length = early.recv(&mut packet).unwrap();
        assert_eq!(&packet[..length], b"\0\x03\0\x01content");
        assert_eq!(engine.workers(), 2);
    }
}

#[test]
fn a_taken_port_is_refused_with_its_holder() {
    for driver in DRIVERS {
        let holder = UdpSocket::bind(loopback()).unwrap();
        let config = EngineConfig {
            tftp: Some(holder.local_addr().unwrap()),
            ..quiet(driver)
        };
        let (seams, ..) = seams(b"");
        let error = Engine::start(config, seams).unwrap_err();
        assert_eq!(error.code(), "ports.taken");
        let EngineError::PortTaken { holder, name, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*name, "tftp");
        assert_eq!(holder.process.as_ref().unwrap().0, std::process::id());
        assert!(error.to_string().contains("--listen tftp=off"), "{error}");
    }
}

#[test]
fn beside_a_dhcp_server_port_4011_answers_alone() {
    let dhcp_server = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = dhcp_server.local_addr().unwrap().port();
    let config = EngineConfig {
        dhcp: Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
        pxe: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
        ..quiet(DriverChoice::Auto)
    };
    let (seams, ..) = seams(b"");
    let engine = Engine::start(config.clone(), seams.clone()).unwrap();
    let [dhcp, pxe] = engine.bound() else {
        panic!("{:?}", engine.bound())
    };
    assert_eq!((dhcp.name, dhcp.address), ("dhcp", None));
    let note = dhcp.note.as_deref().unwrap();
    assert!(note.contains("option 60") && note.contains("ports.dhcp-shared"));
    assert!(pxe.address.is_some());
    // Without 4011 nobody would be answered at all.
    let alone = EngineConfig {
        pxe: None,
        ..config
    };
    let error = Engine::start(alone, seams).unwrap_err();
    assert_eq!(error.code(), "ports.taken");
}

#[test]
fn settings_that_do_not_fit_are_refused_with_their_numbers() {
    let wrong: [fn(&mut EngineConfig); 5] = [
        |config| config.transfers.max_window = 0,
        |config| config.transfers.max_block = 7,
        |config| config.transfers.rollover = 2,
        |config| config.transfers.ports = DataPorts::Range(64001..=64001),
        |config| config.https = Some(loopback()),
    ];
    for spoil in wrong {
        let mut config = EngineConfig {
            tftp: Some(loopback()),
            ..quiet(DriverChoice::Auto)
        };
        spoil(&mut config);
        let (seams, ..) = seams(b"");
        assert_eq!(
            Engine::start(config, seams).unwrap_err().code(),
            "engine.config"
        );
    }
}

#[test]
fn draining_lets_a_transfer_end_and_takes_no_new_one() {
    for driver in DRIVERS {
        let config = EngineConfig {
            tftp: Some(loopback()),
            workers: 1,
            ..quiet(driver)
        };
        let lab = lab(config, 1000);
        let server = lab.address("tftp");
        let socket = client();
        socket.send_to(&request("test.bin", &[]), server).unwrap();
        let mut packet = [0; 1024];
        let (_, from) = socket.recv_from(&mut packet).unwrap();
        let engine = lab.engine;
        let drained = std::thread::spawn(move || engine.drain(PATIENCE));
        // Asks until nobody answers any more.
        let late = client();
        late.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let end = Instant::now() + PATIENCE;
        let refused = std::iter::repeat_with(|| {
            late.send_to(&request("nothing.bin", &[]), server).unwrap();
            late.recv(&mut packet).is_err()
        })
        .take_while(|_| Instant::now() < end)
        .any(|refused| refused);
        assert!(refused);
        assert!(!drained.is_finished());
        socket.send_to(&[0, 4, 0, 1], from).unwrap();
        let length = socket.recv(&mut packet).unwrap();
        assert_eq!(length, 4 + 488);
        socket.send_to(&[0, 4, 0, 2], from).unwrap();
        assert!(drained.join().unwrap());
    }
}
