//! OpenSSL's s_client and curl against [`Stream`] on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nready";

/// How the server's side of a connection went.
#[derive(Debug)]
struct Served {
    request: Vec<u8>,
    suite: Option<CipherSuite>,
    resumed: bool,
    failure: Option<String>,
}

// Answers one connection and says how it went.
fn serve(stream: &mut TcpStream, config: Arc<ServerConfig>) -> Served {
    let mut tls = Stream::new(config).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let failure = loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            break tls.cut(false);
        }
        let fed = tls.feed(&buffer[..read], &mut request);
        let mut out = Vec::new();
        tls.flush(&mut out);
        let whole = request.ends_with(b"\r\n\r\n");
        if whole {
            tls.seal(ANSWER, &mut out);
            tls.close(&mut out);
        }
        // The client may be gone: its last word has been read already.
        let _ = stream.write_all(&out);
        match fed {
            Err(reason) => break Some(reason),
            Ok(_) if whole => break None,
            Ok(Fed::Ended) => break tls.cut(false),
            Ok(Fed::Open) => {}
        }
    };
    Served {
        request,
        suite: suite_of(&tls),
        resumed: tls.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        failure: failure.map(|reason| reason.code.to_owned()),
    }
}

fn server(dhe: bool, connections: usize) -> (u16, JoinHandle<Vec<Served>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = config(dhe);
    let thread = std::thread::spawn(move || {
        (0..connections)
            .map(|_| serve(&mut listener.accept().unwrap().0, Arc::clone(&config)))
            .collect()
    });
    (port, thread)
}

fn certificate_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(leaf().pem.as_bytes()).unwrap();
    file
}

fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl and curl must be installed (Debian packages openssl, curl)");
    // A client that was refused may be gone before it has read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn s_client(port: u16, arguments: &[&str]) -> String {
    let ca = certificate_file();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-ign_eof", "-verify_return_error", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-CAfile")
        .arg(ca.path())
        .args(arguments);
    run(&mut command, b"GET / HTTP/1.0\r\n\r\n")
}

fn one(dhe: bool, arguments: &[&str]) -> (String, Served) {
    let (port, thread) = server(dhe, 1);
    let said = s_client(port, arguments);
    (said, thread.join().unwrap().remove(0))
}

#[test]
fn openssl_connects_with_every_kind_of_key_exchange() {
    use CipherSuite as C;
    for (arguments, suite) in [
        (
            &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"][..],
            C::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            &["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"],
            C::TLS_DHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
            C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        // DHE is the client's favourite, not ours.
        (
            &[
                "-tls1_2",
                "-cipher",
                "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
            ],
            C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (&["-tls1_3"], C::TLS13_AES_128_GCM_SHA256),
        // A client of TLS 1.3 that has finite-field groups too, and guesses one of them.
        (
            &["-tls1_3", "-groups", "ffdhe2048:X25519"],
            C::TLS13_AES_128_GCM_SHA256,
        ),
    ] {
        let (said, served) = one(true, arguments);
        assert_eq!(served.failure, None, "{arguments:?}\n{said}");
        assert_eq!(served.suite, Some(suite), "{arguments:?}\n{said}");
        assert_eq!(served.request, b"GET / HTTP/1.0\r\n\r\n");
        assert!(said.contains("\r\n\r\nready"), "{arguments:?}\n{said}");
    }
}

#[test]
fn without_dhe_a_dhe_client_is_refused() {
    let (_, served) = one(false, &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"]);
    assert_eq!(served.failure.as_deref(), Some("tls.no-common-suite"));
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_seen_as_such() {
    for version in ["-tls1_2", "-tls1_3"] {
        let (port, thread) = server(true, 1);
        let mut command = Command::new("openssl");
        command
            .args([
                "s_client",
                "-verify_return_error",
                "-no-CAfile",
                "-no-CApath",
                version,
            ])
            .args(["-connect", &format!("127.0.0.1:{port}")]);
        run(&mut command, b"");
        let served = thread.join().unwrap().remove(0);
        assert_eq!(
            served.failure.as_deref(),
            Some("tls.unknown-ca"),
            "{version}"
        );
    }
}

#[test]
fn sessions_are_resumed_by_ticket_and_by_identifier() {
    for resumption in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"]] {
        let session = tempfile::NamedTempFile::new().unwrap();
        let path = session.path().to_str().unwrap();
        let (port, thread) = server(true, 2);
        s_client(port, &[resumption, &["-sess_out", path]].concat());
        s_client(port, &[resumption, &["-sess_in", path]].concat());
        let served = thread.join().unwrap();
        assert!(
            !served[0].resumed && served[1].resumed,
            "{resumption:?} {served:?}"
        );
    }
}

#[test]
fn curl_verifies_the_certificate_and_reads_the_body() {
    for version in ["--tls-max", "--tlsv1.3"] {
        let (port, thread) = server(true, 1);
        let ca = certificate_file();
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--cacert"])
            .arg(ca.path())
            .arg(version);
        if version == "--tls-max" {
            command.arg("1.2");
        }
        command.arg(format!("https://127.0.0.1:{port}/boot"));
        assert_eq!(run(&mut command, b""), "ready");
        let served = thread.join().unwrap().remove(0);
        assert_eq!(served.failure, None);
        assert!(served.request.starts_with(b"GET /boot HTTP/1.1\r\n"));
    }
}
