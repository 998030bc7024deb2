//! What holds for all bytes.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use bootstorm_proto::dhcp::{
    Answer, BiosOffer, IpxeOption, Port, REPLY_MAX, Request, Seen, Style, UefiOffer, overheard,
    sniff, v6,
};
use dhcproto::v4::borrowed::Message;
use dhcproto::{Decodable as _, Decoder};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures;
use crate::packets::{Ask, SERVER};

/// Everything that may be done with a datagram from the network.
fn swallow(bytes: &[u8], port: Port) {
    let seen = Seen {
        port,
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 68),
        local: SERVER,
        interface: 1,
        broadcast: false,
    };
    let _ = sniff(bytes);
    let _ = overheard(bytes);
    let mut buf = [0; REPLY_MAX];
    if let Ok(request) = Request::read(bytes, &seen) {
        assert!(!request.facts().arches.is_empty());
        let answer = crate::golden::boot(request.facts());
        for uefi in [UefiOffer::TwoStep, UefiOffer::AllInOne] {
            let style = Style {
                uefi,
                bios: BiosOffer::Menu,
                ipxe: IpxeOption::Url,
                ..Style::default()
            };
            if let Ok(reply) = request.reply(&answer, &style, &mut buf) {
                // Whoever it was: what goes out is sound, and gives no address.
                let told = dhcproto::v4::Message::decode(&mut Decoder::new(&buf[..reply.len]));
                assert_eq!(told.unwrap().yiaddr(), Ipv4Addr::UNSPECIFIED);
                assert!(reply.len >= 300);
            }
        }
    }
    swallow_v6(bytes);
}

fn swallow_v6(bytes: &[u8]) {
    let seen = v6::Seen {
        source: SocketAddrV6::new("fe80::1".parse().unwrap(), 546, 0, 1),
        local: "fd99::2".parse().unwrap(),
        interface: 1,
    };
    let mut buf = [0; v6::REPLY_MAX];
    if let Ok(request) = v6::Request::read(bytes, &seen) {
        let answer = crate::golden::boot(request.facts());
        let _ = request.reply(&answer, &Style::default(), &mut buf);
    }
}

/// Changes to a sound packet that keep most of it.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
    Repeat(Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Mutation::Insert(at, value)),
        1 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Mutation::Repeat(at, len)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Set(at, value) => {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        Mutation::Insert(at, value) => bytes.insert(at.index(bytes.len()), *value),
        Mutation::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Repeat(at, len) => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + usize::from(*len));
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..700)) {
        swallow(&bytes, Port::Dhcp67);
    }

    #[test]
    fn no_options_panic(options in vec(any::<u8>(), 0..600), overload in 0..5_u8) {
        let mut bytes = Ask::discover(7).option(52, &[overload]).bytes();
        bytes.pop();
        bytes.extend_from_slice(&options);
        bytes[44..236].copy_from_slice(&[&options[..], &[0; 192]].concat()[..192]);
        swallow(&bytes, Port::Dhcp67);
        swallow(&bytes, Port::Pxe4011);
    }

    #[test]
    fn no_mutated_fixture_panics(
        at in any::<Index>(),
        mutations in vec(mutation(), 1..8),
    ) {
        let all = packets();
        let mut bytes = all[at.index(all.len())].clone();
        for change in &mutations {
            mutate(&mut bytes, change);
        }
        swallow(&bytes, Port::Dhcp67);
        swallow(&bytes, Port::Pxe4011);
    }

    #[test]
    fn replies_say_to_the_library_what_was_written(
        file in "[a-zA-Z0-9/._-]{1,200}",
        relay_info in vec(any::<u8>(), 0..400),
        machine_id in vec(any::<u8>(), 0..64),
        client_id in vec(any::<u8>(), 0..64),
    ) {
        let mut ask = Ask::boot_service(7);
        for (code, data) in [(82, &relay_info), (97, &machine_id), (61, &client_id)] {
            ask = if data.is_empty() { ask.without(code) } else { ask.option(code, data) };
        }
        let request = ask.read().unwrap();
        let answer = Answer::Boot {
            file: file.as_str().into(),
            server: None,
            delay: 0,
            windows: None,
        };
        let mut buf = [0; REPLY_MAX];
        let reply = request.reply(&answer, &Style::default(), &mut buf).unwrap();
        let message = Message::new(&buf[..reply.len]).unwrap();
        let options: Vec<(u8, Vec<u8>)> = message
            .opts()
            .map(|option| (option.code().into(), option.data().to_vec()))
            .collect();
        let get = |code| options.iter().find(|(known, _)| *known == code).map(|(_, data)| data);
        let text = format!("{file}\0").into_bytes();
        prop_assert_eq!(get(67), Some(&text));
        prop_assert_eq!(get(97).cloned().unwrap_or_default(), machine_id);
        prop_assert_eq!(get(61).cloned().unwrap_or_default(), client_id);
        prop_assert_eq!(get(82).cloned().unwrap_or_default(), relay_info);
        if file.len() < 128 {
            prop_assert_eq!(message.fname(), file.as_bytes());
        }
    }
}

fn packets() -> &'static [Vec<u8>] {
    static ALL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let all = fixtures::all("dhcp").into_iter();
        all.map(|fixture| fixture.bytes).collect()
    })
}

#[test]
fn every_packet_of_the_captures_can_be_watched() {
    let mut leases = 0;
    for fixture in fixtures::all("dhcp-") {
        let sighting = sniff(&fixture.bytes).unwrap();
        assert!(!sighting.from_server && sighting.asker.is_some());
        assert_eq!(sighting.hardware.to_string(), "52:54:00:99:00:01");
        if let SocketAddr::V4(to) = fixture.to {
            leases += usize::from(to.port() == 67 && overheard(&fixture.bytes).is_some());
        }
    }
    assert_eq!(
        leases, 52,
        "each REQUEST to the DHCP server names its address"
    );
}

#[test]
fn a_server_that_claims_pxe_is_recognised() {
    let mut buf = [0; REPLY_MAX];
    let request = Ask::discover(0).read().unwrap();
    let answer = crate::golden::boot(request.facts());
    let reply = request.reply(&answer, &Style::default(), &mut buf).unwrap();
    let sighting = sniff(&buf[..reply.len]).unwrap();
    assert!(sighting.from_server && sighting.vendor_options);
    assert_eq!(sighting.server_id, Some(SERVER));
    assert_eq!(sighting.given, None);
    assert_eq!(sighting.class, Some(bootstorm_proto::dhcp::Class::Pxe));
    assert_eq!(sighting.boot_file.as_deref(), Some("boot/undionly.kpxe"));
    assert!(overheard(&buf[..reply.len]).is_none());
}
