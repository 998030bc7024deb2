use sha2::{Digest as _, Sha256};

use super::request::Agent;
use super::*;
use crate::machine::body::Keep;
use crate::machine::event::Transport;
use crate::machine::plan::Expected;
use crate::machine::profile::Profile;
use crate::machine::simulated::web::{Reply, Sim, ok, status};

fn get(url: &str) -> Request {
    Request {
        agent: Agent::Ipxe,
        method: Method::Get,
        url: Url::parse(url).unwrap(),
        form: None,
        keep: Keep::Text(100),
        quiet: QUIET,
    }
}

fn asked(
    sim: &mut Sim,
    client: &mut Client,
    url: &str,
    server: impl FnMut(&str) -> Reply,
) -> Result<Answer, Finding> {
    client.begin(get(url), &mut sim.world())?;
    sim.play(client, server)
}

/// What one answer comes to, whatever pieces it comes in.
fn outcome(reply: &Reply) -> (Result<Vec<u8>, Code>, Vec<Code>) {
    let outcomes = [usize::MAX, 1, 3, 7].map(|piece| {
        let mut sim = Sim::new(Profile::IpxeHttp);
        sim.piece = piece;
        let mut client = Client::default();
        let answer = asked(&mut sim, &mut client, "http://10.99.0.2/a", |_| {
            reply.clone()
        });
        let body = answer.map(|answer| answer.fetched.text.unwrap_or_default());
        (body.map_err(|finding| finding.code), sim.found())
    });
    let [first, others @ ..] = outcomes;
    for other in others {
        assert_eq!(other, first);
    }
    first
}

fn send(text: &str) -> Reply {
    Reply::Send(text.as_bytes().to_vec())
}

fn last(text: &str) -> Reply {
    Reply::Last(text.as_bytes().to_vec())
}

#[test]
fn requests_are_written_as_real_clients_write_them() {
    let plain = get("http://10.99.0.2/nowim.ipxe").written();
    let real = include_bytes!(
        "../../../../tests/fixtures/script-ovmf25-snponly-sid_efi-nowim_ipxe-http/17-http-head.txt"
    );
    assert_eq!(plain, real);
    let mut form = get("http://10.99.0.2/reply");
    let pairs = "mac=52%3A54%3A00%3A99%3A00%3A01&uuid=11223344-5566-7788-99aa-bbccddeeff00&\
                 name=a%20b%26c%3Dd";
    form.form = Some(pairs.to_owned());
    let real = include_str!("../../../../tests/fixtures/post-snponly-sid_efi/18-http-head.txt");
    assert_eq!(
        String::from_utf8(form.written()).unwrap(),
        format!("{real}{pairs}")
    );
    let firmware = Request {
        agent: Agent::Edk2,
        method: Method::Head,
        ..get("http://10.99.0.2:8080/a.efi")
    };
    assert_eq!(
        String::from_utf8(firmware.written()).unwrap(),
        "HEAD /a.efi HTTP/1.1\r\nHost: 10.99.0.2\r\nAccept: */*\r\n\
         User-Agent: UefiHttpBoot/1.0\r\n\r\n"
    );
}

#[test]
fn bodies_end_where_their_head_says() {
    let clean = |text: &str| (Ok(text.as_bytes().to_vec()), Vec::new());
    assert_eq!(outcome(&ok("body")), clean("body"));
    assert_eq!(outcome(&ok("")), clean(""));
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3;x=y\r\nabc\r\n00a \r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
    assert_eq!(outcome(&send(chunks)), clean("abc0123456789"));
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    assert_eq!(outcome(&send(interim)), clean("a"));
    let (body, found) = outcome(&last("HTTP/1.0 200 OK\r\n\r\nall of it"));
    assert_eq!(
        (body, found),
        (Ok(b"all of it".to_vec()), vec![Code::HttpNoLength])
    );
}

#[test]
fn every_wrong_answer_has_its_name() {
    let failed = |reply: Reply| outcome(&reply).0.unwrap_err();
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody";
    assert_eq!(failed(last(whole)), Code::HttpShortBody);
    let broken = Reply::Break(whole.as_bytes().to_vec(), "connection reset");
    assert_eq!(failed(broken), Code::HttpReset);
    assert_eq!(failed(send(whole)), Code::HttpSilent);
    assert_eq!(failed(Reply::Nothing), Code::HttpSilent);
    assert_eq!(failed(last("")), Code::HttpClosedEarly);
    assert_eq!(
        failed(last("HTTP/1.1 200 OK\r\nCont")),
        Code::HttpClosedEarly
    );
    assert_eq!(
        failed(send("220 smtp.example ESMTP\r\n\r\n")),
        Code::HttpMalformed
    );
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(head::HEAD_MAX));
    assert_eq!(failed(send(&endless)), Code::HttpMalformed);
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(failed(send(two)), Code::HttpMalformed);
    assert_eq!(
        failed(send(&"HTTP/1.1 103 Early\r\n\r\n".repeat(9))),
        Code::HttpMalformed
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["x\r\n", "\r\n", "2\r\nabc\r\n", "11111111111111111\r\n"] {
        assert_eq!(
            failed(send(&format!("{chunked}{chunks}"))),
            Code::HttpBadChunk
        );
    }
    for code in [400, 401, 403, 404, 500, 503] {
        assert_eq!(failed(status(code, "")), Code::HttpStatus);
    }
    assert_eq!(failed(status(302, "")), Code::HttpStatus);
    assert_eq!(failed(status(302, "Location: /a\r\n")), Code::HttpRedirects);
    assert_eq!(
        failed(status(302, "Location: ftp://a/b\r\n")),
        Code::UrlScheme
    );
}

#[test]
fn bytes_behind_an_answer_are_told_and_end_the_connection() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let long = send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more");
    let answer = asked(&mut sim, &mut client, "http://10.99.0.2/a", |_| {
        long.clone()
    })
    .unwrap();
    assert_eq!(answer.fetched.bytes, 4);
    assert_eq!(sim.found(), [Code::HttpLongBody]);
    let _ = asked(&mut sim, &mut client, "http://10.99.0.2/b", |_| ok("")).unwrap();
    assert_eq!(sim.connects.len(), 2);
}

#[test]
fn a_connection_is_kept_for_the_same_place_alone() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    for url in [
        "http://10.99.0.2/a",
        "http://10.99.0.2/b",
        "http://boot.example/c",
        "http://10.99.0.2:8050/d",
        "https://boot.example/e",
        "https://10.99.0.2/f",
    ] {
        let _ = asked(&mut sim, &mut client, url, |_| ok("x")).unwrap();
    }
    let tls = |name: &str| Some(name.to_owned());
    let wanted = [
        (80, None),
        (8050, None),
        (443, tls("boot.example")),
        (443, tls("10.99.0.2")),
    ];
    assert_eq!(sim.connects, wanted);
    assert!(sim.requests[3].contains("\r\nHost: 10.99.0.2:8050\r\n"));
    let handshakes = sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::Handshake { .. }));
    assert_eq!(handshakes.count(), 2);
    let by_tls = sim.events.contains(&Event::Received(Transport::Https, 1));
    assert!(by_tls);
}

#[test]
fn a_scenario_may_want_a_connection_for_each_request() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    sim.plan.keep_alive = false;
    let mut client = Client::default();
    for url in ["http://10.99.0.2/a", "http://10.99.0.2/b"] {
        let _ = asked(&mut sim, &mut client, url, |_| ok("x")).unwrap();
    }
    assert_eq!(sim.connects, [(80, None), (80, None)]);
}

#[test]
fn a_request_that_met_the_end_of_an_idle_connection_is_sent_once_more() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let url = "http://10.99.0.2/a";
    let _ = asked(&mut sim, &mut client, url, |_| ok("x")).unwrap();
    let mut replies = vec![ok("y"), last("")];
    let answer = asked(&mut sim, &mut client, url, |_| replies.pop().unwrap()).unwrap();
    assert_eq!(answer.fetched.text.unwrap(), b"y");
    assert_eq!(sim.connects.len(), 2);
    assert!(sim.events.contains(&Event::Resent(Transport::Http)));
    // On the new connection, closing is no accident.
    let mut replies = vec![last(""), last("")];
    let finding = asked(&mut sim, &mut client, url, |_| replies.pop().unwrap()).unwrap_err();
    assert_eq!(finding.code, Code::HttpClosedEarly);
}

#[test]
fn redirects_are_followed_and_servers_that_are_busy_asked_again() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let answer = asked(
        &mut sim,
        &mut client,
        "http://10.99.0.2/a/b?c",
        |request| match request.split(' ').nth(1).unwrap() {
            "/a/b?c" => status(302, "Location: ../d\r\nConnection: close\r\n"),
            _ => ok("x"),
        },
    );
    assert_eq!(answer.unwrap().url.to_string(), "http://10.99.0.2/d");
    let mut replies = vec![
        ok("z"),
        status(503, "Retry-After: soon\r\n"),
        status(503, "Retry-After: 30\r\n"),
    ];
    let answer = asked(&mut sim, &mut client, "http://10.99.0.2/e", |_| {
        replies.pop().unwrap()
    });
    assert_eq!(answer.unwrap().fetched.text.unwrap(), b"z");
    assert_eq!(sim.took(), Duration::from_secs(35));
}

#[test]
fn bodies_are_compared_with_what_is_known_of_them() {
    let digest: [u8; 32] = Sha256::digest(b"body").into();
    let etag = |server: &str, etag: &str| {
        send(&format!(
            "HTTP/1.1 200 OK\r\nServer: {server}\r\nETag: {etag}\r\nContent-Length: 4\r\n\r\nbody"
        ))
    };
    let whole = hex::encode(digest);
    let verified = |reply: Reply, expected: Option<[u8; 32]>| {
        let mut sim = Sim::new(Profile::IpxeHttp);
        let expected = expected.map(|sha256| Expected {
            name: "img/a".to_owned(),
            sha256,
        });
        sim.plan.expected.extend(expected);
        let mut request = get("http://10.99.0.2/img/a");
        request.keep = Keep::Discard;
        let mut client = Client::default();
        client.begin(request, &mut sim.world()).unwrap();
        let answer = sim.play(&mut client, |_| reply.clone());
        answer.map_err(|finding| finding.code)?;
        let [file] = sim.files()[..] else { panic!() };
        assert_eq!(file.sha256, Some(digest));
        Ok(file.verified)
    };
    let wrong = Err(Code::BodyWrongSha256);
    assert_eq!(verified(ok("body"), None), Ok(false));
    assert_eq!(verified(ok("body"), Some(digest)), Ok(true));
    assert_eq!(verified(ok("body"), Some([0; 32])), wrong);
    let half = format!("\"{}\"", &whole[..32]);
    assert_eq!(verified(etag("bootstorm", &half), None), Ok(true));
    let other = format!("\"{}\"", "0".repeat(32));
    assert_eq!(verified(etag("bootstorm", &other), None), wrong);
    // Another server's may be an MD5 of something.
    assert_eq!(verified(etag("nginx", &other), None), Ok(false));
    assert_eq!(
        verified(etag("nginx", &format!("\"{whole}\"")), None),
        Ok(true)
    );
    assert_eq!(verified(etag("nginx", "W/\"1-2\""), None), Ok(false));
}

#[test]
fn what_is_made_for_one_machine_is_not_to_be_compared_with_anothers() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let url = "http://10.99.0.2/boot?token=secret";
    let _ = asked(&mut sim, &mut client, url, |_| ok("#!ipxe")).unwrap();
    let [file] = sim.files()[..] else { panic!() };
    assert_eq!(
        (file.name.as_str(), file.sha256),
        ("http://10.99.0.2/boot", None)
    );
}

#[test]
fn a_token_in_a_query_is_sent_and_not_told() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let url = "http://10.99.0.2/boot?token=s3cret";
    let found = asked(&mut sim, &mut client, url, |_| status(404, "")).unwrap_err();
    assert!(sim.requests[0].contains("token=s3cret"));
    assert_eq!(found.evidence, "http://10.99.0.2/boot?token=...: HTTP 404");
    let world = sim.world();
    let told: Vec<&str> = world.trace.lines().map(|(_, _, text)| text).collect();
    assert!(
        told.contains(&"GET http://10.99.0.2/boot?token=..."),
        "{told:?}"
    );
    assert!(!told.join(" ").contains("s3cret"), "{told:?}");
}

#[test]
fn a_name_without_an_address_is_told() {
    let mut sim = Sim::new(Profile::IpxeHttp);
    let mut client = Client::default();
    let finding = client
        .begin(get("http://else.example/"), &mut sim.world())
        .unwrap_err();
    assert_eq!(finding.code, Code::UrlNameUnknown);
}

#[test]
fn why_a_connection_does_not_come_up_is_told() {
    let mut sim = Sim::new(Profile::IpxeHttps);
    for (url, reason, code) in [
        (
            "https://10.99.0.2/",
            "tls: unknown issuer",
            Code::TlsRefused,
        ),
        ("https://10.99.0.2/", "connect: refused", Code::HttpRefused),
        ("http://10.99.0.2/", "connect: refused", Code::HttpRefused),
    ] {
        let mut client = Client::default();
        client.begin(get(url), &mut sim.world()).unwrap();
        let progress = client.handle(Input::Broken(reason), &mut sim.world());
        let Progress::Failed(finding) = progress else {
            panic!()
        };
        assert_eq!(finding.code, code);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Bytes near enough to an answer to get far.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just("HTTP/1.1 200 OK\r\n".to_owned()),
            Just("HTTP/1.1 503 Busy\r\n".to_owned()),
            Just("Content-Length: 5\r\n".to_owned()),
            Just("Content-Length: 99999999999999999999\r\n".to_owned()),
            Just("Transfer-Encoding: chunked\r\n".to_owned()),
            Just("Location: /x\r\n".to_owned()),
            Just("Retry-After: 4294967295\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("5\r\nabcde\r\n".to_owned()),
            Just("ffffffffffffffff\r\n".to_owned()),
            Just("0\r\n\r\n".to_owned()),
            "\\PC{0,20}",
        ];
        let parts = proptest::collection::vec(part, 0..12);
        let text = parts.prop_map(|parts| parts.concat().into_bytes());
        prop_oneof![text, proptest::collection::vec(any::<u8>(), 0..200)]
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_hangs_or_depends_on_its_pieces(
            bytes in answers(),
            piece in 1_usize..40,
            ends in any::<bool>(),
        ) {
            let play = |piece: usize| {
                let mut sim = Sim::new(Profile::IpxeHttp);
                sim.piece = piece;
                let mut client = Client::default();
                let mut left = 20_u32;
                asked(&mut sim, &mut client, "http://10.99.0.2/a", |_| {
                    left = left.saturating_sub(1);
                    match left {
                        0 => Reply::Nothing,
                        _ if ends => Reply::Last(bytes.clone()),
                        _ => Reply::Send(bytes.clone()),
                    }
                })
                .map(|answer| (answer.url, answer.fetched))
                .map_err(|finding| finding.code)
            };
            prop_assert_eq!(play(piece), play(usize::MAX));
        }
    }
}
