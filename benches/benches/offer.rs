//! What a DISCOVER costs from the datagram to the offer, at 100,000 known machines: parser, policy
//! and writer; without sockets, events and the gate.
#![expect(clippy::expect_used, reason = "a bench ends at the first surprise")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use bootstorm_config::Config;
use bootstorm_policy::{Machine, Policy, Ports, Rules};
use bootstorm_proto::dhcp::{Port, REPLY_MAX, Request, Seen, Style};
use bootstorm_proto::types::MacAddress;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../../tests/fixtures/load.rs"]
mod fixtures;

const MACHINES: u32 = 100_000;

/// Where the machine's address stands in a message (RFC 2131, section 2).
const CHADDR: std::ops::Range<usize> = 28..34;

fn mac(machine: u32) -> MacAddress {
    let [_, a, b, c] = machine.to_be_bytes();
    MacAddress::new([0x02, 0xf1, 0x0d, a, b, c])
}

/// Knows every machine and has the boot program of x64 UEFI.
fn policy() -> Policy {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("snponly.efi");
    std::fs::write(&copy, b"x").expect("a file");
    let file = File {
        path: Arc::from("boot/snponly.efi"),
        content: Mapping::open(&copy).expect("a map"),
        sha256: [0; 32],
        modified: SystemTime::UNIX_EPOCH,
    };
    let catalog = Catalog::default();
    catalog.publish(Snapshot::new([Arc::new(file)], Vec::new()));
    let config = Config::for_system();
    let ports = Ports::from(&config.listen);
    let policy = Policy::new(Rules::from(&config), ports, Arc::new(catalog));
    policy
        .machines()
        .set_all((0..MACHINES).map(|number| Machine {
            id: number.into(),
            macs: vec![mac(number)],
            known: true,
            ..Machine::default()
        }));
    policy
}

fn offer(c: &mut Criterion) {
    let policy = policy();
    let discovers = fixtures::all("dhcp-discover").into_iter();
    let uefi = |fixture: &fixtures::Fixture| fixture.name().contains("uefi-ovmf");
    // Firmware asks before iPXE does.
    let mut discover = discovers.filter(uefi).map(|fixture| fixture.bytes).next();
    let discover = discover.as_mut().expect("a fixture");
    let seen = Seen {
        port: Port::Dhcp67,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        local: Ipv4Addr::new(10, 0, 0, 1),
        interface: 1,
        broadcast: true,
    };
    let style = Style::default();
    let mut number = 1_u32;
    let mut buf = [0; REPLY_MAX];
    let mut group = c.benchmark_group("dhcp");
    group.throughput(Throughput::Elements(1));
    group.bench_function("offer to a random one of 100,000 known machines", |b| {
        b.iter(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let machine = mac((number >> 8) % MACHINES);
            discover[CHADDR].copy_from_slice(&machine.bytes());
            let request = Request::read(black_box(discover), &seen).expect("a request");
            let answer = policy.dhcp(request.facts());
            request.reply(&answer, &style, &mut buf).expect("an offer")
        });
    });
    group.finish();
}

criterion_group!(benches, offer);
criterion_main!(benches);
