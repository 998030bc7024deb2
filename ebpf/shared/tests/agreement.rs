//! The classifier and the parser find the same, on every packet of real firmware and on whatever
//! can be made of them.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

#[path = "../../../tests/fixtures/load.rs"]
mod fixtures;

use std::net::{Ipv4Addr, SocketAddrV4};

use bootstorm_ebpf_shared::{Class, DHCP_MAX, Family, Machine, classify, inspect};
use bootstorm_proto::dhcp::{Asker, MESSAGE_MAX, Port, Request, Seen, sniff};
use bootstorm_proto::tftp::ReadRequest;
use bootstorm_proto::types;
use proptest::prelude::*;
use proptest::sample::Index;

/// What the parser makes of a datagram to port 67 or 4011.
fn parsed(bytes: &[u8], port: Port) -> String {
    let seen = Seen {
        port,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        local: Ipv4Addr::new(10, 99, 0, 2),
        interface: 2,
        broadcast: true,
    };
    if let Err(silence) = Request::read(bytes, &seen) {
        match silence.code() {
            code if silence.is_malformed() => return code.to_owned(),
            "dhcp.not-request" => return Class::NotOurs.name().to_owned(),
            "dhcp.not-pxe" => return Class::DhcpNotPxe.name().to_owned(),
            _ => {}
        }
    }
    let sighting = sniff(bytes).unwrap();
    let class = match sighting.asker.unwrap() {
        Asker::Ipxe => Class::Ipxe,
        Asker::HttpFirmware => Class::HttpClient,
        Asker::Firmware => {
            let mut known = sighting.arches.iter().filter_map(|arch| arch.family());
            Class::Firmware(match known.next() {
                Some(family) => shared(family),
                None if sighting.arches.is_empty() => Family::Bios,
                None => Family::Unknown,
            })
        }
    };
    class.name().to_owned()
}

fn shared(family: types::Family) -> Family {
    match family {
        types::Family::Bios => Family::Bios,
        types::Family::Ia32 => Family::Ia32,
        types::Family::X64 => Family::X64,
        types::Family::Arm32 => Family::Arm32,
        types::Family::Arm64 => Family::Arm64,
        types::Family::Riscv32 => Family::Riscv32,
        types::Family::Riscv64 => Family::Riscv64,
        types::Family::Loong32 => Family::Loong32,
        types::Family::Loong64 => Family::Loong64,
    }
}

/// The machine that the parser finds, for packets that it takes for sound.
fn parsed_machine(bytes: &[u8]) -> Option<Machine> {
    let sighting = sniff(bytes)?;
    let mac = <[u8; 6]>::try_from(sighting.hardware.bytes()).ok()?;
    Some(Machine {
        mac,
        relay: sighting.relay.map_or([0; 4], |relay| relay.octets()),
        guid: sighting.guid.map(types::MachineGuid::wire),
    })
}

#[test]
fn messages_are_looked_at_up_to_the_same_length() {
    assert_eq!(DHCP_MAX, MESSAGE_MAX);
}

#[test]
fn every_dhcp_packet_of_the_captures_has_the_class_that_the_parser_finds() {
    let mut counts = std::collections::BTreeMap::new();
    for fixture in fixtures::all("dhcp-") {
        let port = match fixture.to.port() {
            67 => Port::Dhcp67,
            _ => Port::Pxe4011,
        };
        let class = classify(&fixture.bytes, fixture.to.port());
        assert_eq!(
            class.name(),
            parsed(&fixture.bytes, port),
            "{}",
            fixture.name()
        );
        let (_, machine) = inspect(&fixture.bytes, fixture.to.port());
        assert_eq!(
            machine,
            parsed_machine(&fixture.bytes),
            "{}",
            fixture.name()
        );
        assert!(machine.is_some_and(|machine| machine.guid.is_some()));
        *counts.entry(class.name()).or_insert(0) += 1;
    }
    let classes: Vec<_> = counts.keys().copied().collect();
    assert_eq!(classes, ["firmware-x64", "http-client", "ipxe"]);
}

#[test]
fn every_tftp_packet_of_the_captures_has_its_class() {
    for fixture in fixtures::all("tftp-") {
        let class = classify(&fixture.bytes, 69);
        let request = ReadRequest::parse(&fixture.bytes).is_ok();
        assert_eq!(class == Class::TftpRequest, request, "{}", fixture.name());
        assert_eq!(class == Class::TftpOther, !request, "{}", fixture.name());
    }
}

#[test]
fn every_architecture_number_has_the_family_of_the_parser() {
    for number in 0..=u16::MAX {
        let family = types::ClientArch(number).family();
        assert_eq!(Family::of(number), family.map_or(Family::Unknown, shared));
    }
}

#[test]
fn other_ports_are_not_ours() {
    for fixture in fixtures::all("dhcp-discover") {
        for port in [68, 53, 546, 547, 0, 65535] {
            assert_eq!(classify(&fixture.bytes, port), Class::NotOurs);
        }
    }
}

/// Code, length and first bytes of options that classify() looks at, set at random places.
fn change() -> impl Strategy<Value = (Index, Vec<u8>)> {
    let bytes = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..4),
        1 => Just(b"\x4d\x04iPXE".to_vec()),
        1 => Just(b"\x3c\x09PXEClient".to_vec()),
        1 => Just(b"\x3c\x0aHTTPClient".to_vec()),
        1 => Just(b"\x5d\x04\x00\x02\x00\x0b".to_vec()),
        1 => Just(b"\x5d\x00".to_vec()),
        1 => (1..4_u8).prop_map(|value| vec![52, 1, value]),
        1 => any::<u8>().prop_map(|value| vec![53, 1, value]),
        1 => Just(vec![0xff]),
        1 => any::<u8>().prop_map(|len| vec![82, len]),
        1 => any::<u8>().prop_map(|kind| [&[97, 17, kind][..], &[7; 16]].concat()),
        1 => Just([&[97, 17][..], &[0; 17]].concat()),
        1 => any::<u8>().prop_map(|len| [&[77, len][..], b"\x01a\x04iPXE"].concat()),
        1 => Just(b"\x3c\x14PXEClient:Arch:65536".to_vec()),
        1 => Just(vec![0; 40]),
    ];
    (any::<Index>(), bytes)
}

/// An option that counts, in one of its shapes.
fn option() -> impl Strategy<Value = Vec<u8>> {
    let long = (prop_oneof![Just(43), Just(61), Just(82)], 250..=255_u8)
        .prop_map(|(code, len)| [&[code, len][..], &vec![1; usize::from(len)]].concat());
    prop_oneof![
        2 => Just(b"\x3c\x14PXEClient:Arch:00011".to_vec()),
        1 => Just(b"\x3c\x15HTTPClient:Arch:00016".to_vec()),
        1 => Just(b"\x3c\x08MSFT 5.0".to_vec()),
        1 => Just(b"\x4d\x04iPXE".to_vec()),
        1 => Just(b"\x4d\x05\x04gPXE".to_vec()),
        1 => Just(b"\xaf\x00".to_vec()),
        1 => Just(b"\x5d\x04\x00\x02\x00\x0b".to_vec()),
        1 => Just(b"\x34\x01\x03".to_vec()),
        1 => Just(vec![82, 0]),
        1 => Just(vec![61, 1, 7]),
        1 => Just(b"\x4d\x09\x03abc\x04iPXE".to_vec()),
        1 => Just(b"\x5d\x06\x00\x02\x01\x00\x00\x0b".to_vec()),
        1 => Just([&[97, 17, 0][..], &[7; 16]].concat()),
        1 => (1..40_usize).prop_map(|len| vec![0; len]),
        3 => long,
    ]
}

fn header_place() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0),
        Just(2),
        Just(3),
        24..28_usize,
        0..28_usize,
        236..240_usize
    ]
}

fn header_value() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(2), 15..18_u8, 223..226_u8, any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn mutated_packets_have_the_class_that_the_parser_finds(
        at in any::<Index>(),
        changes in proptest::collection::vec(change(), 0..6),
        cut in proptest::option::of(any::<Index>()),
        header in proptest::option::of((header_place(), header_value())),
    ) {
        let all = packets();
        let mut bytes = all[at.index(all.len())].clone();
        for (place, new) in &changes {
            // Most changes go where the options are.
            let start = if place.index(5) == 0 { 44 } else { 240 };
            let at = start + place.index(bytes.len() - start);
            let end = bytes.len().min(at + new.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        if let Some((at, value)) = header {
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for (port, number) in [(Port::Dhcp67, 67), (Port::Pxe4011, 4011)] {
            let (class, machine) = inspect(&bytes, number);
            prop_assert_eq!(class.name(), parsed(&bytes, port));
            if class.boots() {
                prop_assert_eq!(machine, parsed_machine(&bytes));
            }
        }
    }

    #[test]
    fn made_packets_have_the_class_that_the_parser_finds(
        options in proptest::collection::vec(option(), 0..12),
        file in proptest::collection::vec(option(), 0..3),
        sname in proptest::collection::vec(option(), 0..3),
        overload in 0..5_u8,
        hlen in prop_oneof![Just(6), Just(0)],
    ) {
        let mut bytes = vec![0; 240];
        bytes[0] = 1;
        bytes[2] = hlen;
        bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        for (field, options) in [(44..108, &sname), (108..236, &file)] {
            let packed = options.concat();
            let len = packed.len().min(field.len());
            bytes[field.start..field.start + len].copy_from_slice(&packed[..len]);
        }
        bytes.extend_from_slice(&[53, 1, 1, 52, 1, overload]);
        bytes.extend(options.concat());
        prop_assert_eq!(classify(&bytes, 67).name(), parsed(&bytes, Port::Dhcp67));
    }

    #[test]
    fn tftp_requests_that_can_be_read_are_requests(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        opcode in 0..9_u8,
    ) {
        let bytes = [&[0, opcode][..], &bytes].concat();
        if ReadRequest::parse(&bytes).is_ok() {
            prop_assert_eq!(classify(&bytes, 69), Class::TftpRequest);
        }
        prop_assert_eq!(classify(&bytes, 69) == Class::TftpRequest, opcode == 1);
    }
}

fn packets() -> &'static [Vec<u8>] {
    static ALL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let all = fixtures::all("dhcp-").into_iter();
        all.map(|fixture| fixture.bytes).collect()
    })
}
