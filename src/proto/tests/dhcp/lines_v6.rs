//! The numbered line of DHCPv6, and what stands around it.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use bootstorm_proto::dhcp::{Asker, Silence, Style, v6};
use dhcproto::v6::{DhcpOption, Message, MessageType, OptionCode, RelayMessage};
use dhcproto::{Decodable as _, Decoder};

use crate::fixtures;

const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);
const MACHINE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe99, 1);
const RELAY: Ipv6Addr = Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 1);
const DUID: [u8; 18] = [
    0, 4, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    0,
];

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [&code.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// A message of x64 UEFI firmware.
fn message(kind: u8) -> Vec<u8> {
    let class = [
        &[0, 0, 1, 0x57, 0, 32][..],
        b"PXEClient:Arch:00007:UNDI:003000",
    ]
    .concat();
    [
        vec![kind, 1, 2, 3],
        option(1, &DUID),
        option(3, &[9, 8, 7, 6, 0, 0, 0, 0, 0, 0, 0, 0]),
        option(6, &[0, 59, 0, 60]),
        option(8, &[0, 0]),
        option(16, &class),
        option(61, &[0, 7]),
        option(62, &[1, 3, 0]),
    ]
    .concat()
}

fn http_message(kind: u8) -> Vec<u8> {
    let class = [
        &[0, 0, 1, 0x57, 0, 33][..],
        b"HTTPClient:Arch:00016:UNDI:003000",
    ]
    .concat();
    [
        vec![kind, 1, 2, 3],
        option(1, &DUID),
        option(16, &class),
        option(61, &[0, 16]),
    ]
    .concat()
}

fn relayed(message: &[u8], hops: u8, interface: &[u8]) -> Vec<u8> {
    [
        vec![12, hops],
        RELAY.octets().to_vec(),
        MACHINE.octets().to_vec(),
        option(18, interface),
        option(9, message),
    ]
    .concat()
}

fn ask(bytes: &[u8]) -> Result<(Vec<u8>, SocketAddrV6), Silence> {
    let seen = v6::Seen {
        source: SocketAddrV6::new(MACHINE, 546, 0, 2),
        local: LOCAL,
        interface: 2,
    };
    let request = v6::Request::read(bytes, &seen)?;
    let mut buf = [0xaa; v6::REPLY_MAX];
    let answer = crate::golden::boot(request.facts());
    let reply = request.reply(&answer, &Style::default(), &mut buf)?;
    Ok((buf[..reply.len].to_vec(), reply.to))
}

fn read(bytes: &[u8]) -> Message {
    Message::decode(&mut Decoder::new(bytes)).unwrap()
}

fn unknown(message: &Message, code: u16) -> Option<Vec<u8>> {
    match message.opts().get(OptionCode::from(code))? {
        DhcpOption::Unknown(option) => Some(option.data().to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn line_16_the_url_has_its_address_in_brackets_and_no_parameters() {
    for (kind, reply) in [(1, MessageType::Advertise), (11, MessageType::Reply)] {
        let (bytes, to) = ask(&message(kind)).unwrap();
        assert_eq!(to, SocketAddrV6::new(MACHINE, 546, 0, 2));
        let told = read(&bytes);
        assert_eq!((told.msg_type(), told.xid()), (reply, [1, 2, 3]));
        let url = unknown(&told, 59).unwrap();
        assert_eq!(url, b"tftp://[fd99::2]/boot/snponly.efi");
        assert_eq!(unknown(&told, 60), None);
        assert!(matches!(
            told.opts().get(OptionCode::ClientId),
            Some(DhcpOption::ClientId(id)) if *id == DUID
        ));
    }
}

#[test]
fn line_16_http_firmware_gets_its_class_and_a_url() {
    let (bytes, _) = ask(&http_message(1)).unwrap();
    let url = unknown(&read(&bytes), 59).unwrap();
    assert_eq!(url, b"http://[fd99::2]:8080/images/boot/snponly.efi");
    assert!(bytes.windows(12).any(|part| part == b"\0\x0aHTTPClient"));
}

#[test]
fn line_16_ipxe_gets_its_script() {
    let class = option(15, b"\0\x04iPXE");
    let (bytes, _) = ask(&[message(1), class].concat()).unwrap();
    let url = unknown(&read(&bytes), 59).unwrap();
    assert_eq!(url, b"http://[fd99::2]:8080/boot");
}

#[test]
fn nobody_can_take_an_advertise_for_a_lease() {
    let (bytes, _) = ask(&message(1)).unwrap();
    let told = read(&bytes);
    let Some(DhcpOption::IANA(association)) = told.opts().get(OptionCode::IANA) else {
        panic!("{told:?}");
    };
    assert_eq!(association.id, 0x0908_0706);
    assert!(association.opts.get(OptionCode::IAAddr).is_none());
    for options in [told.opts(), &association.opts] {
        let Some(DhcpOption::StatusCode(status)) = options.get(OptionCode::StatusCode) else {
            panic!("{options:?}");
        };
        assert_eq!(status.status, dhcproto::v6::Status::NoAddrsAvail);
    }
}

#[test]
fn requests_to_the_server_of_the_lan_are_left_alone() {
    let code = |bytes: &[u8]| ask(bytes).unwrap_err().code();
    assert_eq!(code(&message(3)), "dhcp.other-server");
    let other = [message(3), option(2, &[0, 1, 2, 3])].concat();
    assert_eq!(code(&other), "dhcp.other-server");
    let ours = [
        message(3),
        option(2, &[&[0, 4][..], &LOCAL.octets()].concat()),
    ]
    .concat();
    assert!(ask(&ours).is_ok());
    for kind in [4, 5, 6, 8, 9] {
        assert_eq!(code(&message(kind)), "dhcp.not-for-proxy");
    }
    for kind in [2, 7, 10, 13] {
        assert_eq!(code(&message(kind)), "dhcp.not-request");
    }
    let plain = [vec![1, 1, 2, 3], option(1, &DUID)].concat();
    assert_eq!(code(&plain), "dhcp.not-pxe");
    let nameless = [vec![1, 1, 2, 3], option(61, &[0, 7])].concat();
    assert_eq!(code(&nameless), "dhcp.no-client-id");
}

#[test]
fn relays_get_their_wrappings_back_up_to_thirty_two() {
    let mut bytes = message(1);
    for hop in 0..32 {
        bytes = relayed(&bytes, hop, &[hop; 4]);
    }
    let (reply, to) = ask(&bytes).unwrap();
    assert_eq!(to.port(), 547);
    let mut inner = reply;
    for hop in (0..32).rev() {
        let told = RelayMessage::decode(&mut Decoder::new(&inner)).unwrap();
        assert_eq!(told.msg_type(), MessageType::RelayRepl);
        assert_eq!((told.hop_count(), told.link_addr()), (hop, RELAY));
        assert_eq!(told.peer_addr(), MACHINE);
        let id = told.opts().get(OptionCode::InterfaceId);
        assert!(matches!(id, Some(DhcpOption::InterfaceId(id)) if *id == [hop; 4]));
        let start = inner.len() - relay_message_len(&inner);
        inner = inner[start..].to_vec();
    }
    assert_eq!(read(&inner).msg_type(), MessageType::Advertise);
    let deeper = relayed(&bytes, 32, &[]);
    assert_eq!(ask(&deeper).unwrap_err().code(), "dhcp.nesting");
    let wide = relayed(&message(1), 0, &[0; 1100]);
    assert_eq!(ask(&wide).unwrap_err().code(), "dhcp.nesting");
}

/// The relayed message stands last: the interface id of four bytes comes before it.
fn relay_message_len(bytes: &[u8]) -> usize {
    let at = 34 + 8 + 2;
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

#[test]
fn the_machine_is_known_by_its_address_its_relay_or_its_identifier() {
    let facts = |bytes: &[u8], source: Ipv6Addr| {
        let seen = v6::Seen {
            source: SocketAddrV6::new(source, 546, 0, 2),
            local: LOCAL,
            interface: 2,
        };
        let request = v6::Request::read(bytes, &seen).unwrap();
        request.facts().clone()
    };
    let direct = facts(&message(1), MACHINE);
    assert_eq!(direct.hardware.to_string(), "52:54:00:99:00:01");
    assert_eq!(direct.asker, Asker::Firmware);
    let guid = direct.guid.unwrap().to_string();
    assert_eq!(guid, "11223344-5566-7788-99aa-bbccddeeff00");

    let relayed = [
        relayed(&message(1), 0, &[1]),
        option(79, &[0, 1, 2, 0, 0, 0, 0, 9]),
    ]
    .concat();
    let relayed = facts(&relayed, RELAY);
    assert_eq!(relayed.hardware.to_string(), "02:00:00:00:00:09");
    assert_eq!(relayed.relay, Some(IpAddr::V6(RELAY)));
    assert_eq!(relayed.address, Some(IpAddr::V6(MACHINE)));

    let private = facts(&message(1), Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4));
    assert_eq!(private.hardware.bytes(), &DUID[2..]);
}

#[test]
fn firmware_and_ipxe_of_the_captures_are_one_machine() {
    let mut guids = std::collections::BTreeSet::new();
    for fixture in fixtures::all("dhcp6-solicit") {
        let std::net::SocketAddr::V6(source) = fixture.from else {
            panic!("{}", fixture.name());
        };
        let seen = v6::Seen {
            source,
            local: LOCAL,
            interface: 2,
        };
        if let Ok(request) = v6::Request::read(&fixture.bytes, &seen) {
            let facts = request.facts();
            assert_eq!(facts.hardware.to_string(), "52:54:00:99:00:01");
            guids.insert(facts.guid);
        }
    }
    assert_eq!(guids.len(), 1, "{guids:?}");
}
