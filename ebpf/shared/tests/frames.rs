//! Frames: what is around a message changes nothing of what it is, and what is not for this host
//! is not looked at.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

#[path = "../../../tests/fixtures/load.rs"]
mod fixtures;
#[path = "../../../tests/fixtures/frames.rs"]
mod frames;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bootstorm_ebpf_shared::{Broken, Class, Frame, Machine, Ports, Source, Span, inspect, sort};
use frames::Envelope;
use proptest::prelude::*;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HERE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// A frame that came to a host with two addresses, and who sent it.
struct Arrived<'a> {
    frame: &'a [u8],
    machine: Option<Machine>,
}

impl Source for Arrived<'_> {
    fn size(&self) -> usize {
        self.frame.len()
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.frame.array(at)
    }
}

impl Frame for Arrived<'_> {
    fn is_own(&mut self, address: u128) -> bool {
        [HERE.to_ipv6_mapped(), HERE_V6].contains(&Ipv6Addr::from_bits(address))
    }

    fn dhcp(&mut self, message: Span) -> Class {
        let message = &self.frame[message.at..message.at + message.len];
        let (class, machine) = inspect(message, 67);
        self.machine = machine;
        class
    }
}

fn sorted(frame: &[u8]) -> (Class, Option<Machine>) {
    let mut arrived = Arrived {
        frame,
        machine: None,
    };
    let class = sort(&mut arrived, &Ports::default());
    (class, arrived.machine)
}

fn class(frame: &[u8]) -> Class {
    sorted(frame).0
}

/// Every shape that a network may give to a frame.
fn shapes(to: SocketAddr) -> Vec<Envelope> {
    let mut all = Vec::new();
    for tags in [
        vec![],
        vec![0x8100],
        vec![0x88a8, 0x8100],
        vec![0x8100, 0x8100],
    ] {
        for options in [0, 4, 40] {
            for trailer in [0, 18] {
                all.push(Envelope {
                    tags: tags.clone(),
                    options,
                    trailer,
                    ..Envelope::to(to)
                });
            }
        }
    }
    all
}

fn here(port: u16) -> SocketAddr {
    (HERE, port).into()
}

#[test]
fn captures_have_the_same_class_in_every_shape_of_frame() {
    for fixture in fixtures::all("dhcp-") {
        let port = fixture.to.port();
        let expected = inspect(&fixture.bytes, port);
        let mut tos = vec![here(port)];
        tos.push((Ipv4Addr::BROADCAST, port).into());
        for envelope in tos.into_iter().flat_map(shapes) {
            let found = sorted(&envelope.udp(&fixture.bytes));
            assert_eq!(found, expected, "{} in {envelope:?}", fixture.name());
        }
    }
    for fixture in fixtures::all("tftp-") {
        for to in [here(69), (HERE_V6, 69).into()] {
            for envelope in shapes(to) {
                let found = class(&envelope.udp(&fixture.bytes));
                assert_eq!(found, inspect(&fixture.bytes, 69).0, "{}", fixture.name());
            }
        }
    }
}

#[test]
fn what_is_for_another_host_is_not_ours() {
    let elsewhere = [
        IpAddr::from(Ipv4Addr::new(192, 0, 2, 2)),
        IpAddr::from(Ipv4Addr::new(224, 0, 0, 1)),
        IpAddr::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2)),
        IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    ];
    for ip in elsewhere {
        for port in [67, 4011, 69, 64_001] {
            let envelope = Envelope::to((ip, port).into());
            assert_eq!(class(&envelope.udp(&[0, 1])), Class::NotOurs, "{ip}");
        }
        let syn = Envelope::to((ip, 8080).into()).tcp(2);
        assert_eq!(class(&syn), Class::NotOurs, "{ip}");
        let fragment = Envelope {
            fragment: 0x2000,
            ..Envelope::to((ip, 67).into())
        };
        assert_eq!(class(&fragment.udp(&[0; 300])), Class::NotOurs, "{ip}");
    }
}

#[test]
fn dhcp_is_a_service_of_ipv4_alone() {
    let envelope = Envelope::to((HERE_V6, 67).into());
    assert_eq!(class(&envelope.udp(&[1; 300])), Class::NotOurs);
}

#[test]
fn tftp_data_ports_take_everything_but_requests() {
    for (port, opcode, expected) in [
        (64_001, 4, Class::TftpOther),
        (65_000, 3, Class::TftpOther),
        (64_500, 1, Class::TftpOther),
        (64_500, 9, Class::NotOurs),
        (69, 9, Class::Malformed(Broken::TftpOpcode)),
        (64_000, 4, Class::NotOurs),
        (65_001, 4, Class::NotOurs),
        (69, 1, Class::TftpRequest),
    ] {
        let found = class(&Envelope::to(here(port)).udp(&[0, opcode, 0, 1]));
        assert_eq!(found, expected, "{port} {opcode}");
    }
    let empty = Envelope::to(here(69));
    let trailed = Envelope {
        trailer: 18,
        ..empty.clone()
    };
    for frame in [empty.udp(&[]), trailed.udp(&[])] {
        assert_eq!(class(&frame), Class::Malformed(Broken::TftpOpcode));
    }
}

#[test]
fn connections_to_boot_ports_are_counted_when_they_begin() {
    for to in [here(8080), (HERE_V6, 8080).into()] {
        for (flags, expected) in [
            (0x02, Class::BootConnection),
            (0xc2, Class::BootConnection),
            (0x12, Class::NotOurs),
            (0x10, Class::NotOurs),
            (0x04, Class::NotOurs),
        ] {
            assert_eq!(class(&Envelope::to(to).tcp(flags)), expected, "{flags:02x}");
        }
    }
    assert_eq!(class(&Envelope::to(here(22)).tcp(0x02)), Class::NotOurs);
    assert_eq!(class(&Envelope::to(here(0)).tcp(0x02)), Class::NotOurs);
}

#[test]
fn pieces_of_packets_to_us_are_fragments_whatever_they_hold() {
    for to in [here(67), (HERE_V6, 69).into()] {
        // The first piece, one in the middle, the last one.
        for fragment in [0x2000, 0x2010, 0x0010] {
            let envelope = Envelope {
                fragment,
                ..Envelope::to(to)
            };
            assert_eq!(class(&envelope.udp(&[0; 300])), Class::Fragment);
        }
    }
    let whole = Envelope {
        fragment: 0x4000, // "do not fragment"
        ..Envelope::to(here(69))
    };
    assert_eq!(class(&whole.udp(&[0, 1])), Class::TftpRequest);
}

#[test]
fn lengths_that_contradict_each_other_are_left_to_the_host() {
    let good = Envelope::to(here(69)).udp(&[0, 1, b'a', 0]);
    assert_eq!(class(&good), Class::TftpRequest);
    for (at, value, what) in [
        (14, 0x44, "IPv4 header of 16 bytes"),
        (14, 0x4f, "IPv4 header longer than the packet"),
        (14, 0x65, "version 6 in an IPv4 frame"),
        (17, 255, "IPv4 packet longer than the frame"),
        (17, 19, "IPv4 packet shorter than its header"),
        (39, 7, "UDP datagram shorter than its header"),
        (39, 13, "UDP datagram longer than the packet"),
        (12, 0x86, "IPv4 in an IPv6 frame"),
    ] {
        let mut frame = good.clone();
        frame[at] = value;
        assert_eq!(class(&frame), Class::NotOurs, "{what}");
    }
    for len in 0..good.len() {
        assert_eq!(class(&good[..len]), Class::NotOurs, "cut to {len}");
    }
}

#[test]
fn a_third_tag_is_not_looked_behind() {
    let envelope = Envelope {
        tags: vec![0x88a8, 0x8100, 0x8100],
        ..Envelope::to(here(69))
    };
    assert_eq!(class(&envelope.udp(&[0, 1])), Class::NotOurs);
}

#[test]
fn messages_of_any_length_stay_within_the_frame() {
    for len in [0, 239, 240, 1940, 1941, 8972] {
        let mut message = vec![0; len];
        if len >= 240 {
            message[0] = 1;
            message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        }
        let found = class(&Envelope::broadcast(67).udp(&message));
        let expected = match len {
            0..240 => Class::Malformed(Broken::Short),
            1941.. => Class::Malformed(Broken::TooLong),
            _ => Class::Malformed(Broken::NoHardware),
        };
        assert_eq!(found, expected, "{len}");
    }
}

proptest! {
    #[test]
    fn no_frame_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = sorted(&bytes);
    }
}
