use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::tls;

const OWN: Ipv4Addr = Ipv4Addr::new(127, 5, 0, 9);

/// Serves one connection after the other with the same function.
fn server(
    connections: usize,
    serve: impl Fn(TcpStream) + Send + 'static,
) -> (SocketAddrV4, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
        panic!("IPv4 was asked for");
    };
    let thread = thread::spawn(move || {
        for _ in 0..connections {
            serve(listener.accept().unwrap().0);
        }
    });
    (address, thread)
}

/// What came of it in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    up: Option<bool>,
    bytes: Vec<u8>,
    closed: bool,
}

/// Looks at a stream until `enough`.
fn follow(stream: &mut Stream, enough: impl Fn(&Story) -> bool) -> Result<Story, String> {
    let mut rooms = Rooms::new();
    let mut story = Story::default();
    while !enough(&story) {
        stream.new_interest();
        let mut wanted = PollFlags::empty();
        if stream.interest.contains(EventFlags::IN) {
            wanted |= PollFlags::IN;
        }
        if stream.interest.contains(EventFlags::OUT) {
            wanted |= PollFlags::OUT;
        }
        let mut set = [PollFd::new(&*stream, wanted)];
        let patience = Timespec::try_from(Duration::from_secs(30)).unwrap();
        assert_eq!(poll(&mut set, Some(&patience)), Ok(1), "nothing happens");
        let flags = EventFlags::from_bits_retain(u32::from(set[0].revents().bits()));
        let heard = stream.look(flags, &mut rooms)?;
        story.up = story.up.or(heard.up);
        story.bytes.extend_from_slice(heard.bytes);
        story.closed |= heard.closed;
    }
    Ok(story)
}

fn connected(to: SocketAddrV4, tls: Option<Tls>) -> (Stream, Option<bool>) {
    let mut stream = Stream::open(OWN, to, tls).unwrap();
    let story = follow(&mut stream, |story| story.up.is_some()).unwrap();
    (stream, story.up)
}

/// Answers everything with itself until the other end is through.
fn echo(mut stream: TcpStream) {
    assert_eq!(stream.peer_addr().unwrap().ip(), OWN);
    let mut buffer = [0; 1000];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..length]).unwrap();
    }
}

#[test]
fn bytes_go_both_ways_from_the_machines_own_address() {
    let (address, thread) = server(1, echo);
    let mut stream = Stream::open(OWN, address, None).unwrap();
    // What is written before the stream is up waits for that.
    stream.write(b"early, ").unwrap();
    let story = follow(&mut stream, |story| story.up.is_some()).unwrap();
    assert_eq!(story.up, Some(false));
    stream.write(b"late").unwrap();
    let story = follow(&mut stream, |story| story.bytes.len() >= 11).unwrap();
    assert_eq!(story.bytes, b"early, late");
    stream.end();
    thread.join().unwrap();
}

#[test]
fn the_other_ends_end_is_told() {
    let (address, thread) = server(1, |mut stream| stream.write_all(b"last").unwrap());
    let (mut stream, _) = connected(address, None);
    let story = follow(&mut stream, |story| story.closed).unwrap();
    assert_eq!(story.bytes, b"last");
    thread.join().unwrap();
}

#[test]
fn nobody_there_is_a_refused_connection() {
    let (address, thread) = server(0, echo);
    thread.join().unwrap();
    let reason = match Stream::open(OWN, address, None) {
        Ok(mut stream) => follow(&mut stream, |_| false).unwrap_err(),
        Err(error) => refused(address, error),
    };
    assert!(
        reason.starts_with(&format!("connect: {address}: ")),
        "{reason}"
    );
}

#[test]
fn an_address_of_another_host_is_refused() {
    let foreign = Ipv4Addr::new(192, 0, 2, 1);
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    assert_eq!(
        Stream::open(foreign, to, None).err(),
        Some(Errno::ADDRNOTAVAIL)
    );
}

#[test]
fn a_paused_stream_fills_its_window_and_loses_nothing() {
    const LENGTH: usize = 16 << 20;
    let (full, is_full) = std::sync::mpsc::channel();
    let (address, thread) = server(1, move |mut stream| {
        stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let body = vec![7; LENGTH];
        let mut sent = 0;
        // Whatever the window and the buffers take, it is not everything.
        while let Ok(more) = stream.write(&body[sent..]) {
            sent += more;
            assert!(sent < LENGTH, "nobody reads, and all of it is gone");
        }
        full.send(()).unwrap();
        stream.set_write_timeout(None).unwrap();
        stream.write_all(&body[sent..]).unwrap();
    });
    let (mut stream, _) = connected(address, None);
    stream.pause(true);
    assert_eq!(stream.new_interest(), Some(EventFlags::empty()));
    is_full.recv().unwrap();
    stream.pause(false);
    assert_eq!(stream.new_interest(), Some(EventFlags::IN));
    let story = follow(&mut stream, |story| story.closed).unwrap();
    assert_eq!(story.bytes.len(), LENGTH);
    thread.join().unwrap();
}

#[test]
fn a_power_cut_is_a_reset_and_a_goodbye_is_none() {
    let (address, thread) = server(1, |mut stream| {
        let error = stream.read(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    connected(address, None).0.reset();
    thread.join().unwrap();
    let (address, thread) = server(1, |mut stream| {
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
    });
    connected(address, None).0.end();
    thread.join().unwrap();
}

#[test]
fn a_reset_breaks_a_paused_stream_too() {
    let (address, thread) = server(1, |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let (mut stream, _) = connected(address, None);
    stream.pause(true);
    stream.write(&[0]).unwrap();
    let reason = follow(&mut stream, |_| false).unwrap_err();
    assert!(reason.starts_with("broken off: "), "{reason}");
    thread.join().unwrap();
}

/// A server with a certificate for 127.0.0.1, and its CA in a file.
pub(in crate::storm) fn secure() -> (Arc<ServerConfig>, tempfile::NamedTempFile) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certificate.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), file)
}

/// Answers a request of one byte with as many megabytes over TLS.
fn answer(config: &Arc<ServerConfig>, mut stream: TcpStream) {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut stream);
    let mut request = [0];
    if stream.read_exact(&mut request).is_ok() {
        let body = vec![request[0]; usize::from(request[0]) << 20];
        stream.write_all(&body).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
}

/// Fetches three megabytes; says whether an earlier session was resumed.
fn fetch(to: SocketAddrV4, config: &Arc<ClientConfig>) -> Result<bool, String> {
    let tls = Tls::new(config, "127.0.0.1").unwrap();
    let mut stream = Stream::open(OWN, to, Some(tls)).unwrap();
    let up = follow(&mut stream, |story| story.up.is_some())?.up;
    stream.write(&[3]).unwrap();
    let story = follow(&mut stream, |story| story.closed)?;
    assert_eq!(story.bytes, vec![3; 3 << 20]);
    stream.end();
    Ok(up.unwrap())
}

#[test]
fn a_machine_resumes_its_own_sessions_and_no_others() {
    let (config, ca) = secure();
    let (address, thread) = server(10, move |stream| answer(&config, stream));
    for tls12 in [true, false] {
        let shared = tls::config(tls12, false, Some(ca.path())).unwrap();
        let machine = tls::resuming(&shared);
        assert_eq!(fetch(address, &machine), Ok(false));
        assert_eq!(fetch(address, &machine), Ok(true));
        assert_eq!(fetch(address, &machine), Ok(true));
        assert_eq!(fetch(address, &tls::resuming(&shared)), Ok(false));
        assert_eq!(fetch(address, &shared), Ok(false));
    }
    thread.join().unwrap();
}

#[test]
fn an_unknown_ca_is_refused_unless_any_certificate_will_do() {
    let (config, _) = secure();
    let (_, other_ca) = secure();
    let (address, thread) = server(2, move |stream| answer(&config, stream));
    let strict = tls::config(true, false, Some(other_ca.path())).unwrap();
    let reason = fetch(address, &strict).unwrap_err();
    assert!(reason.starts_with("tls: "), "{reason}");
    let careless = tls::config(true, true, None).unwrap();
    assert_eq!(fetch(address, &careless), Ok(false));
    thread.join().unwrap();
}

#[test]
fn a_server_without_tls_is_told_from_one_with_it() {
    let (address, thread) = server(1, |mut stream| {
        stream.read_exact(&mut [0; 5]).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let careless = tls::config(true, true, None).unwrap();
    let reason = fetch(address, &careless).unwrap_err();
    assert!(reason.starts_with("tls: "), "{reason}");
    thread.join().unwrap();
}
