//! An engine with a catalog, a control plane of three lines, and clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_engine::handoff::{Ask, Decide};
use bootstorm_engine::tls::{TlsOptions, server_config};
use bootstorm_engine::{DriverChoice, Engine, EngineConfig, Seams};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::http::BootResponse;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls_pki_types::PrivateKeyDer;

/// Bytes of `large.wim`: more than socket buffers hold.
pub(crate) const LARGE: usize = 24 << 20;
/// Bytes of `huge.iso`, which is all zeros but for the last five.
pub(crate) const HUGE: u64 = (4 << 30) + (2 << 20);
/// The end of `huge.iso`.
pub(crate) const TAIL: &[u8] = b"end\n\n";

const PATIENCE: Duration = Duration::from_secs(60);

/// What every test runs over.
pub(crate) const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// Runs `test` over io_uring and over epoll.
pub(crate) fn each_driver(test: impl Fn(&Lab)) {
    for driver in DRIVERS {
        test(&Lab::start(driver));
    }
}

/// The engine and what tests need to talk to it.
pub(crate) struct Lab {
    /// Plain HTTP.
    pub(crate) http: SocketAddr,
    /// HTTPS.
    pub(crate) https: SocketAddr,
    /// The certificate, as PEM.
    pub(crate) certificate: tempfile::NamedTempFile,
    pub(crate) metrics: Arc<Metrics>,
    engine: Engine,
    events: Receiver<BootEvent>,
    files: tempfile::TempDir,
    _control: JoinHandle<()>,
}

struct Nobody;

impl Decide for Nobody {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        unreachable!("DHCP is switched off here")
    }
}

impl Lab {
    /// Starts everything on free ports.
    pub(crate) fn start(driver: DriverChoice) -> Self {
        let files = tempfile::tempdir().unwrap();
        let catalog = Arc::new(Catalog::default());
        catalog.publish(images(files.path()));
        let (certificate, tls) = certificate();
        let (asks, asked) = bounded(16);
        let (events, told) = bounded(1024);
        let any_port = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = EngineConfig {
            workers: 2,
            driver,
            dhcp: None::<SocketAddrV4>,
            pxe: None,
            dhcp6: None,
            tftp: None,
            http: any_port,
            https: any_port,
            ..EngineConfig::default()
        };
        let metrics = Arc::new(Metrics::new());
        let seams = Seams {
            catalog,
            decide: Arc::new(Nobody),
            asks,
            questions: None,
            files: None,
            events,
            metrics: Arc::clone(&metrics),
            tls: Some(tls),
        };
        let engine = Engine::start(config, seams).unwrap();
        let at = |name| {
            let bound = engine.bound().iter().find(|b| b.name == name).unwrap();
            bound.address.unwrap()
        };
        let (http, https) = (at("http"), at("https"));
        let control = control_plane(&engine, asked);
        Self {
            http,
            https,
            certificate,
            metrics,
            engine,
            events: told,
            files,
            _control: control,
        }
    }

    /// Ends the engine as the server does.
    pub(crate) fn drain(self) -> bool {
        self.engine.drain(PATIENCE)
    }

    /// A file of the images folder.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.path().join(name)).unwrap()
    }

    /// The next event that `wanted` picks.
    pub(crate) fn event<T>(&self, wanted: impl Fn(&BootEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("no such event");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// The code of the next refusal or broken transfer.
    pub(crate) fn failure(&self) -> &'static str {
        self.event(|event| match &event.what {
            What::Refused { reason, .. } | What::Broken { reason, .. } => Some(reason.code),
            _ => None,
        })
    }

    /// The codes of everything that failed so far.
    pub(crate) fn failures(&self) -> Vec<&'static str> {
        let failed = |event: BootEvent| match event.what {
            What::Refused { reason, .. } | What::Broken { reason, .. } => Some(reason.code),
            _ => None,
        };
        self.events.try_iter().filter_map(failed).collect()
    }

    /// Runs curl with the CA known.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "60", "--cacert"])
            .arg(self.certificate.path());
        run(command.args(arguments), b"")
    }

    /// A socket that waits for answers no longer than a test may take.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Runs a client that must be installed.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl and openssl must be installed (Debian packages curl, openssl)");
    // A client that was refused may be gone before it has read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// One response with `Content-Length`: head and body.
pub(crate) fn response(socket: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    (head, body)
}

fn images(folder: &std::path::Path) -> Snapshot {
    // A prime length, so that no power of two hides a piece in the wrong place.
    let noise: Vec<u8> = (0..65_537_u64).map(|i| (i * i / 7 % 253) as u8).collect();
    let mut large = noise.repeat(LARGE / noise.len() + 1);
    large.truncate(LARGE);
    std::fs::write(folder.join("small.efi"), &noise[..2000]).unwrap();
    std::fs::write(folder.join("large.wim"), large).unwrap();
    let mut huge = std::fs::File::create(folder.join("huge.iso")).unwrap();
    huge.set_len(HUGE - TAIL.len() as u64).unwrap();
    std::io::Seek::seek(&mut huge, std::io::SeekFrom::End(0)).unwrap();
    huge.write_all(TAIL).unwrap();
    let files = ["small.efi", "large.wim", "huge.iso"].map(|name| {
        Arc::new(File {
            path: name.into(),
            content: Mapping::open(&folder.join(name)).unwrap(),
            sha256: [7; 32],
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        })
    });
    Snapshot::new(files, vec![])
}

fn certificate() -> (tempfile::NamedTempFile, Arc<rustls::ServerConfig>) {
    // Making an RSA key takes longer than most tests.
    static LEAF: LazyLock<(rcgen::Certificate, KeyPair)> = LazyLock::new(|| {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names).unwrap();
        (leaf.self_signed(&key).unwrap(), key)
    });
    let (leaf, key) = &*LEAF;
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    pem.write_all(leaf.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let options = TlsOptions::default();
    let config = server_config(vec![leaf.der().clone()], key, options).unwrap();
    (pem, config)
}

// Answers every question with what was asked.
fn control_plane(engine: &Engine, asks: Receiver<Ask>) -> JoinHandle<()> {
    let replies = engine.replies();
    std::thread::spawn(move || {
        for Ask { ticket, request } in asks {
            let secure = if request.secure { "s" } else { "" };
            let said = String::from_utf8_lossy(&request.body).into_owned();
            let response = BootResponse {
                status: 200,
                content_type: "text/plain",
                retry_after: None,
                body: format!("#!ipxe\necho http{secure} {} {said}\n", request.path).into_bytes(),
            };
            // The connection may be gone by then.
            let _ = replies.send(ticket, response);
        }
    })
}
