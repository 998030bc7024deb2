//! A lab that is switched on: everybody connects, shakes hands and fetches at the same moment.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::lab::{Lab, each_driver};

const MACHINES: usize = 2000;
const BODY: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(120);

struct Machine {
    socket: TcpStream,
    tls: ClientConnection,
    /// Where its part of the image begins.
    start: usize,
    answer: Vec<u8>,
}

impl Machine {
    fn connect(lab: &Lab, config: &Arc<ClientConfig>, number: usize) -> Self {
        let socket = TcpStream::connect(lab.https).unwrap();
        socket.set_nonblocking(true).unwrap();
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        let start = number * 7919;
        let request = format!(
            "GET /images/large.wim HTTP/1.1\r\nHost: h\r\nRange: bytes={start}-{}\r\n\r\n",
            start + BODY - 1
        );
        tls.writer().write_all(request.as_bytes()).unwrap();
        Self {
            socket,
            tls,
            start,
            answer: Vec::new(),
        }
    }

    fn send(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).unwrap();
        }
    }

    fn receive(&mut self) {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => panic!("machine {} was cut off", self.start / 7919),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("machine {}: {error}", self.start / 7919),
            }
            self.tls.process_new_packets().unwrap();
            let end = self.tls.reader().read_to_end(&mut self.answer);
            assert!(matches!(end, Err(e) if e.kind() == ErrorKind::WouldBlock));
        }
        self.send();
    }

    fn body(&self) -> Option<&[u8]> {
        let head = self.answer.windows(4).position(|w| w == b"\r\n\r\n")?;
        assert!(self.answer.starts_with(b"HTTP/1.1 206 "));
        let body = &self.answer[head + 4..];
        assert!(body.len() <= BODY);
        (body.len() == BODY).then_some(body)
    }
}

/// Both ends of every connection are files of this process.
fn allow_files(wanted: usize) {
    let now = getrlimit(Resource::Nofile);
    let wanted = Some(wanted as u64);
    if now.current.is_some() && now.current < wanted {
        let raised = Rlimit {
            current: wanted,
            maximum: now.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("ulimit -Hn must allow 5000 files");
    }
}

#[test]
fn two_thousand_machines_fetch_over_https_at_once_and_all_are_served() {
    allow_files(2 * MACHINES + 1000);
    each_driver(|lab| {
        let certificate = CertificateDer::from_pem_file(lab.certificate.path()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);

        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut machines: Vec<_> = (0..MACHINES)
            .map(|number| Machine::connect(lab, &config, number))
            .collect();
        for (number, machine) in machines.iter_mut().enumerate() {
            let data = EventData::new_u64(number as u64);
            epoll::add(&epoll, &machine.socket, data, EventFlags::IN).unwrap();
            machine.send();
        }
        let image = lab.content("large.wim");
        let end = Instant::now() + PATIENCE;
        let mut served = 0;
        while served < MACHINES {
            let mut ready = Vec::with_capacity(256);
            let soon = rustix::event::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let spare = rustix::buffer::spare_capacity(&mut ready);
            epoll::wait(&epoll, spare, Some(&soon)).unwrap();
            for event in &ready {
                let machine = &mut machines[event.data.u64() as usize];
                machine.receive();
                if let Some(body) = machine.body() {
                    assert!(body == &image[machine.start..machine.start + BODY]);
                    served += 1;
                    epoll::delete(&epoll, &machine.socket).unwrap();
                }
            }
            assert!(Instant::now() < end, "{served} of {MACHINES} were served");
        }
        assert_eq!(lab.metrics.http.active(), MACHINES as i64);
        assert!(lab.failures().is_empty());
    });
}
