//! HTTPS whose records the kernel takes over, as far as it happens on our side: the kernel itself
//! is proven by the end-to-end case `kernel-tls`.

use rustls::{ClientConfig, ClientConnection, ExtractedSecrets, RootCertStore};

use super::sealed::{FETCH, exchange};
use super::*;
use crate::tls::tests::{config_for_kernel, leaf};

fn client() -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(leaf().chain[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// A connection whose handshake is over, and a kernel that does `kernel` when it is asked.
fn connected(kernel: Kernel) -> (Bench, ConnId, ClientConnection) {
    let mut bench = Bench::with_tls(config_for_kernel());
    let conn = bench.accept(0, ListenerKind::Https);
    let mut client = client();
    exchange(&mut bench, conn, &mut client);
    bench.driver.0.entry(0).or_default().kernel = kernel;
    (bench, conn, client)
}

fn encrypted(client: &mut ClientConnection, plaintext: &[u8]) -> Vec<u8> {
    client.writer().write_all(plaintext).unwrap();
    let mut ciphertext = Vec::new();
    client.write_tls(&mut ciphertext).unwrap();
    ciphertext
}

fn outcomes(bench: &Bench, taken: u32, kept: u32, failed: u32) {
    for (outcome, count) in [("taken", taken), ("kept", kept), ("failed", failed)] {
        let line = format!("bootstorm_tls_kernel_total{{outcome=\"{outcome}\"}} {count}");
        assert!(bench.counted(&line), "{line}");
    }
}

#[test]
fn after_the_handover_bytes_are_plain_both_ways_and_the_kernel_has_the_clients_keys() {
    let (mut bench, conn, mut client) = connected(Kernel::Takes);
    let request = encrypted(&mut client, FETCH);
    bench.receive(conn, &request);
    let (head, body) = split(&bench.take_all(conn));
    assert!(head.starts_with("HTTP/1.1 200 "));
    assert_eq!(body, content(LARGE_LENGTH));

    let noted = &bench.driver.0[&0];
    let suite = noted.suite.unwrap();
    let ours = noted.keys.as_ref().unwrap();
    let ExtractedSecrets { tx, rx } = client.dangerous_extract_secrets().unwrap();
    let theirs = suite.keys(&ExtractedSecrets { tx: rx, rx: tx }).unwrap();
    assert_eq!((&ours.send, &ours.receive), (&theirs.send, &theirs.receive));

    bench.receive(conn, FETCH);
    let (_, body) = split(&bench.take_all(conn));
    assert_eq!(body.len(), LARGE_LENGTH);
    assert!(!bench.closed(conn));
    outcomes(&bench, 1, 0, 0);
}

#[test]
fn requests_that_were_decrypted_before_are_not_lost() {
    let (mut bench, conn, mut client) = connected(Kernel::Takes);
    let twice = encrypted(&mut client, &[FETCH, FETCH].concat());
    bench.receive(conn, &twice);
    let (_, both) = split(&bench.take_all(conn));
    let (_, second) = split(&both[LARGE_LENGTH..]);
    assert_eq!(both[..LARGE_LENGTH], content(LARGE_LENGTH));
    assert_eq!(second, content(LARGE_LENGTH));
}

#[test]
fn half_a_record_keeps_the_connection_with_us_until_the_next_response() {
    let (mut bench, conn, mut client) = connected(Kernel::Takes);
    let first = encrypted(&mut client, FETCH);
    let second = encrypted(&mut client, FETCH);
    let (part, rest) = second.split_at(second.len() / 2);
    bench.receive(conn, &[&first, part].concat());
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body, content(LARGE_LENGTH));
    outcomes(&bench, 0, 1, 0);
    bench.receive(conn, rest);
    let (_, body) = split(&bench.take_all(conn));
    assert_eq!(body, content(LARGE_LENGTH));
    outcomes(&bench, 1, 1, 0);
}

#[test]
fn a_kernel_that_refuses_costs_nothing() {
    let (mut bench, conn, mut client) = connected(Kernel::Refuses);
    client.writer().write_all(FETCH).unwrap();
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body, content(LARGE_LENGTH));
    outcomes(&bench, 0, 1, 0);
}

#[test]
fn a_kernel_that_fails_ends_the_connection_with_a_reason() {
    let (mut bench, conn, mut client) = connected(Kernel::Fails);
    let request = encrypted(&mut client, FETCH);
    bench.receive(conn, &request);
    assert!(bench.closed(conn) && bench.take_all(conn).is_empty());
    assert_eq!(bench.refusals(), ["tls.kernel-failed"]);
    outcomes(&bench, 0, 0, 1);
}

#[test]
fn a_client_that_renewed_its_keys_gets_the_answer_before_the_kernel_takes_over() {
    let (mut bench, conn, mut client) = connected(Kernel::Takes);
    client.refresh_traffic_keys().unwrap();
    client.writer().write_all(FETCH).unwrap();
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body, content(LARGE_LENGTH));
    assert!(!bench.closed(conn));
}

#[test]
fn small_responses_stay_with_us_and_without_the_option_all_do() {
    let (mut bench, conn, mut client) = connected(Kernel::Takes);
    let small = b"GET /images/boot/small.efi HTTP/1.1\r\nHost: h\r\n\r\n";
    client.writer().write_all(small).unwrap();
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body, content(1000));
    outcomes(&bench, 0, 0, 0);

    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Https);
    bench.driver.0.entry(0).or_default().kernel = Kernel::Takes;
    client = self::client();
    client.writer().write_all(FETCH).unwrap();
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body, content(LARGE_LENGTH));
    outcomes(&bench, 0, 0, 0);
}

#[test]
fn what_ends_a_connection_of_the_kernel_has_its_reason() {
    let reasons = [
        (Some(ErrorKind::Unsupported), &["tls.key-update"][..]),
        (Some(ErrorKind::InvalidData), &["tls.bad-record"]),
        (Some(ErrorKind::ConnectionReset), &[]),
        (None, &[]),
    ];
    for (error, wanted) in reasons {
        let (mut bench, conn, mut client) = connected(Kernel::Takes);
        let request = encrypted(&mut client, FETCH);
        bench.receive(conn, &request);
        bench.take_all(conn);
        let now = bench.now;
        bench.service.closed(&mut bench.driver, conn, error, now);
        assert!(bench.closed(conn));
        assert_eq!(bench.refusals(), wanted, "{error:?}");
    }
}
