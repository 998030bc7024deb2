//! Transfers at a limited rate, and machines that wait for their turn.

use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::limits;
use crate::pacing::PacingConfig;

const MIB: usize = 1 << 20;

fn paced_lab(length: usize, config: PacingConfig) -> Lab {
    let lab = lab(31, CALM, length, Some(vec![64001, 64002]));
    lab.pacing.set(config);
    lab
}

fn per_machine(bytes: u64) -> PacingConfig {
    PacingConfig {
        per_machine: NonZeroU64::new(bytes),
        ..PacingConfig::default()
    }
}

/// Bytes a second that a machine got.
fn rate(fetched: &RefCell<Fetched>, start: Instant) -> f64 {
    let fetched = fetched.borrow();
    fetched.content.len() as f64 / (fetched.done.unwrap() - start).as_secs_f64()
}

#[test]
fn a_machine_gets_its_rate_whatever_its_window_and_nothing_is_sent_twice() {
    for (bytes, length) in [
        (limits::SLOWEST, 20 * limits::UNPACED as usize),
        (100_000, MIB),
        (1_000_000, 4 * MIB),
        (20_000_000, 16 * MIB),
    ] {
        for window in [1, 4, 16, 64] {
            // One window a round trip is no more than this.
            let by_round_trips = u64::from(window) * 1468 * 2500;
            if by_round_trips < 2 * bytes {
                continue;
            }
            let mut lab = paced_lab(length, per_machine(bytes));
            let start = lab.now();
            let (machine, fetched) = Machine::new(start, window);
            lab.add(9, machine);
            lab.settle(|| fetched.borrow().done.is_none());
            assert!(fetched.borrow().content == lab.content);
            let share = rate(&fetched, start) / bytes as f64;
            assert!((0.85..1.15).contains(&share), "{bytes} {window}: {share}");
            let needed = length as u64 / 1468 + 2;
            let sent = lab.worker.driver.sent;
            assert!(sent <= needed, "{bytes} {window}: {sent} for {needed}");
        }
    }
}

#[test]
fn a_lossy_network_changes_nothing_about_the_most_that_is_sent() {
    for window in [1, 16, 64] {
        let mut lab = lab(32, weather(10), 2 * MIB, Some(vec![64001]));
        lab.pacing.set(per_machine(400_000));
        let start = lab.now();
        let (machine, fetched) = Machine::new(start, window);
        lab.add(9, machine);
        lab.settle(|| fetched.borrow().done.is_none());
        assert!(fetched.borrow().content == lab.content);
        let most = (lab.now() - start).as_secs_f64() * 400_000.0 + 20_000.0;
        assert!((lab.worker.driver.sent * 1468) as f64 <= most);
    }
}

#[test]
fn the_total_is_divided_evenly_and_never_exceeded() {
    const MACHINES: u8 = 100;
    const TOTAL: u64 = 4_000_000;
    let total = PacingConfig {
        total: NonZeroU64::new(TOTAL),
        ..PacingConfig::default()
    };
    let mut lab = paced_lab(256 << 10, total);
    let start = lab.now();
    let machines: Vec<_> = (0..MACHINES)
        .map(|number| {
            let (machine, fetched) = Machine::new(start, [1, 4, 16, 64][usize::from(number) % 4]);
            lab.add(100 + number, machine);
            fetched
        })
        .collect();
    let mut history = vec![(start, 0)];
    while machines.iter().any(|f| f.borrow().done.is_none()) {
        lab.worker.turn().unwrap();
        history.push((lab.now(), lab.worker.driver.sent * 1472));
    }
    let rates: Vec<f64> = machines.iter().map(|f| rate(f, start)).collect();
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|r| r * r).sum();
    let jain = sum * sum / (rates.len() as f64 * squares);
    assert!(jain > 0.99, "{jain}");
    assert!(sum > 0.85 * TOTAL as f64, "{sum}");
    let bursts = u64::from(MACHINES) * 3 * 1472;
    let mut first = 0;
    for &(now, sent) in &history {
        while now - history[first].0 > Duration::from_secs(1) {
            first += 1;
        }
        let second = sent - history[first].1;
        assert!(second <= TOTAL + bursts, "{second}");
    }
}

#[test]
fn a_machine_beyond_the_cap_is_answered_when_its_turn_comes() {
    let one = PacingConfig {
        machines: NonZeroU32::new(1),
        ..PacingConfig::default()
    };
    let mut lab = paced_lab(limits::QUEUES_FROM as usize, one);
    let start = lab.now();
    let machines: Vec<_> = (0..4)
        .map(|number| {
            let patience = Duration::from_millis(100 * number);
            let (machine, fetched) = Machine::new(start + patience, 64);
            lab.add(100 + number as u8, machine);
            fetched
        })
        .collect();
    lab.settle(|| machines.iter().any(|f| f.borrow().done.is_none()));
    let done: Vec<Instant> = machines.iter().map(|f| f.borrow().done.unwrap()).collect();
    assert!(done.is_sorted(), "in the order of arrival");
    for pair in done.windows(2) {
        let between = pair[1] - pair[0];
        assert!(between < limits::PLACE_KEPT + Duration::from_secs(4));
    }
    let told = lab.events.try_iter().find_map(|event| match event.what {
        What::Queued { place, of } => Some((place, of)),
        _ => None,
    });
    assert_eq!(told, Some((1, 1)));
    let metrics = lab.metrics.encode();
    assert!(metrics.contains("bootstorm_pacing_admitted_total 3"));
    assert!(metrics.contains("bootstorm_pacing_machines_waiting 0"));
    assert!(metrics.contains("bootstorm_pacing_machines_fed 1"));
}

#[test]
fn small_files_do_not_wait_for_large_ones() {
    let one = PacingConfig {
        machines: NonZeroU32::new(1),
        ..PacingConfig::default()
    };
    let mut lab = paced_lab(limits::QUEUES_FROM as usize - 1, one);
    let start = lab.now();
    let elsewhere = std::net::IpAddr::from([10, 9, 9, 9]);
    let _large = lab.pacing.begin(elsewhere, "", true, start);
    let (machine, fetched) = Machine::new(start, 64);
    lab.add(9, machine);
    lab.settle(|| fetched.borrow().done.is_none());
    assert_eq!(lab.count(|what| matches!(what, What::Queued { .. })), 0);
}

#[test]
fn a_limit_that_is_set_or_lifted_reaches_transfers_under_way() {
    let mut lab = paced_lab(4 * MIB, PacingConfig::default());
    let start = lab.now();
    let (machine, fetched) = Machine::new(start, 16);
    lab.add(9, machine);
    while fetched.borrow().content.len() < MIB {
        lab.worker.turn().unwrap();
    }
    lab.pacing.set(per_machine(500_000));
    let limited = lab.now();
    while lab.now() < limited + Duration::from_secs(2) {
        lab.worker.turn().unwrap();
    }
    let got = fetched.borrow().content.len() - MIB;
    assert!((850_000..1_150_000).contains(&got), "{got}");
    lab.pacing.set(PacingConfig::default());
    lab.settle(|| fetched.borrow().done.is_none());
    let rest = fetched.borrow().done.unwrap() - limited;
    assert!(rest < Duration::from_millis(2300), "{rest:?}");
}
