//! A read request, and whatever its client sends afterwards.
//!
//! Input: packets, each behind two bytes of length (the upper six bits are a wait, in units of
//! 50 ms; 63 waits for the transfer's own timer).
#![no_main]

use std::time::{Duration, Instant};

use bootstorm_proto::tftp::{Limits, Output, ReadRequest, Rollover, Transfer, unknown_tid};
use bootstorm_proto::types::WindowSize;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(mut input: &[u8]) {
    let Some((_, request)) = next(&mut input) else {
        return;
    };
    let rrq = match ReadRequest::parse(request) {
        Ok(rrq) => rrq,
        Err(refusal) => {
            assert_eq!(refusal.encode()[..2], [0, 5]);
            let _ = unknown_tid(request);
            return;
        }
    };
    // Long names stand for files of up to two exabytes.
    let file_len = u64::try_from(rrq.file.len().min(200)).unwrap_or(0).pow(8);
    let mut limits = Limits::for_mtu(1500, WindowSize::try_from(64).expect("in range"));
    if rrq.file.starts_with('1') {
        limits.rollover = Rollover::One;
    }
    let mut now = Instant::now();
    let (mut transfer, output) = Transfer::start(&rrq, file_len, &limits, now);
    check(&output, file_len);
    while let Some((wait, packet)) = next(&mut input) {
        now = match wait {
            63 => transfer.timeout().unwrap_or(now),
            wait => now + Duration::from_millis(50 * u64::from(wait)),
        };
        check(&transfer.handle_timeout(now), file_len);
        check(&transfer.handle(packet, now), file_len);
        assert!(transfer.acked_bytes() <= file_len);
    }
}

fn next<'a>(input: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let (head, rest) = input.split_first_chunk::<2>()?;
    let head = u16::from_be_bytes(*head);
    let (packet, rest) = rest.split_at(usize::from(head & 0x3ff).min(rest.len()));
    *input = rest;
    Some((head >> 10, packet))
}

fn check(output: &Output, file_len: u64) {
    if let Output::Window(window) = output {
        assert!((1..=64).contains(&window.blocks));
        for (_, range) in window.blocks() {
            assert!(range.start <= range.end && range.end <= file_len);
            assert!(range.end - range.start <= 1468);
        }
    }
}
