//! Plain HTTP.

use std::io::{Read, Write};
use std::net::Shutdown;

use bootstorm_telemetry::event::What;

use crate::lab::{DRIVERS, HUGE, LARGE, Lab, TAIL, each_driver, response};

const SMALL: &[u8] = b"GET /images/small.efi HTTP/1.1\r\nHost: h\r\n\r\n";
const LARGE_REQUEST: &[u8] = b"GET /images/large.wim HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn curl_fetches_files_and_parts_of_them() {
    each_driver(|lab| {
        let url = |name: &str| format!("http://{}/images/{name}", lab.http);
        let large = lab.content("large.wim");
        assert!(lab.curl(&[&url("large.wim")]).stdout == large);
        let part = lab.curl(&["-r", "1000000-4000000", &url("LARGE.wim")]);
        assert!(part.stdout == large[1_000_000..=4_000_000]);
        let head = lab.curl(&["-I", &url("small.efi")]).stdout;
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("Content-Length: 2000\r\n"), "{head}");
    });
}

#[test]
fn curl_keeps_its_connection_and_its_copy() {
    each_driver(|lab| {
        let url = format!("http://{}/images/small.efi", lab.http);
        let said = lab.curl(&[
            "-w",
            "%{num_connects} ",
            "-o",
            "/dev/null",
            &url,
            "-o",
            "/dev/null",
            &url,
        ]);
        assert_eq!(said.stdout, b"1 0 ");
        let since = "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT";
        let said = lab.curl(&["-w", "%{http_code}", "-H", since, &url]);
        assert_eq!(said.stdout, b"304");
        let said = lab.curl(&["-w", "%{http_code}", "-r", "2000-", &url]);
        assert_eq!(said.stdout, b"416");
    });
}

#[test]
fn the_control_plane_answers_everything_else() {
    each_driver(|lab| {
        let url = format!("http://{}/boot", lab.http);
        let said = lab.curl(&["-d", "mac=52:54:00:12:34:56", &url]).stdout;
        assert_eq!(said, b"#!ipxe\necho http /boot mac=52:54:00:12:34:56\n");
        let urls = [&*url; 20];
        assert_eq!(
            lab.curl(&urls).stdout,
            b"#!ipxe\necho http /boot \n".repeat(20)
        );
    });
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    each_driver(|lab| {
        let mut socket = lab.connect();
        let boot = b"GET /boot HTTP/1.1\r\nHost: h\r\n\r\n";
        let missing = b"GET /images/none HTTP/1.1\r\nHost: h\r\n\r\n";
        socket
            .write_all(&[SMALL, boot, missing, LARGE_REQUEST, SMALL].concat())
            .unwrap();
        let small = lab.content("small.efi");
        assert_eq!(response(&mut socket).1, small);
        assert!(response(&mut socket).1.starts_with(b"#!ipxe\n"));
        assert!(response(&mut socket).0.starts_with("HTTP/1.1 404 "));
        assert!(response(&mut socket).1 == lab.content("large.wim"));
        assert_eq!(response(&mut socket).1, small);
    });
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer_and_then_the_end() {
    each_driver(|lab| {
        let mut socket = lab.connect();
        socket.write_all(LARGE_REQUEST).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let (_, body) = response(&mut socket);
        assert!(body == lab.content("large.wim"));
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    each_driver(|lab| {
        let mut lazy: Vec<_> = (0..8).map(|_| lab.connect()).collect();
        for socket in &mut lazy {
            socket.write_all(LARGE_REQUEST).unwrap();
        }
        let mut quick = lab.connect();
        for _ in 0..100 {
            quick.write_all(SMALL).unwrap();
            assert_eq!(response(&mut quick).1.len(), 2000);
        }
        for socket in &mut lazy {
            assert_eq!(response(socket).1.len(), LARGE);
        }
    });
}

#[test]
fn a_client_that_goes_away_is_told_as_a_broken_transfer() {
    each_driver(|lab| {
        let mut socket = lab.connect();
        socket.write_all(LARGE_REQUEST).unwrap();
        socket.read_exact(&mut [0; 100]).unwrap();
        let client = socket.local_addr().unwrap().ip();
        drop(socket);
        let ip = lab.event(|event| match &event.what {
            What::Broken { reason, .. } if reason.code == "http.client-gone" => event.ip,
            _ => None,
        });
        assert_eq!(ip, client);
    });
}

#[test]
fn winboot_13_files_beyond_4_gib_are_served_at_any_place() {
    each_driver(|lab| {
        let url = format!("http://{}/images/huge.iso", lab.http);
        let head = String::from_utf8(lab.curl(&["-I", &url]).stdout).unwrap();
        assert!(
            head.contains(&format!("Content-Length: {HUGE}\r\n")),
            "{head}"
        );
        let border = 1_u64 << 32;
        let range = format!("{}-{}", border - (1 << 20), border + (1 << 20));
        let across = lab.curl(&["-r", &range, &url]).stdout;
        assert!(across.len() == (2 << 20) + 1 && across.iter().all(|&b| b == 0));
        assert_eq!(lab.curl(&["-r", "-5", &url]).stdout, TAIL);
    });
}

#[test]
fn rubbish_is_refused_and_the_connection_ends() {
    each_driver(|lab| {
        for (bytes, answer, code) in [
            (
                &b"\x16\x03\x01\x00\x10hello\r\n\r\n"[..],
                "HTTP/1.1 400 ",
                "http.malformed",
            ),
            (
                b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
                "HTTP/1.1 405 ",
                "http.method",
            ),
        ] {
            let mut socket = lab.connect();
            socket.write_all(bytes).unwrap();
            let mut said = String::new();
            socket.read_to_string(&mut said).unwrap();
            assert!(said.starts_with(answer), "{said}");
            assert_eq!(lab.failure(), code);
        }
    });
}

#[test]
fn draining_waits_for_bodies_under_way() {
    for driver in DRIVERS {
        let lab = Lab::start(driver);
        let idle = lab.connect();
        let mut socket = lab.connect();
        socket.write_all(LARGE_REQUEST).unwrap();
        // The transfer has begun once its event is there.
        lab.event(|event| matches!(event.what, What::Started { .. }).then_some(()));
        let drained = std::thread::spawn(move || lab.drain());
        assert_eq!(response(&mut socket).1.len(), LARGE);
        assert!(drained.join().unwrap());
        drop(idle);
    }
}
