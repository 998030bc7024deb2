//! Services that do as they should, and services that do not.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be set up fails the test"
)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bootstorm_policy::decision::Verdict;
use bootstorm_providers::{Ask as _, ProviderError, Webhook};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Longer than any answer takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a service does with a request, and whether it goes on afterwards.
#[derive(Clone, Copy)]
enum Does {
    /// Answers with these bytes and waits for the next request.
    Says(&'static str),
    /// Answers with these bytes and closes.
    SaysAndLeaves(&'static str),
    /// Answers with a body that never ends.
    Floods,
    /// Sends a byte of its answer now and then.
    Trickles,
    /// Nothing.
    Hangs,
}

const PASS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"answer\":\"pass\"}";

struct Service {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<String>,
    gone: mpsc::UnboundedReceiver<()>,
}

async fn service(does: Does, tls: Option<TlsAcceptor>) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let (tell, requests) = mpsc::unbounded_channel();
    let (tell_gone, gone) = mpsc::unbounded_channel();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let (tell, tell_gone, tls) = (tell.clone(), tell_gone.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, does, &tell).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, does, &tell).await;
                        }
                    }
                }
                let _ = tell_gone.send(());
            });
        }
    });
    Service {
        address,
        connections,
        requests,
        gone,
    }
}

/// Returns when the connection is over.
async fn serve<S>(mut stream: S, does: Does, tell: &mpsc::UnboundedSender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(request) = read(&mut stream).await {
        let _ = tell.send(request);
        match does {
            Does::Says(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Does::SaysAndLeaves(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return stream.shutdown().await.unwrap();
            }
            Does::Floods => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            }
            Does::Trickles => {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
                stream.write_all(head).await.unwrap();
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Does::Hangs => while stream.read_u8().await.is_ok() {},
        }
    }
}

/// One request with its body, `None` at the end.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut text = String::new();
    loop {
        text.push(stream.read_u8().await.ok()?.into());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}

fn plain(service: &Service) -> Webhook {
    Webhook::new(
        "cmdb",
        &format!("http://{}/boot?x=1", service.address),
        None,
        None,
    )
    .unwrap()
}

async fn ask(webhook: &Webhook) -> Result<Verdict, ProviderError> {
    let facts = json!({"smbios": {"serial": "S 1"}});
    let answer = tokio::time::timeout(PATIENCE, webhook.ask(&facts)).await;
    answer.expect("it hangs")
}

async fn failure(does: Does) -> ProviderError {
    let service = service(does, None).await;
    ask(&plain(&service)).await.unwrap_err()
}

#[tokio::test]
async fn a_service_gets_facts_and_answers_with_a_decision() {
    let mut service = service(Does::Says(PASS), None).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "Bearer s3cret\n").unwrap();
    let url = format!("http://{}/boot?x=1", service.address);
    let webhook = Webhook::new("cmdb", &url, None, Some(token)).unwrap();
    assert!(matches!(ask(&webhook).await, Ok(Verdict::Pass(_))));
    let request = service.requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /boot?x=1 HTTP/1.1\r\n"), "{head}");
    for line in [
        format!("host: {}", service.address),
        "content-type: application/json".to_owned(),
        "authorization: Bearer s3cret".to_owned(),
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
    assert_eq!(body, r#"{"smbios":{"serial":"S 1"}}"#);
}

#[tokio::test]
async fn connections_are_kept_and_closed_ones_replaced() {
    let stays = service(Does::Says(PASS), None).await;
    let webhook = plain(&stays);
    for _ in 0..3 {
        assert!(ask(&webhook).await.is_ok());
    }
    assert_eq!(stays.connections.load(Ordering::Relaxed), 1);

    let leaves = service(Does::SaysAndLeaves(PASS), None).await;
    let webhook = plain(&leaves);
    for _ in 0..3 {
        assert!(ask(&webhook).await.is_ok());
    }
    assert_eq!(leaves.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_service_that_refuses_or_redirects_failed() {
    let e = failure(Does::Says("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(e.code(), "provider.failed");
    assert_eq!(e.to_string(), "it answers 503 Service Unavailable");
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let e = failure(Does::Says(moved)).await;
    assert_eq!(
        e.to_string(),
        "it answers 302 Found; it is not followed to http://127.0.0.1:1/"
    );
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for (does, code) in [
        (Does::SaysAndLeaves("hello\r\n\r\n"), "provider.failed"),
        (Does::SaysAndLeaves(""), "provider.failed"),
        (
            Does::SaysAndLeaves("HTTP/1.1 200 OK\r\nContent-Len"),
            "provider.failed",
        ),
        (
            Does::SaysAndLeaves("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"answer\""),
            "provider.failed",
        ),
        (
            Does::Says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            "provider.bad-answer",
        ),
        (
            Does::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            "provider.bad-answer",
        ),
    ] {
        let e = failure(does).await;
        assert_eq!(e.code(), code, "{e}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let mut service = service(Does::Floods, None).await;
    let e = ask(&plain(&service)).await.unwrap_err();
    assert_eq!(e.code(), "provider.bad-answer", "{e}");
    // The service sees that nobody reads any more.
    tokio::time::timeout(PATIENCE, service.gone.recv())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_closes_its_connection() {
    for does in [Does::Hangs, Does::Trickles] {
        let mut service = service(does, None).await;
        let webhook = plain(&service);
        let facts = json!({});
        tokio::select! {
            answer = webhook.ask(&facts) => panic!("{answer:?}"),
            request = service.requests.recv() => assert!(request.is_some()),
        }
        tokio::time::timeout(PATIENCE, service.gone.recv())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let webhook = Webhook::new("cmdb", &format!("http://{address}/"), None, None).unwrap();
    let e = ask(&webhook).await.unwrap_err();
    let place = format!("127.0.0.1 port {}", address.port());
    assert!(e.to_string().starts_with(&place), "{e}");
}

#[tokio::test]
async fn a_certificate_has_to_hang_from_the_given_ca() {
    let folder = tempfile::tempdir().unwrap();
    let issue = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, made.cert.pem()).unwrap();
        (made, path)
    };
    let (own, ca) = issue("own.pem");
    let (_, other_ca) = issue("other.pem");
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let service = service(Does::Says(PASS), Some(acceptor)).await;
    let url = format!("https://{}/boot", service.address);
    let trusting = Webhook::new("cmdb", &url, Some(ca), None).unwrap();
    assert!(matches!(ask(&trusting).await, Ok(Verdict::Pass(_))));
    let wary = Webhook::new("cmdb", &url, Some(other_ca), None).unwrap();
    let e = ask(&wary).await.unwrap_err();
    assert!(e.to_string().contains("invalid peer certificate"), "{e}");
}

#[test]
fn what_cannot_be_asked_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    for (url, ca, part) in [
        ("ftp://10.0.0.1/", None, "neither with http://"),
        ("http:///boot", None, "its URL"),
        ("http://user:password@10.0.0.1/", None, "a password"),
        ("https://10.0.0.1/", Some(empty), "no certificate in it"),
        ("https://10.0.0.1/", Some(missing), "missing.pem"),
    ] {
        let Err(e) = Webhook::new("cmdb", url, ca, None) else {
            panic!("{url} is taken");
        };
        assert!(e.to_string().contains(part), "{url}: {e}");
        assert!(e.to_string().starts_with("provider `cmdb`: "), "{e}");
    }
}
