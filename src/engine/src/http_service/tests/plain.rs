//! Plain HTTP.

use bootstorm_proto::http::{BODY_MAX, Method};

use super::*;

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

fn open() -> (Bench, ConnId) {
    let mut bench = Bench::new();
    let conn = bench.accept(0, ListenerKind::Http);
    (bench, conn)
}

fn fetch(bench: &mut Bench, conn: ConnId, path: &str, fields: &str) -> (String, Vec<u8>) {
    bench.receive(conn, &get(path, fields));
    split(&bench.take_all(conn))
}

#[test]
fn a_small_file_goes_out_in_one_piece_behind_its_head() {
    let (mut bench, conn) = open();
    let (head, body) = fetch(&mut bench, conn, "/images/boot/SMALL.efi", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for field in [
        "Content-Length: 1000\r\n",
        "Content-Type: application/efi\r\n",
        "Accept-Ranges: bytes\r\n",
        "ETag: \"abababababababababababababababab\"\r\n",
        "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n",
    ] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
    assert_eq!(body, content(1000));
    assert_eq!(bench.driver.0[&0].pieces.len(), 1);
    assert!(!bench.closed(conn));
}

#[test]
fn a_large_file_goes_out_of_the_map_in_bounded_pieces_and_is_told() {
    let (mut bench, conn) = open();
    let (_, body) = fetch(&mut bench, conn, "/images/big.wim", "");
    assert_eq!(body, content(LARGE_LENGTH));
    let pieces = &bench.driver.0[&0].pieces;
    assert_eq!(pieces[1..], [1 << 20, 1 << 20, 1 << 20, 5]);
    let told = bench.told();
    let [
        What::Started {
            id,
            protocol,
            file,
            size,
        },
        What::Finished {
            id: same, bytes, ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((id, *protocol, &**file), (same, Protocol::Http, LARGE));
    assert_eq!((*size, *bytes), (LARGE_LENGTH as u64, LARGE_LENGTH as u64));
    assert!(bench.counted(r#"bootstorm_http_responses_total{protocol="http",status="2xx"} 1"#));
}

#[test]
fn progress_is_told_at_most_twice_a_second() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    bench.take(conn);
    for _ in 0..2 {
        bench.now += Duration::from_millis(300);
        bench.take(conn);
    }
    let told = bench.told();
    let [What::Started { .. }, What::Progress { bytes, .. }] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(bytes, 2 << 20);
}

#[test]
fn a_head_alone_is_told_nobody_and_has_no_body() {
    let (mut bench, conn) = open();
    bench.receive(conn, b"HEAD /images/big.wim HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = split(&bench.take_all(conn));
    assert!(head.contains(&format!("Content-Length: {LARGE_LENGTH}\r\n")));
    assert_eq!((body.len(), bench.told().len()), (0, 0));
}

#[test]
fn ranges_and_conditions_select_what_is_sent() {
    let (mut bench, conn) = open();
    let path = "/images/boot/small.efi";
    let (head, body) = fetch(&mut bench, conn, path, "Range: bytes=990-\r\n");
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    assert!(head.contains("Content-Range: bytes 990-999/1000\r\n"));
    assert_eq!(body, content(1000)[990..]);
    let (head, body) = fetch(&mut bench, conn, path, "Range: bytes=1000-\r\n");
    assert!(head.starts_with("HTTP/1.1 416 "), "{head}");
    assert!(head.contains("Content-Range: bytes */1000\r\n"));
    assert_eq!((body.len(), bench.refusals()), (0, vec!["http.range"]));
    let known = "If-None-Match: \"abababababababababababababababab\"\r\n";
    let (head, body) = fetch(&mut bench, conn, path, known);
    assert!(
        head.starts_with("HTTP/1.1 304 ") && body.is_empty(),
        "{head}"
    );
    let (head, _) = fetch(&mut bench, conn, path, "If-Match: \"x\"\r\n");
    assert!(head.starts_with("HTTP/1.1 412 "), "{head}");
    let (head, body) = fetch(&mut bench, conn, "/images/empty", "");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.is_empty(),
        "{head}"
    );
}

#[test]
fn a_missing_image_is_text_for_people_and_a_script_for_ipxe() {
    let (mut bench, conn) = open();
    let (head, body) = fetch(&mut bench, conn, "/images/none.wim", "");
    assert!(head.starts_with("HTTP/1.1 404 "));
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "there is no such file in the images folder: none.wim (http.not-found)\n"
    );
    let ipxe = "User-Agent: iPXE/2.0\r\n";
    let (head, body) = fetch(&mut bench, conn, "/images/%24%7Bx%7D%20||%20reboot", ipxe);
    let script = String::from_utf8(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(script.starts_with("#!ipxe\n"), "{script}");
    assert!(script.contains("http.not-found"), "{script}");
    assert!(
        !script.contains("${x}") && !script.contains(" || reboot"),
        "{script}"
    );
    let (head, _) = fetch(&mut bench, conn, "/images/../etc/passwd", "");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(
        bench.refusals(),
        ["http.not-found", "http.not-found", "http.forbidden"]
    );
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let (mut bench, conn) = open();
    let burst = [
        get("/images/none", ""),
        get("/boot", ""),
        get("/images/boot/small.efi", ""),
    ];
    bench.receive(conn, &burst.concat());
    assert_eq!(status(&bench.take_all(conn)), 404);
    let ask = bench.asks.try_recv().unwrap();
    bench.answer(ask.ticket, b"#!ipxe\n".to_vec());
    let out = bench.take_all(conn);
    let text = String::from_utf8_lossy(&out);
    let script = text.find("#!ipxe").unwrap();
    let file = text.find("Content-Length: 1000").unwrap();
    assert!(script < file);
}

#[test]
fn everything_else_is_asked_of_the_control_plane_with_the_machines_addresses() {
    let (mut bench, conn) = open();
    bench.receive(
        conn,
        b"POST /boot?x=1 HTTP/1.1\r\nHost: boot:8080\r\nUser-Agent: iPXE/1.21.1\r\nContent-Length: 9\r\n\r\nmac",
    );
    assert!(bench.asks.is_empty());
    bench.receive(conn, b"=52:54");
    let ask = bench.asks.try_recv().unwrap();
    let request = &ask.request;
    assert_eq!(request.client, "192.0.2.7:50000".parse().unwrap());
    assert_eq!(request.local, "192.0.2.1:8080".parse().unwrap());
    assert_eq!((request.method, request.secure), (Method::Post, false));
    assert_eq!((&*request.path, &*request.query), ("/boot", "x=1"));
    assert_eq!(
        (&*request.host, &*request.user_agent),
        ("boot:8080", "iPXE/1.21.1")
    );
    assert_eq!(request.body, b"mac=52:54");
    assert_eq!(ask.ticket.worker, 3);
}

#[test]
fn a_full_queue_is_answered_503_with_a_time_to_come_back() {
    let mut bench = Bench::new();
    for slot in 0..2 {
        let conn = bench.accept(slot, ListenerKind::Http);
        bench.receive(conn, &get("/boot", ""));
    }
    let conn = bench.accept(2, ListenerKind::Http);
    let (head, body) = fetch(&mut bench, conn, "/boot", "User-Agent: iPXE/2.0\r\n");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("Retry-After: 2\r\n"), "{head}");
    assert!(body.starts_with(b"#!ipxe\n"));
    assert!(bench.counted("bootstorm_asks_refused_total 1"));
}

#[test]
fn an_answer_that_does_not_come_is_a_504_and_a_late_one_is_dropped() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/boot", ""));
    let ask = bench.asks.try_recv().unwrap();
    bench.pass(limits::HTTP_ANSWER);
    assert_eq!(status(&bench.take_all(conn)), 504);
    assert!(bench.closed(conn));
    bench.answer(ask.ticket, vec![]);
    assert!(bench.take_all(conn).is_empty());
}

#[test]
fn connections_stay_or_close_as_version_and_header_say() {
    for (request, stays) in [
        ("GET /images/none HTTP/1.1\r\nHost: h\r\n\r\n", true),
        (
            "GET /images/none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            false,
        ),
        ("GET /images/none HTTP/1.0\r\n\r\n", false),
        (
            "GET /images/none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            true,
        ),
    ] {
        let (mut bench, conn) = open();
        bench.receive(conn, request.as_bytes());
        assert_eq!(status(&bench.take_all(conn)), 404);
        assert_eq!(bench.closed(conn), !stays, "{request}");
    }
}

#[test]
fn an_idle_connection_ends_after_a_while() {
    let (mut bench, conn) = open();
    fetch(&mut bench, conn, "/images/none", "");
    bench.pass(limits::HTTP_IDLE - Duration::from_secs(1));
    assert!(!bench.closed(conn));
    bench.pass(Duration::from_secs(1));
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.not-found"]);
}

#[test]
fn a_request_that_trickles_in_is_cut_off() {
    let (mut bench, conn) = open();
    for byte in b"GET /ima" {
        bench.receive(conn, &[*byte]);
        bench.pass(Duration::from_secs(2));
    }
    assert_eq!(status(&bench.take_all(conn)), 408);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.request-timeout"]);
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    bench.take(conn);
    bench.pass(limits::HTTP_STALL);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.stalled"]);
    assert_eq!(bench.service.open(), 0);
}

#[test]
fn a_slow_reader_that_reads_on_is_served_to_the_end() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    while bench.take(conn) {
        bench.pass(limits::HTTP_STALL - Duration::from_secs(1));
    }
    assert!(matches!(bench.told().last(), Some(What::Finished { .. })));
}

#[test]
fn a_client_that_goes_away_breaks_its_transfer() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    bench.take(conn);
    let now = bench.now;
    bench
        .service
        .written(&mut bench.driver, conn, 17, None, now);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.client-gone"]);
    assert_eq!(bench.service.open(), 0);
    assert!(bench.counted(r#"bootstorm_http_active_connections{protocol="http"} 0"#));
}

#[test]
fn a_client_that_only_stops_sending_still_gets_its_answers() {
    let (mut bench, conn) = open();
    let burst = [get("/images/none", ""), get("/images/boot/small.efi", "")];
    bench.receive(conn, &burst.concat());
    let now = bench.now;
    bench.service.closed(&mut bench.driver, conn, None, now);
    assert!(!bench.closed(conn));
    assert!(bench.take_all(conn).ends_with(&content(1000)));
    assert!(bench.closed(conn));
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_sent_as_it_was() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    bench.take(conn);
    bench
        .catalog
        .publish(Snapshot::new([file(LARGE, 10)], vec![]));
    let (_, body) = split(&bench.take_all(conn));
    assert_eq!(body, content(LARGE_LENGTH));
    let (_, body) = fetch(&mut bench, conn, "/images/big.wim", "");
    assert_eq!(body, content(10));
}

#[test]
fn rubbish_is_refused_once_and_the_connection_ends() {
    let malformed = "http.malformed";
    for (bytes, expected, code) in [
        (b"\x00\x01\x02\r\n\r\n".to_vec(), 400, malformed),
        (
            b"BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            405,
            "http.method",
        ),
        (
            get("/boot", "Content-Length: 70000\r\n"),
            413,
            "http.body-too-large",
        ),
        (get("/x%00", ""), 400, "http.bad-target"),
        (
            get("/", &"a: b\r\n".repeat(2000)),
            431,
            "http.head-too-large",
        ),
    ] {
        let (mut bench, conn) = open();
        bench.receive(conn, &bytes);
        assert_eq!(status(&bench.take_all(conn)), expected, "{code}");
        assert!(bench.closed(conn));
        assert_eq!(bench.refusals(), [code]);
    }
}

#[test]
fn more_than_a_request_ahead_of_the_reader_breaks_the_connection() {
    let (mut bench, conn) = open();
    bench.receive(conn, &get("/images/big.wim", ""));
    let ahead = vec![b'x'; BODY_MAX];
    bench.receive(conn, &ahead);
    bench.receive(conn, &ahead);
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.too-much-at-once"]);
}

#[test]
fn expect_100_continue_is_answered_before_the_body_comes() {
    let (mut bench, conn) = open();
    bench.receive(
        conn,
        b"POST /boot HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(bench.take_all(conn), b"HTTP/1.1 100 Continue\r\n\r\n");
    bench.receive(conn, b"a=b");
    assert_eq!(bench.asks.try_recv().unwrap().request.body, b"a=b");
}

#[test]
fn a_crowd_is_told_to_come_back_and_the_rest_is_closed() {
    let mut bench = Bench::new();
    let count = u32::try_from(limits::HTTP_FULL).unwrap();
    for slot in 0..count {
        bench.accept(slot, ListenerKind::Http);
    }
    let conn = bench.accept(count, ListenerKind::Http);
    let (head, _) = split(&bench.take_all(conn));
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert!(bench.closed(conn));
    let secure = bench.accept(count + 1, ListenerKind::Https);
    assert!(bench.closed(secure));
    assert_eq!(bench.service.open(), limits::HTTP_FULL);
    let beyond = bench.accept(u32::MAX, ListenerKind::Http);
    assert!(bench.closed(beyond));
}

#[test]
fn draining_closes_idle_connections_now_and_busy_ones_after_their_response() {
    let mut bench = Bench::new();
    let idle = bench.accept(0, ListenerKind::Http);
    let busy = bench.accept(1, ListenerKind::Http);
    bench.receive(busy, &get("/images/big.wim", ""));
    let now = bench.now;
    bench.service.drain(&mut bench.driver, now);
    assert!(bench.closed(idle) && !bench.closed(busy));
    let (_, body) = split(&bench.take_all(busy));
    assert_eq!(body.len(), LARGE_LENGTH);
    assert!(bench.closed(busy));
    assert_eq!(bench.service.open(), 0);
    let late = bench.accept(2, ListenerKind::Http);
    assert!(bench.closed(late));
}

#[test]
fn events_of_a_connection_that_is_gone_change_nothing() {
    let (mut bench, conn) = open();
    let stranger = ConnId {
        slot: 0,
        generation: 8,
    };
    bench.receive(stranger, &get("/boot", ""));
    assert!(bench.asks.is_empty());
    let now = bench.now;
    bench
        .service
        .written(&mut bench.driver, stranger, 5, None, now);
    assert!(!bench.closed(conn));
    assert_eq!(bench.service.open(), 1);
}
