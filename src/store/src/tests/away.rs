//! A server of PostgreSQL that goes away, behind a proxy of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::lab::{Lab, at, mac, on_each};
use crate::{Edit, Event, Key, Location, Note, Spool, Store};

const OPEN: u8 = 0;
/// Bytes are taken and go nowhere.
const SILENT: u8 = 1;
/// Connections are closed.
const CLOSED: u8 = 2;

/// Stands between the store and its server.
struct Proxy {
    mode: Arc<AtomicU8>,
    location: Location,
}

impl Proxy {
    /// None for a file.
    async fn before(lab: &Lab) -> Option<Self> {
        let Location::Postgres(url) = &lab.location else {
            return None;
        };
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU8::new(OPEN));
        let seen = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(pass(client_in, server_out, Arc::clone(&seen)));
                tokio::spawn(pass(server_in, client_out, Arc::clone(&seen)));
            }
        });
        let place = format!("{}:{port}", options.get_host());
        let url = url.replace(&place, &own.to_string());
        Some(Self {
            mode,
            location: url.parse().unwrap(),
        })
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Arc<AtomicU8>) {
    let mut bytes = [0; 4096];
    loop {
        let read = tokio::time::timeout(Duration::from_millis(20), from.read(&mut bytes)).await;
        let mode = mode.load(Ordering::SeqCst);
        match read {
            _ if mode == CLOSED => return,
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(length)) if mode == OPEN => match to.write_all(&bytes[..length]).await {
                Ok(()) => {}
                Err(_) => return,
            },
            _ => {}
        }
    }
}

fn event(number: u64) -> Note {
    Note::Happened(Event {
        id: format!("e{number}"),
        at: at(number),
        mac: None,
        machine: None,
        boot: None,
        kind: "script".to_owned(),
        code: None,
        text: String::new(),
    })
}

#[tokio::test]
async fn a_server_that_hangs_or_is_gone_is_away_and_comes_back() {
    on_each(async |lab: Lab| {
        let Some(proxy) = Proxy::before(&lab).await else {
            return;
        };
        let store = Store::open(&proxy.location).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("spool.jsonl")).unwrap();
        let key = Key::Mac(mac(1));
        store.change(&key, &[]).await.unwrap();
        for (number, mode) in [(1, SILENT), (2, CLOSED)] {
            proxy.set(mode);
            spool.put(&[event(number)]);
            let error = store.change(&key, &[Edit::Held(true)]).await.unwrap_err();
            assert_eq!(error.code(), "store.away", "{error}");
            let error = store.take_once(1, SystemTime::now()).await.unwrap_err();
            assert_eq!(error.code(), "store.away", "{error}");
            assert_eq!(store.load().await.unwrap_err().code(), "store.away");
            let error = spool.deliver(&store).await.unwrap_err();
            assert_eq!(error.code(), "store.away", "{error}");
            proxy.set(OPEN);
            until_back(&store).await;
            spool.deliver(&store).await.unwrap();
            let events = store.events(None, None, 100).await.unwrap();
            assert_eq!(events.len() as u64, number);
        }
        proxy.set(CLOSED);
        let error = Store::open(&proxy.location).await.unwrap_err();
        assert_eq!(error.code(), "store.away", "{error}");
    })
    .await;
}

#[tokio::test]
async fn whoever_watches_hears_of_what_changed_while_the_server_was_away() {
    on_each(async |lab: Lab| {
        let Some(proxy) = Proxy::before(&lab).await else {
            return;
        };
        let ours = Store::open(&proxy.location).await.unwrap();
        let theirs = lab.open().await;
        let mut watch = ours.watch().await.unwrap();
        theirs.change(&Key::Mac(mac(1)), &[]).await.unwrap();
        watch.next().await.unwrap();
        proxy.set(CLOSED);
        theirs.change(&Key::Mac(mac(2)), &[]).await.unwrap();
        let error = watch.next().await.unwrap_err();
        assert_eq!(error.code(), "store.away");
        proxy.set(OPEN);
        until_back(&ours).await;
        let changes = watch.next().await.unwrap();
        let wanted = crate::Changes::Some {
            machines: [2].into(),
            approvals: [].into(),
        };
        assert_eq!(changes, wanted);
    })
    .await;
}

#[tokio::test]
async fn a_locked_file_is_told_apart() {
    let lab = Lab::file();
    let store = lab.open().await;
    let other = lab.open().await;
    let lock = other.writing().await.unwrap();
    let error = store.change(&Key::Mac(mac(1)), &[]).await.unwrap_err();
    assert_eq!(error.code(), "store.locked", "{error}");
    drop(lock);
    until_back(&store).await;
    store.change(&Key::Mac(mac(1)), &[]).await.unwrap();
}

/// A call that found the database away may still be ending.
async fn until_back(store: &Store) {
    for _ in 0..1200 {
        if store.take_once(0, at(0)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the database does not come back");
}
