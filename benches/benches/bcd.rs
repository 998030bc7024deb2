//! What the boot store of a machine costs: it is made when the machine asks for it.
#![expect(clippy::expect_used, reason = "a bench ends at the first surprise")]

use std::hint::black_box;
use std::time::Duration;

use bootstorm_catalog::bcd::{self, BootStore, Firmware, Menu, RamdiskEntry};
use bootstorm_proto::types::{BlockSize, WindowSize};
use criterion::{Criterion, criterion_group, criterion_main};

fn store(entries: usize) -> BootStore {
    let entries = (0..entries).map(|number| RamdiskEntry {
        block: BlockSize::try_from(1456).ok(),
        window: WindowSize::try_from(16).ok(),
        ..RamdiskEntry::new(
            format!("Windows PE {number}"),
            format!(r"\images\{number}.wim"),
            format!(r"\images\{number}.wim\boot.sdi"),
        )
    });
    BootStore {
        firmware: Firmware::Uefi,
        entries: entries.collect(),
        default: 0,
        menu: Menu::Timed(Duration::from_secs(30)),
        locale: None,
    }
}

fn stores(c: &mut Criterion) {
    let mut group = c.benchmark_group("boot store");
    for entries in [1, 16] {
        let store = store(entries);
        group.bench_function(format!("made, entries: {entries}"), |b| {
            b.iter(|| black_box(&store).to_bytes().expect("a store"));
        });
        let file = store.to_bytes().expect("a store");
        group.bench_function(format!("read, entries: {entries}"), |b| {
            b.iter(|| bcd::show(black_box(&file)).expect("a store"));
        });
    }
    group.finish();
}

criterion_group!(benches, stores);
criterion_main!(benches);
