//! Whole transfers over a simulated network.

#![expect(clippy::expect_used, reason = "a test ends at the first surprise")]

mod net;

use std::time::Duration;

use bootstorm_proto::tftp::{Outcome, Rollover};
use net::{Client, Habit, Net, Run};

fn client(window: u16) -> Client {
    Client {
        block: 1456,
        window,
        habit: Habit::EveryGap,
        rollover: Rollover::Zero,
    }
}

fn whole(run: &Run, file: &[u8]) {
    assert_eq!(run.outcome, Outcome::Complete, "{run:?}");
    assert_eq!(run.received, file.len() as u64, "{run:?}");
}

/// The block number goes past 65535, at a block size that does not divide the file.
#[test]
fn line_19_more_than_65536_blocks_arrive_byte_for_byte() {
    let file = net::file(105_000_001);
    for rollover in [Rollover::Zero, Rollover::One] {
        let client = Client {
            rollover,
            ..client(16)
        };
        let net = Net {
            loss: 10,
            ..Net::default()
        };
        whole(&net::run(net, client, &file), &file);
    }
}

/// One packet of a hundred is lost each way and every acknowledgement comes twice.
#[test]
fn line_20_doubled_acknowledgements_cause_no_storm() {
    let file = net::file(20_000_000);
    for window in [1, 2, 4, 8, 16, 32, 64] {
        for seed in 1..=3 {
            let net = Net {
                seed,
                loss: 100,
                copies: 2,
                ..Net::default()
            };
            let run = net::run(net, client(window), &file);
            whole(&run, &file);
            let ratio = run.ratio();
            assert!(ratio <= 1.05, "window {window}, seed {seed}: {ratio}");
        }
    }
}

#[test]
fn a_network_that_loses_five_percent_is_not_flooded() {
    let file = net::file(10_000_000);
    for window in [1, 4, 16, 64] {
        for habit in [Habit::EveryGap, Habit::OnceAGap] {
            let net = Net {
                loss: 500,
                reorder: 100,
                ..Net::default()
            };
            let client = Client {
                habit,
                ..client(window)
            };
            let run = net::run(net, client, &file);
            whole(&run, &file);
            let ratio = run.ratio();
            assert!(ratio < 1.6, "window {window}, {habit:?}: {ratio}");
        }
    }
}

#[test]
fn a_good_network_sees_every_block_once() {
    let file = net::file(10_000_000);
    for window in [1, 4, 16, 64] {
        for habit in [Habit::EveryGap, Habit::OnceAGap] {
            let client = Client {
                habit,
                ..client(window)
            };
            let run = net::run(Net::default(), client, &file);
            whole(&run, &file);
            assert_eq!(run.data_sent, run.data_needed, "window {window}, {habit:?}");
        }
    }
}

/// Network cards with a short queue, as firmware drivers have them: whatever is sent too fast is
/// gone. The window that was agreed stays; what is sent at once shrinks.
#[test]
fn a_client_with_a_short_queue_gets_smaller_bursts() {
    let file = net::file(10_000_000);
    for queue in [4, 8, 20] {
        let net = Net {
            queue: Some(queue),
            ..Net::default()
        };
        let run = net::run(net, client(64), &file);
        whole(&run, &file);
        assert!(run.ratio() < 1.05, "queue {queue}: {}", run.ratio());
        assert!(
            run.time < Duration::from_secs(4),
            "queue {queue}: {:?}",
            run.time
        );
    }
}

/// Against RFC 7440, but seen: each acknowledgement looks like the report of a loss.
#[test]
fn a_client_that_acknowledges_every_block_causes_no_storm() {
    let file = net::file(10_000_000);
    for window in [4, 16, 64] {
        let client = Client {
            habit: Habit::EveryBlock,
            ..client(window)
        };
        let run = net::run(Net::default(), client, &file);
        whole(&run, &file);
        assert!(run.ratio() < 1.2, "window {window}: {}", run.ratio());
    }
}

#[test]
fn distance_and_disorder_do_not_stop_a_transfer() {
    let file = net::file(2_000_000);
    for (delay, reorder) in [(10, 0), (100, 50), (600, 200)] {
        let net = Net {
            loss: 50,
            reorder,
            delay: Duration::from_millis(delay),
            ..Net::default()
        };
        let run = net::run(net, client(16), &file);
        whole(&run, &file);
        assert!(run.ratio() < 1.3, "{delay} ms: {}", run.ratio());
    }
}
