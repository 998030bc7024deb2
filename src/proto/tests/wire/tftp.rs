//! The read requests of real firmware, answered, and their acknowledgements, followed.

use std::time::{Duration, Instant};

use bootstorm_proto::tftp::{Limits, Outcome, Output, ReadRequest, Transfer};
use bootstorm_proto::types::WindowSize;

use crate::fixtures::{self, Fixture};

/// Large enough for every acknowledgement in the captures to be inside the file.
const FILE_LEN: u64 = 500_000_000;

#[expect(
    clippy::disallowed_methods,
    reason = "a virtual clock has to begin somewhere, and there is no other moment to be had"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn answer(fixture: &Fixture, now: Instant) -> (Transfer, Output) {
    let window = WindowSize::try_from(64).unwrap();
    let limits = match fixture.from {
        std::net::SocketAddr::V4(_) => Limits::for_mtu(1500, window),
        std::net::SocketAddr::V6(_) => Limits::for_mtu_v6(1500, window),
    };
    let request = ReadRequest::parse(&fixture.bytes)
        .unwrap_or_else(|refusal| panic!("{}: {refusal}", fixture.name()));
    assert!(request.file.is_ascii(), "{}", fixture.name());
    Transfer::start(&request, FILE_LEN, &limits, now)
}

fn shown(output: &Output) -> String {
    match output {
        Output::Packet(packet) => packet.escape_ascii().to_string(),
        Output::Window(window) => format!(
            "DATA {} to {}, {} bytes each",
            window.first_number,
            window.number(window.blocks - 1),
            window.block_size
        ),
        other => format!("{other:?}"),
    }
}

#[test]
fn line_17_every_request_of_the_captures_gets_its_golden_answer() {
    let mut golden = String::new();
    for fixture in fixtures::all("tftp-rrq") {
        let (_, output) = answer(&fixture, epoch());
        let asked = fixture.bytes[2..].escape_ascii();
        golden += &format!("{}\n  {asked}\n  {}\n", fixture.name(), shown(&output));
    }
    insta::assert_snapshot!(golden);
}

/// What the machine sent next, up to its next request, drives the transfer as the capture's own
/// server was driven.
#[test]
fn the_captured_clients_are_understood_by_the_transfer() {
    let packets = fixtures::all("tftp-");
    let mut probes = 0;
    let mut windows = 0;
    for (at, rrq) in packets.iter().enumerate() {
        if rrq.kind != "tftp-rrq" {
            continue;
        }
        let mut now = epoch();
        let (mut transfer, _) = answer(rrq, now);
        let own = packets[at + 1..]
            .iter()
            .take_while(|p| p.path.parent() == rrq.path.parent())
            .take_while(|p| !(p.kind == "tftp-rrq" && p.from == rrq.from))
            .filter(|p| p.from == rrq.from && p.kind != "tftp-rrq");
        for packet in own {
            now += Duration::from_millis(1);
            match transfer.handle(&packet.bytes, now) {
                Output::Window(window) => {
                    windows += 1;
                    let acked = u16::from_be_bytes([packet.bytes[2], packet.bytes[3]]);
                    assert_eq!(
                        window.first_number,
                        acked.wrapping_add(1),
                        "{}",
                        packet.name()
                    );
                }
                Output::Done(Outcome::Probe) => probes += 1,
                other => panic!("{}: {other:?}", packet.name()),
            }
        }
    }
    assert!(probes >= 10, "{probes} size probes");
    assert!(windows >= 100, "{windows} windows");
}
