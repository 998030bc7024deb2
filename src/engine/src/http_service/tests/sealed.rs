//! HTTPS: a rustls client on the other side.

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::tls::tests::leaf;

pub(super) const FETCH: &[u8] = b"GET /images/big.wim HTTP/1.1\r\nHost: h\r\n\r\n";

pub(super) fn client(trusting: bool) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    if trusting {
        roots.add(leaf().chain[0].clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

// Carries bytes both ways until neither side has more; returns the plaintext.
pub(super) fn exchange(bench: &mut Bench, conn: ConnId, client: &mut ClientConnection) -> Vec<u8> {
    let mut plaintext = Vec::new();
    loop {
        let mut there = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        if !there.is_empty() {
            bench.receive(conn, &there);
        }
        let back = bench.take_all(conn);
        let mut rest = &back[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            let refused = client.process_new_packets().is_err();
            let _ = io::Read::read_to_end(&mut client.reader(), &mut plaintext);
            if refused {
                break;
            }
        }
        if there.is_empty() && back.is_empty() {
            return plaintext;
        }
    }
}

fn secure() -> (Bench, ConnId, ClientConnection) {
    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Https);
    (bench, conn, client(true))
}

#[test]
fn a_file_travels_sealed_in_batches_and_the_connection_stays() {
    let (mut bench, conn, mut client) = secure();
    exchange(&mut bench, conn, &mut client);
    assert!(bench.counted(r#"bootstorm_tls_handshakes_total{key_exchange="ecdhe"} 1"#));
    for _ in 0..2 {
        client.writer().write_all(FETCH).unwrap();
        let (head, body) = split(&exchange(&mut bench, conn, &mut client));
        assert!(head.starts_with("HTTP/1.1 200 "));
        assert_eq!(body, content(LARGE_LENGTH));
    }
    let largest = *bench.driver.0[&0].pieces.iter().max().unwrap();
    assert!((256 * 1024..260 * 1024).contains(&largest), "{largest}");
    let told = bench.told();
    let [
        What::Started {
            protocol: Protocol::Https,
            ..
        },
        What::Finished { bytes, .. },
        _,
        _,
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(*bytes, LARGE_LENGTH as u64);
}

#[test]
fn the_request_is_asked_as_secure_and_the_answer_ends_with_a_goodbye() {
    let (mut bench, conn, mut client) = secure();
    client
        .writer()
        .write_all(b"GET /boot HTTP/1.0\r\n\r\n")
        .unwrap();
    exchange(&mut bench, conn, &mut client);
    let ask = bench.asks.try_recv().unwrap();
    assert!(ask.request.secure);
    bench.answer(ask.ticket, vec![b'#'; 600 * 1024]);
    let (_, body) = split(&exchange(&mut bench, conn, &mut client));
    assert_eq!(body.len(), 600 * 1024);
    assert!(bench.closed(conn));
    assert!(client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn a_client_without_our_ca_is_told_with_its_address() {
    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Https);
    exchange(&mut bench, conn, &mut client(false));
    assert!(bench.closed(conn));
    let event = bench.events.try_recv().unwrap();
    assert_eq!(event.ip, Some("192.0.2.7".parse().unwrap()));
    let What::Refused {
        protocol: Protocol::Https,
        reason,
        ..
    } = event.what
    else {
        panic!("{event:?}")
    };
    assert_eq!(reason.code, "tls.unknown-ca");
    assert!(bench.counted(r#"bootstorm_tls_failures_total{reason="tls.unknown-ca"} 1"#));
}

#[test]
fn plain_http_on_the_tls_port_is_answered_in_the_clear() {
    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Https);
    bench.receive(conn, b"GET /boot HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = split(&bench.take_all(conn));
    assert!(head.starts_with("HTTP/1.1 400 "));
    assert!(String::from_utf8(body).unwrap().contains("HTTPS"));
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["tls.plain-http"]);
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let (mut bench, conn, _) = secure();
    bench.pass(limits::TLS_HANDSHAKE);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["tls.handshake-timeout"]);
}

#[test]
fn a_connection_that_is_cut_in_the_handshake_is_told_but_a_port_probe_is_not() {
    let (mut bench, conn, mut client) = secure();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    bench.receive(conn, &hello);
    bench.take_all(conn);
    let now = bench.now;
    let reset = Some(ErrorKind::ConnectionReset);
    bench.service.closed(&mut bench.driver, conn, reset, now);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["tls.handshake-cut"]);

    let (mut bench, conn, _) = secure();
    bench.service.closed(&mut bench.driver, conn, None, now);
    assert!(bench.closed(conn) && bench.refusals().is_empty());
}

#[test]
fn records_that_were_tampered_with_break_the_transfer() {
    let (mut bench, conn, mut client) = secure();
    exchange(&mut bench, conn, &mut client);
    client.writer().write_all(FETCH).unwrap();
    let mut request = Vec::new();
    client.write_tls(&mut request).unwrap();
    bench.receive(conn, &request);
    let forged = [&[23, 3, 3, 0, 32][..], &[7; 32]].concat();
    bench.receive(conn, &forged);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["tls.bad-record"]);
}

// Hellos of `count` connections that have all arrived, and not had their turn.
fn hellos(bench: &mut Bench, count: u32) -> Vec<ConnId> {
    let mut hello = Vec::new();
    client(true).write_tls(&mut hello).unwrap();
    let all: Vec<_> = (0..count)
        .map(|slot| bench.accept(slot, ListenerKind::Https))
        .collect();
    for conn in &all {
        let (driver, now) = (&mut bench.driver, bench.now);
        bench.service.received(driver, *conn, &hello, now);
    }
    all
}

#[test]
fn handshakes_take_turns_in_order_of_arrival_and_hold_up_nobody_else() {
    let mut bench = Bench::new();
    let all = hellos(&mut bench, 8);
    for turn in 0..all.len() {
        assert_eq!(bench.service.next_timeout(), Some(bench.now));
        let plain = bench.accept(100 + turn as u32, ListenerKind::Http);
        let request = b"GET /images/boot/small.efi HTTP/1.1\r\nHost: h\r\n\r\n";
        let (driver, now) = (&mut bench.driver, bench.now);
        bench.service.received(driver, plain, request, now);
        assert_eq!(status(&bench.take_all(plain)), 200);
        bench.turns(1);
        let answered: Vec<_> = all.iter().map(|conn| bench.take(*conn)).collect();
        let expected: Vec<_> = (0..all.len()).map(|i| i == turn).collect();
        assert_eq!(answered, expected);
    }
    assert!(bench.service.next_timeout() > Some(bench.now));
}

#[test]
fn what_waits_for_a_turn_does_not_run_out_of_time() {
    let mut bench = Bench::new();
    let all = hellos(&mut bench, 40);
    for conn in &all {
        bench.pass(Duration::from_secs(1));
        assert!(
            !bench.take_all(*conn).is_empty(),
            "{conn:?} was not answered"
        );
        assert!(!bench.closed(*conn));
        // From now on it is the client's time that passes.
        if conn.slot >= 16 {
            assert!(bench.closed(all[conn.slot as usize - 16]));
        }
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_is_heard_and_let_go() {
    let mut bench = Bench::new();
    let all = hellos(&mut bench, 3);
    let (driver, now) = (&mut bench.driver, bench.now);
    bench.service.closed(driver, all[1], None, now);
    let reset = Some(ErrorKind::ConnectionReset);
    bench.service.closed(driver, all[2], reset, now);
    assert!(!bench.closed(all[1]));
    bench.turns(3);
    assert!(!bench.closed(all[0]) && bench.closed(all[1]) && bench.closed(all[2]));
    assert_eq!(
        bench.service.next_timeout(),
        Some(now + limits::TLS_HANDSHAKE)
    );
}

#[test]
fn more_than_a_handshake_holds_is_not_kept() {
    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Https);
    let (driver, now) = (&mut bench.driver, bench.now);
    for _ in 0..5 {
        bench.service.received(driver, conn, &[22; 8192], now);
    }
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.too-much-at-once"]);
    bench.turns(1);
}
