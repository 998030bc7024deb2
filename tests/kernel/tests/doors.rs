//! One packet, three doors: the full parser, the classifier on the host, and the classifier in the
//! kernel find the same class, and both classifiers decide the same.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

#[path = "../../fixtures/load.rs"]
mod fixtures;
#[path = "../../fixtures/frames.rs"]
mod frames;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use bootstorm_ebpf_shared::{Action, Bucket, Cause, Class, Rate, Rule, Table};
use bootstorm_kernel_tests::{FRAME_MAX, Host, Program};
use bootstorm_proto::dhcp::{Asker, Port, Request, Seen, sniff};
use bootstorm_proto::tftp::ReadRequest;
use frames::Envelope;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HERE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const MUTATED: usize = 100_000;
/// The captures are all of one machine: it plays a known one, a banned one, and any.
const MACS: [[u8; 6]; 3] = [
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
    [0x52, 0x54, 0, 0x12, 0x34, 0x56],
];
const BANNED_GUID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Both classifiers, with the same addresses, bans and rules.
struct Doors {
    kernel: Program,
    host: Host,
}

impl Doors {
    fn open() -> Self {
        let mut doors = Self {
            kernel: Program::load().unwrap(),
            host: Host::default(),
        };
        for own in [HERE.to_ipv6_mapped(), HERE_V6] {
            doors.kernel.add_own(own.to_bits()).unwrap();
            doors.host.own.insert(own.to_bits());
        }
        // Time goes on between the doors: what depends on it is tested elsewhere.
        let mut table = Table::default();
        table.settings.limits.machine = Rate::UNLIMITED;
        table.settings.limits.known = Rate::UNLIMITED;
        for rule in &mut table.rules {
            if matches!(rule.action(), Action::Limit(_)) {
                *rule = Rule::limit(Rate::UNLIMITED);
            }
        }
        doors.kernel.set_table(&table).unwrap();
        doors.host.table = table;
        doors
    }

    /// Knows one machine, and bans another and a GUID.
    fn welcome_and_ban(&mut self) {
        let [known, banned, _] = MACS;
        self.kernel.add_known(&known).unwrap();
        self.host.known.insert(known, Bucket::default());
        self.kernel.ban_mac(&banned).unwrap();
        self.host.banned_macs.insert(banned);
        self.kernel.ban_guid(&BANNED_GUID).unwrap();
        self.host.banned_guids.insert(BANNED_GUID);
    }

    /// Gives a datagram through all doors; says what it was.
    fn pass(&mut self, envelope: &Envelope, payload: &[u8], what: &str) -> (Class, Cause) {
        let frame = envelope.udp(payload);
        let host = self.host.run(&frame, 1);
        let kernel = self.kernel.run_guessing(&frame, host).unwrap();
        assert_eq!(kernel, host, "kernel and host, {what}: {payload:02x?}");
        let parser = parsed(payload, envelope.to.port());
        assert_eq!(host.class.name(), parser, "parser, {what}: {payload:02x?}");
        (host.class, host.cause)
    }
}

/// The name of the class that the full parser finds.
fn parsed(bytes: &[u8], port: u16) -> String {
    let class = match port {
        67 => return parsed_dhcp(bytes, Port::Dhcp67),
        4011 => return parsed_dhcp(bytes, Port::Pxe4011),
        69 if bytes.starts_with(&[0, 1]) => Class::TftpRequest.name(),
        69 if ReadRequest::parse(bytes).is_ok() => "a request that was not found",
        69 if matches!(bytes, [0, 2..=6, ..]) => Class::TftpOther.name(),
        69 => "tftp.malformed",
        _ => Class::NotOurs.name(),
    };
    class.to_owned()
}

fn parsed_dhcp(bytes: &[u8], port: Port) -> String {
    let seen = Seen {
        port,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        local: HERE,
        interface: 1,
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
    match sighting.asker.unwrap() {
        Asker::Ipxe => Class::Ipxe.name().to_owned(),
        Asker::HttpFirmware => Class::HttpClient.name().to_owned(),
        Asker::Firmware => {
            let mut known = sighting.arches.iter().filter_map(|arch| arch.family());
            let family = match known.next() {
                Some(family) => format!("{family:?}").to_lowercase(),
                None if sighting.arches.is_empty() => "bios".to_owned(),
                None => "unknown".to_owned(),
            };
            format!("firmware-{family}")
        }
    }
}

#[test]
fn every_capture_is_the_same_through_all_doors() {
    let mut doors = Doors::open();
    doors.welcome_and_ban();
    let mut counts = BTreeMap::new();
    for kind in ["dhcp-", "tftp-"] {
        for fixture in fixtures::all(kind) {
            let port = if kind == "tftp-" {
                69
            } else {
                fixture.to.port()
            };
            for (envelope, mac) in envelopes(port).iter().zip(MACS.iter().cycle()) {
                let mut bytes = fixture.bytes.clone();
                if kind == "dhcp-" {
                    bytes[28..34].copy_from_slice(mac);
                }
                let found = doors.pass(envelope, &bytes, &fixture.name());
                *counts.entry((found.0.name(), found.1.name())).or_insert(0) += 1;
            }
        }
    }
    assert!(doors.kernel.is_complete().unwrap());
    println!("{counts:#?}");
    for expected in [
        ("firmware-x64", "passed"),
        ("ipxe", "passed"),
        ("http-client", "passed"),
        ("tftp-request", "passed"),
        ("tftp-other", "passed"),
    ] {
        assert!(counts.contains_key(&expected), "{expected:?}");
    }
    for cause in ["passed-known", "banned-mac"] {
        assert!(counts.keys().any(|(_, found)| *found == cause), "{cause}");
    }
}

/// To everybody and to us, with tags and IP options.
fn envelopes(port: u16) -> Vec<Envelope> {
    let here: SocketAddr = (HERE, port).into();
    let mut all = vec![
        Envelope::to(here),
        Envelope {
            tags: vec![0x8100],
            trailer: 7,
            ..Envelope::to(here)
        },
        Envelope {
            tags: vec![0x88a8, 0x8100],
            options: 40,
            ..Envelope::to(here)
        },
    ];
    all.push(if port == 69 {
        Envelope::to((HERE_V6, port).into())
    } else {
        Envelope::broadcast(port)
    });
    all
}

#[test]
fn mutated_packets_are_the_same_through_all_doors() {
    let mut doors = Doors::open();
    doors.welcome_and_ban();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let dhcp = fixtures::all("dhcp-");
    let dhcp: Vec<_> = dhcp
        .iter()
        .filter(|fixture| matches!(fixture.to.port(), 67 | 4011))
        .collect();
    let tftp = fixtures::all("tftp-");
    let mut counts = BTreeMap::new();
    let mut causes = BTreeMap::new();
    for number in 0..MUTATED {
        let is_tftp = random.below(20) == 0;
        let fixture = if is_tftp {
            &tftp[random.below(tftp.len())]
        } else {
            dhcp[random.below(dhcp.len())]
        };
        let port = if is_tftp { 69 } else { fixture.to.port() };
        let mut bytes = fixture.bytes.clone();
        if !is_tftp {
            bytes[28..34].copy_from_slice(&MACS[random.below(MACS.len())]);
        }
        mutate(&mut bytes, &mut random);
        let envelopes = envelopes(port);
        let envelope = &envelopes[random.below(envelopes.len())];
        let found = doors.pass(envelope, &bytes, &format!("number {number}"));
        *counts.entry(found.0.name()).or_insert(0) += 1;
        *causes.entry(found.1.name()).or_insert(0) += 1;
    }
    assert!(doors.kernel.is_complete().unwrap());
    println!("{counts:#?} {causes:#?}");
    assert_eq!(counts.values().sum::<usize>(), MUTATED);
    let causes: Vec<_> = causes.into_keys().collect();
    let expected = [
        "banned-guid",
        "banned-mac",
        "passed",
        "passed-known",
        "rule",
    ];
    assert_eq!(causes, expected);
    // Whatever can be made of a capture was made: every class of datagrams but the rarest.
    let missing: Vec<_> = Class::all()
        .map(Class::name)
        .filter(|name| !counts.contains_key(name))
        .collect();
    assert_eq!(missing, ["fragment", "boot-connection"]);
}

/// Changes what the classifier looks at, some of it, or anything.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.len() < 240 {
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
        return;
    }
    for _ in 0..random.below(5) {
        let new = OPTIONS[random.below(OPTIONS.len())];
        let start = if random.below(5) == 0 { 44 } else { 240 };
        let at = start + random.below(bytes.len() - start);
        let end = bytes.len().min(at + new.len());
        bytes[at..end].copy_from_slice(&new[..end - at]);
        if random.below(3) == 0 && end < bytes.len() {
            bytes[end - 1] = random.byte();
        }
    }
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            const PLACES: [usize; 9] = [0, 2, 3, 24, 25, 27, 28, 236, 239];
            const VALUES: [u8; 9] = [0, 1, 2, 6, 15, 16, 17, 224, 255];
            bytes[PLACES[random.below(9)]] = VALUES[random.below(9)];
        }
        2 => {
            // A new message behind the header of an old one.
            bytes.truncate(240);
            for _ in 0..random.below(30) {
                bytes.extend_from_slice(OPTIONS[random.below(OPTIONS.len())]);
            }
        }
        3 => {
            let long = random.below(FRAME_MAX - 200 - bytes.len());
            let fill = [0, 61, 255][random.below(3)];
            let at = 240 + random.below(bytes.len() - 239);
            bytes.splice(at..at, std::iter::repeat_n(fill, long));
        }
        _ => {}
    }
}

const OPTIONS: &[&[u8]] = &[
    b"\x3c\x09PXEClient",
    b"\x3c\x14PXEClient:Arch:00011",
    b"\x3c\x14PXEClient:Arch:00006",
    b"\x3c\x14PXEClient:Arch:65536",
    b"\x3c\x0aHTTPClient",
    b"\x3c\x08MSFT 5.0",
    b"\x4d\x04iPXE",
    b"\x4d\x09\x03abc\x04gPXE",
    b"\x4d\x00",
    b"\xaf\x00",
    b"\x5d\x02\x00\x00",
    b"\x5d\x02\x00\x06",
    b"\x5d\x02\x00\x09",
    b"\x5d\x02\x00\x12",
    b"\x5d\x02\x00\x13",
    b"\x5d\x02\x00\x19",
    b"\x5d\x02\x00\x1b",
    b"\x5d\x02\x00\x25",
    b"\x5d\x02\x00\x27",
    b"\x5d\x06\x00\x02\x01\x00\x00\x0b",
    b"\x5d\x02\xff\xff",
    b"\x34\x01\x01",
    b"\x34\x01\x02",
    b"\x34\x01\x03",
    b"\x35\x01\x01",
    b"\x35\x02\x01\x01",
    b"\x35\x00",
    b"\x3d\x01\x07",
    b"\x2b\xff",
    b"\x52\xff",
    b"\x52\x00",
    b"\x61\x11\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10",
    b"\x61\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x00",
    b"\xff",
];

/// The same numbers on every machine (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
