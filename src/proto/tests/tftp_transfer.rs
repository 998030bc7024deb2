//! Single exchanges of a TFTP transfer.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::{Duration, Instant};

use bootstorm_proto::tftp::{
    Allowance, Limits, Outcome, Output, ReadRequest, Rollover, Transfer, Window,
};
use bootstorm_proto::types::WindowSize;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a virtual clock has to begin somewhere, and there is no other moment to be had"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn limits() -> Limits {
    Limits::for_mtu(1500, WindowSize::try_from(64).unwrap())
}

fn start(options: &str, len: u64, now: Instant) -> (Transfer, Output) {
    let packet = request(options);
    Transfer::start(&ReadRequest::parse(&packet).unwrap(), len, &limits(), now)
}

fn request(options: &str) -> Vec<u8> {
    format!("\0\x01boot/snponly.efi\0octet\0{options}").into_bytes()
}

fn ack(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![0, 4, high, low]
}

#[track_caller]
fn window(output: Output) -> Window {
    match output {
        Output::Window(window) => window,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn packet(output: Output) -> Vec<u8> {
    match output {
        Output::Packet(packet) => packet.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Allows `blocks` at `now` and more from `next` on.
fn allow(transfer: &mut Transfer, blocks: u16, next: Instant) {
    transfer.allow(Some(Allowance { blocks, next }));
}

#[test]
fn a_window_that_leaves_slowly_is_sent_once() {
    let mut now = epoch();
    let (mut transfer, _) = start("windowsize\x0016\0", 512 * 40, now);
    let pause = 400 * MS;
    let (mut next, mut sent, mut acked) = (now, 0, 0);
    let mut output = transfer.handle(&ack(0), now);
    // The first window is not limited yet.
    loop {
        if let Output::Window(window) = &output {
            assert_eq!(window.first_number, sent + 1);
            sent += window.blocks;
        }
        if sent == 41 || sent == acked + 16 {
            acked = sent;
            allow(&mut transfer, 0, next);
            output = transfer.handle(&ack(acked), now);
            if output == Output::Done(Outcome::Complete) {
                break;
            }
            assert_eq!(output, Output::Nothing);
            // It may ask again: that reports no loss, because nothing is on its way.
            let again = transfer.handle(&ack(acked), now + 300 * MS);
            assert_eq!(again, Output::Nothing);
        }
        now = transfer.timeout().unwrap();
        assert_eq!(now, next, "no retransmission before the rest of the window");
        next = now + pause;
        allow(&mut transfer, 1, next);
        output = transfer.handle_timeout(now);
    }
    assert_eq!(transfer.resent_bytes(), 0);
}

#[test]
fn without_options_the_first_block_is_the_answer() {
    let now = epoch();
    let (mut transfer, output) = start("", 1024, now);
    let first = window(output);
    assert_eq!(
        (
            first.first_number,
            first.offset,
            first.blocks,
            first.last_len
        ),
        (1, 0, 1, 512)
    );
    assert_eq!(first.header(0), [0, 3, 0, 1]);
    assert_eq!(window(transfer.handle(&ack(1), now)).offset, 512);
    let last = window(transfer.handle(&ack(2), now));
    assert_eq!(
        (last.last_len, last.data_len()),
        (0, 0),
        "an exact multiple ends with nothing"
    );
    assert_eq!(
        transfer.handle(&ack(3), now),
        Output::Done(Outcome::Complete)
    );
    assert_eq!(transfer.acked_bytes(), 1024);
    assert_eq!(transfer.timeout(), None);
}

#[test]
fn an_empty_file_is_one_empty_block() {
    let now = epoch();
    let (mut transfer, output) = start("", 0, now);
    assert_eq!(window(output).data_len(), 0);
    assert_eq!(
        transfer.handle(&ack(1), now),
        Output::Done(Outcome::Complete)
    );
}

/// EDK2 asks for the size, gives up, and asks again for the file.
#[test]
fn line_18_error_8_after_the_oack_is_a_size_probe() {
    let now = epoch();
    let (mut transfer, output) = start("tsize\x000\0blksize\x001468\0windowsize\x004\0", 5000, now);
    assert_eq!(
        packet(output),
        b"\0\x06tsize\x005000\0blksize\x001468\0windowsize\x004\0"
    );
    let gone = b"\0\x05\0\x08User aborted the transfer\0";
    let output = transfer.handle(gone, now);
    assert_eq!(output, Output::Done(Outcome::Probe));
    assert_eq!(Outcome::Probe.code(), "tftp.size-probe");
}

#[test]
fn an_error_in_the_middle_is_an_abort_with_its_words() {
    let now = epoch();
    let (mut transfer, _) = start("", 5000, now);
    let output = transfer.handle(b"\0\x05\0\x08no\x1b[31m memory\0junk", now);
    let Output::Done(Outcome::Aborted { code, text }) = output else {
        panic!("{output:?}")
    };
    assert_eq!((code, text.as_str()), (8, "no?[31m memory"));
    assert_eq!(transfer.handle(&ack(1), now), Output::Nothing);
}

#[test]
fn line_23_a_changed_file_ends_the_transfer_with_words() {
    let now = epoch();
    let (mut transfer, _) = start("", 5000, now);
    let output = transfer.file_changed();
    let Output::PacketThenDone(packet, Outcome::FileChanged) = output else {
        panic!("{output:?}")
    };
    assert_eq!(packet[..4], [0, 5, 0, 0]);
    assert!(packet.windows(7).any(|w| w == b"changed"));
    assert_eq!(transfer.file_changed(), Output::Nothing);
}

#[test]
fn wds_19_acknowledgements_of_five_bytes_are_taken() {
    let now = epoch();
    let (mut transfer, _) = start("windowsize\x002\0", 5000, now);
    assert_eq!(window(transfer.handle(&[0, 4, 0, 0, 4], now)).blocks, 2);
    assert_eq!(
        window(transfer.handle(&[0, 4, 0, 2, 4], now)).first_number,
        3
    );
}

#[test]
fn a_repeated_request_gets_the_same_answer_again() {
    let now = epoch();
    let options = "tsize\x000\0";
    let (mut transfer, output) = start(options, 5000, now);
    let again = transfer.handle(&request(options), now + MS);
    assert_eq!(packet(again), packet(output));
    let (mut plain, output) = start("", 5000, now);
    assert_eq!(plain.handle(&request(""), now + MS), output);
    assert_eq!(plain.resent_bytes(), 512);
}

#[test]
fn a_request_after_data_was_taken_begins_anew() {
    let now = epoch();
    let (mut transfer, _) = start("", 5000, now);
    assert_eq!(window(transfer.handle(&ack(1), now)).first_number, 2);
    let late_copy = transfer.handle(&request(""), now + MS);
    assert_eq!(late_copy, Output::Nothing);
    let after_a_reset = transfer.handle(&request(""), now + Duration::from_secs(20));
    assert_eq!(after_a_reset, Output::Done(Outcome::Restarted));
    // Everything has been sent and the client asks again: its last word is only late.
    let (mut transfer, _) = start("", 600, now);
    assert_eq!(window(transfer.handle(&ack(1), now)).first_number, 2);
    let next = transfer.handle(&request(""), now + MS);
    assert_eq!(next, Output::Done(Outcome::Restarted));
    let (mut transfer, _) = start("", 5000, now);
    let other_file = transfer.handle(b"\0\x01other\0octet\0", now + MS);
    assert_eq!(other_file, Output::Done(Outcome::Restarted));
}

/// The Sorcerer's Apprentice: a copy of an acknowledgement is not a wish for more data.
#[test]
fn repeated_acknowledgements_send_nothing() {
    let now = epoch();
    let (mut transfer, _) = start("tsize\x000\0", 50_000, now);
    let mut now = now + MS;
    for number in 0..50 {
        let next = window(transfer.handle(&ack(number), now));
        assert_eq!(next.first_number, number + 1);
        assert_eq!(
            transfer.handle(&ack(number), now + MS / 10),
            Output::Nothing
        );
        now += MS;
    }
    assert_eq!(transfer.resent_bytes(), 0);
}

#[test]
fn old_and_invented_acknowledgements_are_ignored() {
    let now = epoch();
    let (mut transfer, _) = start("windowsize\x004\0", 50_000, now);
    assert_eq!(transfer.handle(&ack(7), now), Output::Nothing);
    assert_eq!(window(transfer.handle(&ack(0), now)).blocks, 4);
    assert_eq!(window(transfer.handle(&ack(4), now)).first_number, 5);
    for number in [3, 9, 100, 65_535] {
        assert_eq!(
            transfer.handle(&ack(number), now),
            Output::Nothing,
            "{number}"
        );
    }
}

#[test]
fn a_gap_restarts_the_window_behind_the_last_good_block() {
    let now = epoch();
    let (mut transfer, _) = start("windowsize\x008\0", 50_000, now);
    assert_eq!(window(transfer.handle(&ack(0), now + MS)).blocks, 8);
    let again = window(transfer.handle(&ack(3), now + MS * 2));
    assert_eq!((again.first_number, again.offset), (4, 3 * 512));
    assert_eq!(again.blocks, 2, "a loss among so few: little at once");
    assert_eq!(transfer.resent_bytes(), 2 * 512);
    for first_number in [6, 8, 10] {
        let rest = transfer.timeout().unwrap();
        let rest = window(transfer.handle_timeout(rest));
        assert_eq!((rest.first_number, rest.blocks), (first_number, 2));
    }
    let answer = Instant::max(now, transfer.timeout().unwrap()) - MS;
    let output = transfer.handle_timeout(answer);
    assert_eq!(output, Output::Nothing, "up to the agreed window");
}

#[test]
fn silence_is_met_with_five_more_tries_and_then_with_silence() {
    let begin = epoch();
    for options in ["", "tsize\x000\0"] {
        let (mut transfer, first) = start(options, 5000, begin);
        let mut pauses = Vec::new();
        let mut now = begin;
        loop {
            let due = transfer.timeout().unwrap();
            assert_eq!(transfer.handle_timeout(due - MS), Output::Nothing);
            pauses.push((due - now).as_secs());
            now = due;
            let output = transfer.handle_timeout(now);
            if output == Output::Done(Outcome::TimedOut) {
                break;
            }
            assert_eq!(output, first);
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5]);
        assert_eq!(transfer.timeout(), None);
    }
}

/// Blocks sent to a client that is never heard of again, and how that is told.
fn abandoned(transfer: &mut Transfer) -> (u16, Outcome) {
    let mut blocks = 0;
    loop {
        match transfer.handle_timeout(transfer.timeout().unwrap()) {
            Output::Window(window) => blocks += window.blocks,
            Output::Done(outcome) => return (blocks, outcome),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_that_vanishes_within_the_last_window_may_have_the_file() {
    let now = epoch();
    let options = "windowsize\x004\0";
    let (mut all_sent, _) = start(options, 6 * 512, now);
    assert_eq!(window(all_sent.handle(&ack(0), now)).blocks, 4);
    assert_eq!(window(all_sent.handle(&ack(4), now)).blocks, 3);
    // Three blocks again at each of six time-outs.
    assert_eq!(abandoned(&mut all_sent), (18, Outcome::Unconfirmed));
    let (mut blocks_left, _) = start(options, 60 * 512, now);
    assert_eq!(window(blocks_left.handle(&ack(0), now)).blocks, 4);
    assert_eq!(abandoned(&mut blocks_left), (24, Outcome::TimedOut));
    // All of it was sent, but nothing says that anybody was there.
    let (mut never_heard_of, _) = start("", 100, now);
    assert_eq!(abandoned(&mut never_heard_of), (5, Outcome::TimedOut));
}

#[test]
fn the_first_exchange_sets_the_pace() {
    let now = epoch();
    let (mut fast, _) = start("tsize\x000\0", 5000, now);
    assert_eq!(window(fast.handle(&ack(0), now + MS)).first_number, 1);
    assert_eq!(fast.timeout(), Some(now + MS + 200 * MS));
    let (mut slow, _) = start("tsize\x000\0", 5000, now);
    let later = now + 400 * MS;
    assert_eq!(window(slow.handle(&ack(0), later)).first_number, 1);
    assert_eq!(slow.timeout(), Some(later + 1200 * MS));
    let (mut asked, _) = start("timeout\x003\0", 5000, now);
    assert_eq!(asked.timeout(), Some(now + 3000 * MS));
    assert_eq!(window(asked.handle(&ack(0), now + MS)).first_number, 1);
    assert_eq!(asked.timeout(), Some(now + 3001 * MS));
}

#[test]
fn block_numbers_roll_over_to_zero_or_to_one() {
    let window = |rollover| Window {
        first_number: 65_534,
        offset: 0,
        blocks: 4,
        block_size: 8,
        last_len: 3,
        rollover,
    };
    let numbers = |rollover| {
        window(rollover)
            .blocks()
            .map(|(n, _)| n)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(Rollover::Zero), [65_534, 65_535, 0, 1]);
    assert_eq!(numbers(Rollover::One), [65_534, 65_535, 1, 2]);
    let ranges: Vec<_> = window(Rollover::Zero).blocks().map(|(_, r)| r).collect();
    assert_eq!(ranges, [0..8, 8..16, 16..24, 24..27]);
}

/// What a hostile client may do next.
#[derive(Clone, Debug)]
enum Step {
    Ack(u16),
    Bytes(Vec<u8>),
    Wait(u64),
    Timer,
    Request,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u16..200).prop_map(Step::Ack),
        1 => any::<u16>().prop_map(Step::Ack),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        1 => (0_u64..3000).prop_map(Step::Wait),
        3 => Just(Step::Timer),
        1 => Just(Step::Request),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_packets_leaves_the_file(
        len in prop_oneof![0_u64..100_000, Just(u64::MAX), Just(u64::MAX - 511)],
        block in 0_u32..70_000,
        size in 0_u32..70_000,
        one in any::<bool>(),
        steps in steps(),
    ) {
        let options = format!("blksize\0{block}\0windowsize\0{size}\0");
        let rrq = request(&options);
        let rollover = if one { Rollover::One } else { Rollover::Zero };
        let limits = Limits { rollover, ..limits() };
        let mut now = epoch();
        let parsed = ReadRequest::parse(&rrq).unwrap();
        let (mut transfer, mut output) = Transfer::start(&parsed, len, &limits, now);
        let mut over = false;
        for step in steps {
            if let Output::Window(window) = output {
                prop_assert!(window.blocks >= 1 && window.blocks <= 64);
                for (_, range) in window.blocks() {
                    prop_assert!(range.start <= range.end && range.end <= len);
                    prop_assert!(range.end - range.start <= 1468);
                }
            }
            prop_assert!(!over || output == Output::Nothing);
            over |= matches!(output, Output::Done(_) | Output::PacketThenDone(..));
            prop_assert_eq!(transfer.timeout().is_none(), over);
            prop_assert!(transfer.acked_bytes() <= len);
            output = match step {
                Step::Ack(number) => transfer.handle(&ack(number), now),
                Step::Bytes(bytes) => transfer.handle(&bytes, now),
                Step::Request => transfer.handle(&rrq, now),
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    transfer.handle_timeout(now)
                }
                Step::Timer => {
                    now = transfer.timeout().unwrap_or(now);
                    transfer.handle_timeout(now)
                }
            };
        }
    }

    #[test]
    fn no_request_panics_and_every_refusal_is_an_error_packet(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        opcode in 0_u8..8,
    ) {
        let mut packet = vec![0, opcode];
        packet.extend(bytes);
        if let Err(refusal) = ReadRequest::parse(&packet) {
            let encoded = refusal.encode();
            prop_assert_eq!(&encoded[..2], &[0, 5]);
            prop_assert_eq!(encoded.last(), Some(&0));
        }
    }
}

#[test]
fn a_window_that_left_late_is_neither_a_loss_nor_a_slow_network() {
    let now = epoch();
    let options = "blksize\x001468\0windowsize\x004\0";
    let (mut transfer, _) = start(options, 100_000, now);
    let _ = window(transfer.handle(&ack(0), now + MS));
    let (waited, left) = (60_000 * MS, now + 60_001 * MS);
    transfer.delayed(waited);
    assert!(transfer.timeout().is_some_and(|at| at > left));
    let next = window(transfer.handle(&ack(4), left + MS));
    assert_eq!((next.first_number, transfer.resent_bytes()), (5, 0));
    // The round trip took a millisecond: the next loss is noticed as soon as ever.
    assert!(transfer.timeout().is_some_and(|at| at <= left + 300 * MS));
}
