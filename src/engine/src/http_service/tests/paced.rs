//! Bodies at a limited rate, and machines that wait for their turn. The kernel's part in
//! keeping a rate is tested on real sockets.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};

use super::sealed::FETCH;
use super::*;
use crate::pacing::{Feed, PacingConfig, Turn};

/// A file that waits for its turn.
const HUGE_LENGTH: usize = limits::QUEUES_FROM as usize;
const FETCH_HUGE: &[u8] = b"GET /images/huge.wim HTTP/1.1\r\nHost: h\r\nUser-Agent: curl\r\n\r\n";

fn paced_bench(config: PacingConfig) -> (Bench, Arc<Pacing>) {
    let mut bench = Bench::new();
    let files = [
        (SMALL, 1000),
        (LARGE, LARGE_LENGTH),
        ("huge.wim", HUGE_LENGTH),
    ];
    let files = files.map(|(path, length)| file(path, length));
    bench.catalog.publish(Snapshot::new(files, vec![]));
    let pacing = Arc::new(Pacing::new(config, Arc::clone(&bench.metrics)));
    bench.service = bench.service.paced(Arc::clone(&pacing));
    (bench, pacing)
}

/// The client takes everything at once for so long; gives what came.
fn run(bench: &mut Bench, conn: ConnId, time: Duration) -> Vec<u8> {
    let end = bench.now + time;
    let mut received = bench.take_all(conn);
    while let Some(next) = bench.service.next_timeout().filter(|&next| next <= end) {
        bench.now = next.max(bench.now);
        bench.turns(1);
        received.extend(bench.take_all(conn));
    }
    bench.now = end;
    received
}

/// One machine may be fed, and somebody else is.
fn occupied() -> (Bench, Arc<Pacing>, Feed) {
    let (bench, pacing) = paced_bench(PacingConfig {
        machines: NonZeroU32::new(1),
        ..PacingConfig::default()
    });
    let other = IpAddr::from([192, 0, 2, 99]);
    let feed = pacing.begin(other, "", true, bench.now);
    (bench, pacing, feed)
}

#[test]
fn a_body_takes_as_long_as_its_rate_says() {
    for kind in [ListenerKind::Http, ListenerKind::Https] {
        let (mut bench, _) = paced_bench(PacingConfig {
            per_machine: NonZeroU64::new(1_000_000),
            ..PacingConfig::default()
        });
        let conn = bench.accept(1, kind);
        if kind == ListenerKind::Https {
            let mut client = sealed::client(true);
            client.writer().write_all(FETCH).unwrap();
            sealed::exchange(&mut bench, conn, &mut client);
        } else {
            bench.receive(conn, FETCH);
        }
        let second = run(&mut bench, conn, Duration::from_secs(1)).len();
        assert!((850_000..1_150_000).contains(&second), "{kind:?} {second}");
        let rest = run(&mut bench, conn, Duration::from_secs(3)).len();
        assert!(second + rest > LARGE_LENGTH, "{kind:?}");
    }
}

#[test]
fn a_limit_that_is_lifted_lets_the_rest_go_at_once() {
    let (mut bench, pacing) = paced_bench(PacingConfig {
        total: NonZeroU64::new(200_000),
        ..PacingConfig::default()
    });
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    let slow = run(&mut bench, conn, Duration::from_secs(1)).len();
    assert!(slow < 300_000, "{slow}");
    pacing.set(PacingConfig::default());
    let rest = run(&mut bench, conn, Duration::from_millis(200)).len();
    assert!(slow + rest > LARGE_LENGTH);
}

#[test]
fn a_rested_connection_is_not_taken_for_a_stalled_client_and_a_stalled_one_is() {
    let (mut bench, _) = paced_bench(PacingConfig {
        per_machine: NonZeroU64::new(limits::SLOWEST),
        ..PacingConfig::default()
    });
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    let received = run(&mut bench, conn, 2 * limits::HTTP_STALL).len();
    assert!(!bench.closed(conn) && received > 1_500_000, "{received}");
    bench.told();
    // The next piece is on its way, and nobody takes it.
    bench.pass(limits::HTTP_STALL);
    bench.pass(limits::HTTP_STALL);
    assert_eq!(bench.refusals(), ["http.stalled"]);
}

#[test]
fn a_response_waits_for_its_turn_before_its_head_is_sent() {
    let (mut bench, _, feed) = occupied();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH_HUGE);
    assert_eq!(run(&mut bench, conn, Duration::from_secs(3)), b"");
    let told = bench.told();
    let queued = |what: &What| matches!(what, What::Queued { place: 1, of: 1 });
    assert_eq!(told.iter().filter(|what| queued(what)).count(), 1);
    assert!(!told.iter().any(|what| matches!(what, What::Started { .. })));
    drop(feed);
    let received = run(&mut bench, conn, limits::PLACE_KEPT);
    assert!(split(&received).1 == content(HUGE_LENGTH));
    let told = bench.told();
    assert!(matches!(
        told[..],
        [What::Started { .. }, .., What::Finished { .. }]
    ));
    assert!(bench.counted(r#"bootstorm_http_responses_total{protocol="http",status="2xx"} 1"#));
}

#[test]
fn who_waits_too_long_is_told_when_to_come_back_and_keeps_its_place() {
    let (mut bench, pacing, _feed) = occupied();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH_HUGE);
    assert_eq!(run(&mut bench, conn, limits::HTTP_TURN / 2), b"");
    let received = run(&mut bench, conn, limits::HTTP_TURN);
    assert_eq!(status(&received), 503);
    let head = split(&received).0;
    assert!(
        head.to_ascii_lowercase().contains("\r\nretry-after: "),
        "{head}"
    );
    assert_eq!(bench.refusals(), ["http.queued"]);
    let late = IpAddr::from([192, 0, 2, 8]);
    assert!(matches!(pacing.ask(late, bench.now), Turn::Later(place) if place.number == 2));
    assert!(bench.counted(r#"bootstorm_http_responses_total{protocol="http",status="2xx"} 0"#));
}

#[test]
fn firmware_is_told_before_it_gives_up() {
    let (mut bench, _, _feed) = occupied();
    let conn = bench.accept(1, ListenerKind::Http);
    let request = String::from_utf8(FETCH_HUGE.to_vec()).unwrap();
    bench.receive(conn, request.replace("curl", "UefiHttpBoot/1.0").as_bytes());
    let received = run(&mut bench, conn, limits::HTTP_TURN_FIRMWARE);
    assert_eq!(status(&received), 503);
}

#[test]
fn small_files_parts_and_heads_do_not_wait() {
    let (mut bench, _, _feed) = occupied();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    assert_eq!(status(&bench.take_all(conn)), 200);
    let request = String::from_utf8(FETCH_HUGE.to_vec()).unwrap();
    bench.receive(conn, request.replace("GET", "HEAD").as_bytes());
    assert_eq!(status(&bench.take_all(conn)), 200);
    let part = request.replace("Host", "Range: bytes=1000000-1100000\r\nHost");
    bench.receive(conn, part.as_bytes());
    assert_eq!(status(&bench.take_all(conn)), 206);
}

#[test]
fn who_leaves_while_it_waits_is_forgotten() {
    let (mut bench, pacing, feed) = occupied();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH_HUGE);
    let gone = Some(ErrorKind::ConnectionReset);
    bench
        .service
        .closed(&mut bench.driver, conn, gone, bench.now);
    assert!(bench.closed(conn));
    assert_eq!(bench.service.open(), 0);
    drop(feed);
    let other = IpAddr::from([192, 0, 2, 8]);
    let later = bench.now + limits::QUEUE_FORGETS;
    assert_eq!(pacing.ask(other, later), Turn::Now);
}
