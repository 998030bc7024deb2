//! What the protocols cost for each packet, request and script.
#![expect(clippy::expect_used, reason = "a bench ends at the first surprise")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use bootstorm_proto::dhcp::{Port, Request, Seen};
use bootstorm_proto::http::{Head, Parsed};
use bootstorm_proto::ipxe::{Arguments, Choice, Menu, MenuItem, Script, Url};
use bootstorm_proto::tftp::{Limits, Output, ReadRequest, Rollover, Transfer, Window};
use bootstorm_proto::types::WindowSize;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../../tests/fixtures/load.rs"]
mod fixtures;

const RRQ: &[u8] = b"\0\x01boot.wim\0octet\0tsize\x000\0blksize\x001456\0windowsize\x0016\0";

const HEAD: &[u8] = b"GET /images/windows%20pe/boot.wim HTTP/1.1\r\nConnection: keep-alive\r\n\
    User-Agent: iPXE/2.0.0\r\nHost: 10.99.0.2:8080\r\nRange: bytes=1048576-2097151\r\n\r\n";

fn limits() -> Limits {
    Limits::for_mtu(1500, WindowSize::try_from(64).expect("in range"))
}

fn opened(now: Instant) -> (Transfer, Output) {
    let request = ReadRequest::parse(RRQ).expect("a request");
    let (mut transfer, _) = Transfer::start(&request, u64::MAX / 2, &limits(), now);
    let first = transfer.handle(&[0, 4, 0, 0], now);
    (transfer, first)
}

/// One acknowledgement in, one window out: the whole cost of 16 blocks.
fn tftp(c: &mut Criterion) {
    let mut group = c.benchmark_group("tftp");
    let mut now = Instant::now();
    let (mut transfer, mut output) = opened(now);
    group.throughput(Throughput::Bytes(16 * 1456));
    group.bench_function("window turn-around", |b| {
        b.iter(|| {
            let Output::Window(window) = &output else {
                unreachable!("a good network has nothing else")
            };
            let [high, low] = window.number(window.blocks - 1).to_be_bytes();
            now += Duration::from_micros(200);
            output = transfer.handle(black_box(&[0, 4, high, low]), now);
        });
    });
    let window = Window {
        first_number: 65500,
        offset: 1 << 32,
        blocks: 44,
        block_size: 1468,
        last_len: 1468,
        rollover: Rollover::Zero,
    };
    group.throughput(Throughput::Elements(44));
    group.bench_function("window of 44 blocks, headers and ranges", |b| {
        b.iter(|| {
            for (index, (_, range)) in (0..).zip(black_box(&window).blocks()) {
                black_box((window.header(index), range));
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("read request", |b| {
        b.iter(|| {
            let request = ReadRequest::parse(black_box(RRQ)).expect("a request");
            Transfer::start(&request, 1 << 30, &limits(), now)
        });
    });
    group.finish();
}

/// What real firmware sends to port 67: some is answered, some is the DHCP server's business.
fn dhcp(c: &mut Criterion) {
    let seen = Seen {
        port: Port::Dhcp67,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        local: Ipv4Addr::new(10, 99, 0, 2),
        interface: 2,
        broadcast: true,
    };
    let packets: Vec<Vec<u8>> = fixtures::all("dhcp-")
        .into_iter()
        .map(|fixture| fixture.bytes)
        .collect();
    let mut group = c.benchmark_group("dhcp");
    group.throughput(Throughput::Elements(packets.len() as u64));
    group.bench_function("packets of the fixtures", |b| {
        b.iter(|| {
            for packet in &packets {
                let _ = black_box(Request::read(black_box(packet), &seen));
            }
        });
    });
    group.finish();
}

fn http(c: &mut Criterion) {
    c.bench_function("http head", |b| {
        b.iter(|| match Head::parse(black_box(HEAD)) {
            Ok(Parsed::Complete(head, len)) => (head.conditions.range, len),
            other => unreachable!("{other:?}"),
        });
    });
}

/// A menu of fifty Linux entries.
fn script(c: &mut Criterion) {
    let base = Url::new("http://10.99.0.2:8080").expect("a URL");
    c.bench_function("script with a menu of 50", |b| {
        b.iter_batched(
            Script::new,
            |mut script| {
                fill(&mut script, &base);
                script.render()
            },
            BatchSize::SmallInput,
        );
    });
}

fn fill(script: &mut Script, base: &Url) {
    let images = base.join("images");
    let arguments = Arguments::new("root=/dev/nfs ip=dhcp quiet").expect("plain words");
    let local = script.label("local");
    let titles: Vec<String> = (0..50).map(|n| format!("Debian {n}")).collect();
    let labels: Vec<_> = titles.iter().map(|title| script.label(title)).collect();
    let items = labels
        .iter()
        .zip(&titles)
        .map(|(label, title)| MenuItem::Choice {
            label: label.clone(),
            text: title.clone(),
            key: None,
        });
    let menu = Menu {
        title: "bootstorm".to_owned(),
        items: items.collect(),
    };
    let choice = Choice {
        variable: "chosen",
        default: Some(&local),
        timeout: Some(Duration::from_secs(10)),
        cancelled: &local,
    };
    script.menu(&menu, &choice);
    for (label, title) in labels.iter().zip(&titles) {
        script.place(label);
        script.imgfetch("vmlinuz", &images.join(&format!("{title}/vmlinuz")));
        script.or_goto(&local);
        script.kernel("vmlinuz", &arguments).or_goto(&local);
        script.initrd("initrd.img", &images.join(&format!("{title}/initrd.img")));
        script.or_goto(&local).boot();
    }
    script.place(&local).exit(1);
}

criterion_group!(benches, tftp, dhcp, http, script);
criterion_main!(benches);
