//! ClientHellos cut from captures of real firmware, straight into the server.

use super::*;

const OVMF_2022_11: &str =
    include_str!("../../../../../tests/fixtures/tls/ovmf_2022_11/client_hello.hex");
const OVMF_2025_02: &str =
    include_str!("../../../../../tests/fixtures/tls/ovmf_2025_02/client_hello.hex");
const IPXE_1_21_1: &str =
    include_str!("../../../../../tests/fixtures/tls/ipxe_1_21_1/client_hello.hex");
const IPXE_2_0: &str = include_str!("../../../../../tests/fixtures/tls/ipxe_2_0/client_hello.hex");
const IPXE_2_0_GOODBYE: &str =
    include_str!("../../../../../tests/fixtures/tls/ipxe_2_0/goodbye.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .trim()
        .chars()
        .map(|c| c.to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

fn greeted(hello: &str, dhe: bool) -> (Stream, Result<Fed, String>, Vec<u8>) {
    let mut stream = Stream::new(config(dhe)).unwrap();
    let mut plaintext = Vec::new();
    let fed = stream.feed(&bytes(hello), &mut plaintext);
    assert!(plaintext.is_empty());
    let mut out = Vec::new();
    stream.flush(&mut out);
    let fed = fed.map_err(|reason| format!("{} {}", reason.code, reason.text));
    (stream, fed, out)
}

// The suite that the ServerHello on the wire names.
fn server_hello_suite(out: &[u8]) -> u16 {
    assert_eq!(
        (out[0], out[5]),
        (22, 2),
        "a handshake record with a ServerHello"
    );
    let session = usize::from(out[5 + 4 + 2 + 32]);
    let at = 5 + 4 + 2 + 32 + 1 + session;
    u16::from_be_bytes([out[at], out[at + 1]])
}

#[test]
fn firmware_that_names_no_group_gets_dhe_over_ffdhe2048() {
    for hello in [OVMF_2022_11, OVMF_2025_02] {
        let (stream, fed, out) = greeted(hello, true);
        assert_eq!(fed, Ok(Fed::Open));
        assert_eq!(server_hello_suite(&out), 0x009e);
        assert_eq!(
            suite_of(&stream),
            Some(CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256)
        );
        // The prime of RFC 7919 A.1 travels in the ServerKeyExchange, after its length.
        let prime = rustls::ffdhe_groups::FFDHE2048.p;
        let sent = [&[1, 0][..], prime].concat();
        assert!(out.windows(sent.len()).any(|w| w == sent));
    }
}

#[test]
fn firmware_without_a_common_suite_is_refused_with_what_it_offered() {
    for hello in [OVMF_2022_11, OVMF_2025_02] {
        let (_, fed, out) = greeted(hello, false);
        let reason = fed.unwrap_err();
        assert!(reason.starts_with("tls.no-common-suite "), "{reason}");
        assert!(reason.contains("(offered: 009f 009e 006b"), "{reason}");
        assert_eq!(out, [21, 3, 3, 0, 2, 2, 40], "alert handshake_failure");
    }
}

#[test]
fn ipxe_gets_ecdhe_although_it_knows_dhe() {
    for hello in [IPXE_1_21_1, IPXE_2_0] {
        let (_, fed, out) = greeted(hello, true);
        assert_eq!(fed, Ok(Fed::Open));
        assert_eq!(server_hello_suite(&out), 0xc02f);
    }
}

#[test]
fn the_goodbye_of_ipxe_in_the_handshake_is_an_unknown_ca() {
    let (mut stream, fed, _) = greeted(IPXE_2_0, true);
    assert_eq!(fed, Ok(Fed::Open));
    let reason = stream
        .feed(&bytes(IPXE_2_0_GOODBYE), &mut Vec::new())
        .unwrap_err();
    assert_eq!(reason.code, "tls.unknown-ca");
}

#[test]
fn a_client_that_closes_after_the_certificate_has_an_unknown_ca() {
    let (stream, ..) = greeted(IPXE_1_21_1, true);
    assert_eq!(stream.cut(false).unwrap().code, "tls.unknown-ca");
    let mut early = Stream::new(config(true)).unwrap();
    let hello = bytes(IPXE_1_21_1);
    assert_eq!(early.feed(&hello[..20], &mut Vec::new()), Ok(Fed::Open));
    assert_eq!(early.cut(false).unwrap().code, "tls.handshake-cut");
}

#[test]
fn the_end_of_a_connection_during_the_handshake_is_a_failure_but_a_port_probe_is_none() {
    let (stream, ..) = greeted(OVMF_2022_11, true);
    assert_eq!(stream.cut(true).unwrap().code, "tls.handshake-cut");
    assert_eq!(Stream::new(config(true)).unwrap().cut(false), None);
}

#[test]
fn hellos_arrive_in_any_pieces() {
    let mut stream = Stream::new(config(true)).unwrap();
    for byte in bytes(OVMF_2025_02) {
        assert_eq!(stream.feed(&[byte], &mut Vec::new()), Ok(Fed::Open));
    }
    assert!(suite_of(&stream).is_some());
}

#[test]
fn other_protocols_on_the_port_are_named() {
    for (bytes, code) in [
        (&b"GET /images/x HTTP/1.1\r\n\r\n"[..], "tls.plain-http"),
        (b"\x00\x01", "tls.not-tls"),
        (b"\x16GET / HTTP/1.0\r\n\r\n", "tls.not-tls"),
        (b"\x16\x03\x01\xff\xff", "tls.handshake-failed"),
    ] {
        let mut stream = Stream::new(config(true)).unwrap();
        let mut plaintext = Vec::new();
        let reason = stream.feed(bytes, &mut plaintext).unwrap_err();
        assert_eq!(reason.code, code, "{reason:?}");
        assert!(plaintext.is_empty());
    }
}

#[test]
fn a_client_of_tls_1_1_is_told_so() {
    let mut hello = bytes(OVMF_2022_11);
    hello[10] = 2;
    let reason = Stream::new(config(true))
        .unwrap()
        .feed(&hello, &mut Vec::new())
        .unwrap_err();
    assert_eq!(reason.code, "tls.old-version");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_hellos_end_in_a_reason_or_wait_for_more(
        flips in proptest::collection::vec((0usize..200, proptest::num::u8::ANY), 1..8),
    ) {
        let mut hello = bytes(IPXE_2_0);
        for (at, value) in flips {
            let length = hello.len();
            hello[at % length] = value;
        }
        let mut stream = Stream::new(config(true)).unwrap();
        if let Err(reason) = stream.feed(&hello, &mut Vec::new()) {
            proptest::prop_assert!(reason.code.starts_with("tls."));
        }
    }
}
