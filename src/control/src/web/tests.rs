use std::borrow::Cow;

use bootstorm_config::Config;
use bootstorm_policy::{BootPlan, Facts, Policy, Ports, Rules};
use bootstorm_store::{Key, Location, Spool, Store};
use bootstorm_telemetry::event::{BootEvent, Reason, What};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::Boots;
use lab::{MAC, lab, talk, until};

mod approvals;
mod classifier;
mod explain;
mod history;
mod lab;
mod machines;

#[tokio::test]
async fn only_health_and_local_metrics_are_open() {
    let lab = lab().await;
    let head = |path: &str, auth: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n")
    };
    let right = format!("Authorization: Bearer {}\r\n", lab.token);
    let wrong = "Authorization: Bearer 0123456789\r\n".to_owned();
    let query = format!("/api/v1/about?token={}", lab.token);
    for (path, auth, wanted) in [
        ("/healthz", "", 200),
        ("/healthz", &*wrong, 200),
        ("/metrics", "", 200),
        ("/", "", 401),
        ("/", &*right, 200),
        ("/api/v1/about", "", 401),
        ("/api/v1/about", &*wrong, 401),
        ("/api/v1/about", &*right, 200),
        (&*query, "", 401),
        ("/api/v1/clients", "", 401),
        ("/api/v1/events", "", 401),
        ("/api/v1/entries", "", 401),
        ("/api/v1/machines", "", 401),
        ("/api/v1/classifier", "", 401),
        ("/nothing", "", 401),
        ("/nothing", &*right, 404),
        ("//metrics", "", 401),
        ("/metrics/", "", 401),
        ("/healthz/../api/v1/about", "", 401),
    ] {
        let response = lab.raw(&head(path, auth)).await;
        assert_eq!(response.status, wanted, "{path} {auth:?}: {response:?}");
        if wanted == 401 {
            assert!(
                response.head.contains("www-authenticate: bearer"),
                "{response:?}"
            );
            assert!(!response.body.contains(&lab.token));
        }
        assert!(
            response.head.contains("cache-control: no-store"),
            "{response:?}"
        );
    }
    let text = lab.raw("GET /metrics HTTP/1.0\r\n\r\n").await.body;
    assert!(text.contains("bootstorm_catalog_entries 1\n"), "{text}");
    assert!(!text.contains("bootstorm_certificate_expiry_timestamp_seconds 0\n"));
    let line = r#"bootstorm_web_denied_total{reason="web.wrong-token"} 1"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn nothing_is_changed_without_the_token() {
    let lab = lab().await;
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        let response = lab
            .raw(&format!(
                "{method} /api/v1/machines/{MAC} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: 16\r\n\r\n\
                 {{\"boot\":\"debian\"}}"
            ))
            .await;
        assert_eq!(response.status, 401, "{method}: {response:?}");
    }
    let unknown = lab.get(&format!("/api/v1/machines/{MAC}")).await;
    assert_eq!(
        (unknown.status, &*unknown.code()),
        (404, "web.unknown-machine")
    );
    // Loopback opens metrics for reading only.
    let response = lab.raw("POST /metrics HTTP/1.0\r\n\r\n").await;
    assert_eq!(response.status, 401);
}

#[tokio::test]
async fn guesses_are_slowed_down() {
    let lab = lab().await;
    let guess = "GET / HTTP/1.0\r\nAuthorization: Bearer no\r\n\r\n";
    for _ in 0..6 {
        assert_eq!(lab.raw(guess).await.code(), "web.wrong-token");
    }
    let slowed = lab.raw(guess).await;
    assert_eq!((slowed.status, &*slowed.code()), (429, "web.slow-down"));
    assert!(slowed.head.contains("retry-after: "), "{slowed:?}");
    let open = lab.raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!((open.status, &*open.body), (200, "ok\n"));
}

#[tokio::test]
async fn plain_and_tls_share_the_port() {
    let lab = lab().await;
    let mut roots = RootCertStore::empty();
    let identity = lab.authority.identity();
    let ca = CertificateDer::from_pem_slice(identity.ca_pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for name in ["localhost", "127.0.0.1"] {
        let name = ServerName::try_from(name).unwrap();
        let stream = connector.connect(name, lab.stream().await).await.unwrap();
        let response = talk(stream, "GET /healthz HTTP/1.0\r\n\r\n").await;
        assert_eq!((response.status, &*response.body), (200, "ok\n"));
    }
    let plain = lab.raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!((plain.status, &*plain.body), (200, "ok\n"));
}

#[tokio::test]
async fn rubbish_ends_its_own_connection_only() {
    let lab = lab().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for (bytes, wanted) in [
        ("\u{16}\u{3}\u{1}rubbish\r\n\r\n", [0, 0]),
        ("\0\0\0\0\r\n\r\n", [400, 0]),
        ("GET / HTTP/9.9\r\n\r\n", [400, 0]),
        (&*long, [431, 414]),
        (&*many, [431, 400]),
    ] {
        let mut stream = lab.stream().await;
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let response = talk(stream, "").await;
        let shown = bytes.chars().take(20).collect::<String>();
        assert!(wanted.contains(&response.status), "{shown:?}: {response:?}");
    }
    assert_eq!(lab.raw("GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn wrong_methods_are_told_which_are_right() {
    let lab = lab().await;
    for (method, path, allow) in [
        ("POST", "/api/v1/clients", "allow: get,head"),
        (
            "PATCH",
            "/api/v1/machines/52:54:00:00:00:01",
            "allow: get,head,put,delete",
        ),
        ("OPTIONS", "/healthz", "allow: get,head"),
    ] {
        let response = lab.ask(method, path).await;
        assert_eq!(
            (response.status, &*response.code()),
            (405, "web.wrong-method")
        );
        assert!(response.head.contains(allow), "{response:?}");
    }
    let head = lab.ask("HEAD", "/api/v1/about").await;
    assert_eq!((head.status, &*head.body), (200, ""));
}

#[tokio::test]
async fn about_tells_what_is_up() {
    let lab = lab().await;
    let about = lab.get("/api/v1/about").await.json();
    assert_eq!(about["name"], "bootstorm");
    assert_eq!(
        about["listeners"],
        json!([{"name": "http", "address": "0.0.0.0:8080"}])
    );
    assert_eq!(about["catalog"], json!({"entries": 1, "files": 0}));
    assert_eq!(about["clients"]["failed"], 0);
    let names = about["certificate"]["names"].as_array().unwrap();
    assert!(names.contains(&json!("localhost")), "{names:?}");
}

#[tokio::test]
async fn entries_are_listed() {
    let lab = lab().await;
    let entries = lab.get("/api/v1/entries").await.json();
    assert_eq!(
        entries,
        json!({"entries": [{
            "id": "debian", "title": "Debian", "kind": "iso", "file": "debian.iso",
            "families": [], "hidden": false, "unbootable": null,
        }], "problems": []})
    );
}

#[tokio::test]
async fn a_machine_is_streamed_listed_and_shown() {
    let lab = lab().await;
    let mut stream = lab.listen().await;
    lab.happen(What::Leased);
    lab.happen(What::Silent {
        reason: Reason {
            code: "policy.no-nbp",
            text: Cow::Borrowed("no program"),
        },
    });
    until(&mut stream, "event: client").await;
    until(&mut stream, "id: 1").await;
    // The two may come as one update or as two.
    let streamed = loop {
        let line = until(&mut stream, "data: ").await;
        let streamed: Value = serde_json::from_str(&line["data: ".len()..]).unwrap();
        if streamed["phase"] == "silent" {
            break streamed;
        }
    };
    assert_eq!(streamed["mac"], MAC);
    assert_eq!(streamed["addresses"], json!(["10.0.0.5"]));
    assert_eq!(streamed["phase"], "silent");
    assert_eq!(
        streamed["reason"],
        json!({"code": "policy.no-nbp", "text": "no program"})
    );

    let list = lab.get("/api/v1/clients?phase=silent&limit=1").await.json();
    assert_eq!(list["clients"].as_array().unwrap().len(), 1);
    assert_eq!(list["next"], Value::Null);
    let none = lab.get("/api/v1/clients?phase=loading").await.json();
    assert_eq!(none["clients"], json!([]));
    for id in [MAC, "52-54-00-00-00-01", "10.0.0.5"] {
        let one = lab.get(&format!("/api/v1/clients/{id}")).await.json();
        assert_eq!(one["mac"], MAC, "{id}");
        assert_eq!(one["timeline"][0]["kind"], "leased");
        assert_eq!(one["timeline"][1]["code"], "policy.no-nbp");
    }
}

#[tokio::test]
async fn bad_questions_are_answered_with_a_code() {
    let lab = lab().await;
    for (path, status, code) in [
        ("/api/v1/clients?limit=0", 400, "web.bad-query"),
        ("/api/v1/clients?limit=1001", 400, "web.bad-query"),
        ("/api/v1/clients?limit=-1", 400, "web.bad-query"),
        ("/api/v1/clients?cursor=x", 400, "web.bad-query"),
        ("/api/v1/clients?phase=lost", 400, "web.bad-query"),
        ("/api/v1/clients?colour=red", 400, "web.bad-query"),
        ("/api/v1/clients/zz", 400, "web.bad-mac"),
        (
            "/api/v1/clients/52:54:00:00:00:77",
            404,
            "web.unknown-client",
        ),
        ("/api/v1/machines?cursor=zz", 400, "web.bad-query"),
        ("/api/v1/machines/zz", 404, "web.unknown-machine"),
        ("/api/v2/clients", 404, "web.not-found"),
    ] {
        let response = lab.get(path).await;
        assert_eq!(
            (response.status, &*response.code()),
            (status, code),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_assignment_is_kept_and_obeyed() {
    let lab = lab().await;
    let path = format!("/api/v1/machines/{MAC}");
    let facts = Facts {
        mac: MAC.parse().ok(),
        ..Facts::default()
    };
    let json = "application/json";
    let body = r#"{"boot": "debian", "name": "lab3-17"}"#;
    let made = lab.put(&path, json, body).await;
    assert_eq!(made.status, 200, "{made:?}");
    let made = made.json();
    assert_eq!(
        (&made["boot"], &made["name"]),
        (&json!("debian"), &json!("lab3-17"))
    );
    assert!(matches!(lab.policy.boot(&facts), BootPlan::Entry(_)));

    // What is left out stays.
    let renamed = lab.put(&path, json, r#"{"name": null}"#).await.json();
    assert_eq!(
        (&renamed["boot"], &renamed["name"]),
        (&json!("debian"), &Value::Null)
    );
    let local = lab.put(&path, json, r#"{"boot": "local"}"#).await;
    assert_eq!(local.status, 200);
    assert_eq!(lab.policy.boot(&facts), BootPlan::Local);
    let freed = lab
        .put(
            &path,
            "application/json; charset=utf-8",
            r#"{"boot": null}"#,
        )
        .await;
    assert_eq!(freed.json()["boot"], Value::Null);
    assert!(matches!(lab.policy.boot(&facts), BootPlan::Menu(_)));

    let list = lab.get("/api/v1/machines?limit=1").await.json();
    assert_eq!(list["machines"][0]["mac"], MAC);
    let next = list["next"].as_str().unwrap();
    let path = format!("/api/v1/machines?cursor={next}");
    let rest = lab.get(&path).await.json();
    assert_eq!(rest, json!({"machines": [], "next": null}));
}

#[tokio::test]
async fn a_bad_change_changes_nothing() {
    let lab = lab().await;
    let path = format!("/api/v1/machines/{MAC}");
    let kind = "application/json";
    let large = format!(r#"{{"name": "{}"}}"#, "x".repeat(70_000));
    for (kind, body, status, code) in [
        (kind, r#"{"boot": "debain"}"#, 422, "web.unknown-entry"),
        (
            kind,
            r#"{"boot": "debian", "name": "a\nb"}"#,
            422,
            "store.bad-text",
        ),
        (kind, r#"{"boots": "debian"}"#, 400, "web.bad-json"),
        (kind, r#"{"boot": 7}"#, 400, "web.bad-json"),
        (kind, "{", 400, "web.bad-json"),
        (kind, "", 400, "web.bad-json"),
        (
            "application/x-www-form-urlencoded",
            "boot=debian",
            415,
            "web.not-json",
        ),
        ("text/plain", r#"{"boot": "debian"}"#, 415, "web.not-json"),
        (kind, &*large, 413, "web.body-too-large"),
    ] {
        let shown = body.chars().take(40).collect::<String>();
        let response = lab.put(&path, kind, body).await;
        assert_eq!(
            (response.status, &*response.code()),
            (status, code),
            "{shown}"
        );
    }
    assert_eq!(lab.get(&path).await.status, 404);
    let facts = Facts {
        mac: MAC.parse().ok(),
        ..Facts::default()
    };
    assert!(matches!(lab.policy.boot(&facts), BootPlan::Menu(_)));
}

#[tokio::test]
async fn streams_are_bounded_and_counted() {
    let lab = lab().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(lab.listen().await);
    }
    assert_eq!(lab.metrics.web.streams.get(), 64);
    let refused = lab.get("/api/v1/events").await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (503, "web.too-many-streams")
    );
}

#[tokio::test]
async fn shutting_down_ends_streams_and_refuses_connections() {
    let lab = lab().await;
    let mut stream = lab.listen().await;
    let mut idle = lab.stream().await;
    let address = lab.web.bound();
    lab.web.shutdown(Duration::from_secs(20)).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let lab = lab().await;
    let taken = lab.web.bound();
    let error = listen(taken).await.unwrap_err();
    assert_eq!(error.code(), "web.no-port");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}

#[tokio::test]
async fn machines_that_were_seen_are_noted_in_the_store() {
    let data = TempDir::new().unwrap();
    let location = Location::in_folder(data.path());
    let store = Store::open(&location).await.unwrap();
    let catalog = Arc::new(Catalog::default());
    let rules = Rules::from(&Config::for_user());
    let policy = Arc::new(Policy::new(rules, Ports::default(), catalog));
    let spool = Arc::new(Spool::open(&data.path().join("spool.jsonl")).unwrap());
    let machines = Machines::open(store, spool, policy, Boots::new(3)).await;
    let machines = Arc::new(machines.unwrap());
    let (events, receiver) = crossbeam_channel::bounded(10);
    let clients = Clients::start(receiver, Arc::new(Metrics::new()), Vec::new()).unwrap();
    let following = Arc::clone(&machines).follow(&clients);
    let event = |what| BootEvent {
        at: SystemTime::now(),
        mac: MAC.parse().ok(),
        ip: None,
        what,
    };
    let mut known = machines.known();
    assert!(known.borrow_and_update().is_empty());
    let boots = "debian".into();
    events
        .send(event(What::Script {
            boots,
            because: None,
            boot: None,
        }))
        .unwrap();
    let asks = BootEvent {
        mac: "52:54:00:00:00:02".parse().ok(),
        ..event(What::Leased)
    };
    events.send(asks).unwrap();
    // Without senders the table ends, and with it what follows the table.
    drop(events);
    following.await;
    let record = machines
        .get(&Key::Mac(MAC.parse().unwrap()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.phase, "script");
    assert!(known.has_changed().unwrap());
    assert_eq!(*known.borrow(), [MAC.parse().unwrap()].into());
}
