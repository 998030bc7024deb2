//! What the classifier costs in user space, before anything else looks at a datagram.
#![expect(clippy::expect_used, reason = "a bench ends at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_engine::gate::{Gate, GateSettings, Roster, Service};
use criterion::{Criterion, criterion_group, criterion_main};

#[path = "../../tests/fixtures/load.rs"]
mod fixtures;

const WORKERS: usize = 4;
/// As many as the kernel's map of known machines holds.
const KNOWN: u32 = 65_536;

fn mac(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// The longest DISCOVER of real firmware that was captured.
fn discover() -> Vec<u8> {
    let captured = fixtures::all("dhcp-discover").into_iter();
    let longest = captured.max_by_key(|fixture| fixture.bytes.len());
    longest.expect("a DISCOVER").bytes
}

fn settings() -> Arc<GateSettings> {
    let settings = Arc::new(GateSettings::new(WORKERS));
    settings.set_roster(Roster {
        known: (0..KNOWN).map(mac).collect(),
        ..Roster::default()
    });
    settings
}

fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    let settings = settings();
    let mut gate = Gate::new(&settings, 0);
    let mut packet = discover();
    let mut number = 0_u32;
    for (name, first) in [("DISCOVER, known", 0), ("DISCOVER, made up", 1 << 24)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                number = number.wrapping_add(1);
                packet[28..34].copy_from_slice(&mac(first + number % KNOWN));
                let now = Instant::now();
                black_box(gate.judge(Service::Dhcp, 1, black_box(&packet), now)).is_ok()
            });
        });
    }
    let junk = [0x5a; 390];
    group.bench_function("no DHCP", |b| {
        b.iter(|| {
            gate.judge(Service::Dhcp, 1, black_box(&junk), Instant::now())
                .is_ok()
        });
    });
    let request = b"\0\x01boot/wimboot.efi\0octet\0tsize\x000\0blksize\x001456\0";
    group.bench_function("TFTP request", |b| {
        b.iter(|| {
            gate.judge(Service::Tftp, 1, black_box(request), Instant::now())
                .is_ok()
        });
    });
}

criterion_group!(benches, gate);
criterion_main!(benches);
