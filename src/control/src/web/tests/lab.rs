//! A web service on loopback and a client that shows the bytes.

use std::net::Ipv4Addr;

use bootstorm_catalog::{Entry, EntryKind, Snapshot};
use bootstorm_config::Config;
use bootstorm_policy::{Policy, Ports, Rules};
use bootstorm_store::{Location, Spool, Store};
use bootstorm_telemetry::event::{BootEvent, What};
use crossbeam_channel::Sender;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Boots;
use crate::web::*;

pub(super) const MAC: &str = "52:54:00:00:00:01";

pub(super) struct Lab {
    pub(super) web: Web,
    pub(super) token: String,
    pub(super) authority: Arc<Authority>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) policy: Arc<Policy>,
    pub(super) machines: Arc<Machines>,
    pub(super) approvals: Arc<Approvals>,
    events: Sender<BootEvent>,
    _data: TempDir,
}

pub(super) async fn lab() -> Lab {
    let data = TempDir::new().unwrap();
    let authority = crate::authority::for_tests();
    let token = AdminToken::open(data.path()).unwrap();
    let text = std::fs::read_to_string(token.path()).unwrap();
    let catalog = Arc::new(Catalog::default());
    let kind = EntryKind::Iso {
        image: "debian.iso".to_owned(),
    };
    catalog.publish(Snapshot::new(
        [],
        vec![Entry::new("debian", "Debian", kind)],
    ));
    let rules = Rules::from(&Config::for_user());
    let (policy, decided) = Policy::new(rules, Ports::default(), Arc::clone(&catalog)).telling();
    let policy = Arc::new(policy);
    let decisions = Decisions::default();
    let location = Location::in_folder(data.path());
    let store = Store::open(&location).await.unwrap();
    let spool = Arc::new(Spool::open(&data.path().join("spool.jsonl")).unwrap());
    let machines = Machines::open(store.clone(), spool, Arc::clone(&policy), Boots::new(3));
    let machines = Arc::new(machines.await.unwrap());
    let metrics = Arc::new(Metrics::new());
    decisions.keep(decided, Arc::clone(&metrics)).unwrap();
    let (events, receiver) = crossbeam_channel::bounded(1000);
    let approvals = Arc::new(Approvals::new(
        store,
        Arc::clone(&policy),
        Arc::clone(&machines),
        Duration::from_secs(3600),
        events.clone(),
        Arc::clone(&metrics),
    ));
    let seams = WebSeams {
        token,
        authority: Arc::clone(&authority),
        clients: Clients::start(receiver, Arc::clone(&metrics), Vec::new()).unwrap(),
        machines: Arc::clone(&machines),
        approvals: Arc::clone(&approvals),
        policy: Arc::clone(&policy),
        decisions,
        classifier: Arc::new(super::classifier::Scene::new()),
        catalog,
        metrics: Arc::clone(&metrics),
        about: Arc::new(About {
            started: SystemTime::now(),
            listeners: vec![("http".to_owned(), "0.0.0.0:8080".parse().unwrap())],
            driver: "uring".to_owned(),
            workers: 2,
        }),
    };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Lab {
        web: Web::start(WebConfig { listen }, seams).await.unwrap(),
        token: text.trim().to_owned(),
        authority,
        metrics,
        policy,
        machines,
        approvals,
        events,
        _data: data,
    }
}

/// A response, read to the end of the connection.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Response {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(
            problem["type"],
            format!("urn:bootstorm:{}", problem["code"].as_str().unwrap())
        );
        problem["code"].as_str().unwrap().to_owned()
    }
}

pub(super) async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Response {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A server that refuses a request early may reset the connection behind its answer.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Response {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

impl Lab {
    pub(super) async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.web.bound()).await.unwrap()
    }

    pub(super) async fn raw(&self, request: &str) -> Response {
        talk(self.stream().await, request).await
    }

    /// A request with the token.
    pub(super) async fn ask(&self, method: &str, path: &str) -> Response {
        let token = &self.token;
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        ))
        .await
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.ask("GET", path).await
    }

    pub(super) async fn put(&self, path: &str, kind: &str, body: &str) -> Response {
        self.send("PUT", path, kind, body).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Response {
        let (token, length) = (&self.token, body.len());
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Opens the event stream and reads up to `ready`.
    pub(super) async fn listen(&self) -> BufReader<TcpStream> {
        let mut stream = self.stream().await;
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        until(&mut reader, "event: ready").await;
        reader
    }

    pub(super) fn happen(&self, what: What) {
        let event = BootEvent {
            at: SystemTime::now(),
            mac: MAC.parse().ok(),
            ip: "10.0.0.5".parse().ok(),
            what,
        };
        self.events.send(event).unwrap();
    }
}

/// Reads lines up to the one that begins so; gives it.
pub(super) async fn until(reader: &mut BufReader<TcpStream>, wanted: &str) -> String {
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), reader.read_line(&mut line));
        let length = read.await.expect(wanted).unwrap();
        assert_ne!(length, 0, "the stream ended before `{wanted}`");
        if line.starts_with(wanted) {
            return line.trim().to_owned();
        }
    }
}
