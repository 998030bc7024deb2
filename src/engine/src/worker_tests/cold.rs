//! Transfers whose file is not in memory.

use bootstorm_catalog::mapping::CHUNK;

use super::*;

/// A file of four chunks, of which only the first is in memory.
fn cold_lab(disk: Duration) -> Lab {
    let length = 4 * CHUNK as usize - 1000;
    let mut lab = lab(21, CALM, length, Some(vec![64001]));
    let end = length as u64;
    let driver = &mut lab.worker.driver;
    driver.cold = (1..4)
        .map(|n| n * CHUNK..end.min((n + 1) * CHUNK))
        .collect();
    driver.disk = disk;
    lab
}

#[test]
fn a_slow_disk_delays_those_who_need_it_and_nobody_else() {
    let disk = Duration::from_secs(100);
    let mut lab = cold_lab(disk);
    let start = lab.now();
    let (early, first) = Machine::new(start, 16);
    lab.add(9, early);
    let (late, second) = Machine::new(start + Duration::from_secs(30), 16);
    lab.add(10, late);
    // While the first machine waits, the second gets what is there.
    while lab.now() < start + disk / 2 {
        lab.worker.turn().unwrap();
    }
    let there = CHUNK as usize - 16 * 1468;
    for fetched in [&first, &second] {
        let got = fetched.borrow().content.len();
        assert!((there..=CHUNK as usize).contains(&got), "{got}");
    }
    assert_eq!(lab.worker.driver.reads, 0);
    lab.settle(|| first.borrow().done.is_none() || second.borrow().done.is_none());
    for fetched in [&first, &second] {
        assert!(fetched.borrow().content == lab.content);
    }
    assert_eq!(lab.worker.driver.reads, 3, "each chunk once, for both");
    let done = first.borrow().done.unwrap() - start;
    assert!(done < 3 * disk + Duration::from_secs(1), "{done:?}");
    // Waiting for the disk is no loss: nothing is sent twice, and nobody is given up.
    let needed = 2 * (lab.content.len() as u64 / 1468 + 1);
    let sent = lab.worker.driver.sent;
    assert!(sent < needed + needed / 50, "{sent} for {needed}");
    assert_eq!(lab.count(|what| matches!(what, What::Finished { .. })), 2);
}

#[test]
fn a_quick_disk_keeps_ahead_of_the_client() {
    let mut lab = cold_lab(Duration::from_millis(1));
    let start = lab.now();
    let (machine, fetched) = Machine::new(start, 16);
    lab.add(9, machine);
    lab.settle(|| fetched.borrow().done.is_none());
    assert!(fetched.borrow().content == lab.content);
    assert_eq!(lab.worker.driver.reads, 3);
    let waits = lab.metrics.memory.waits.get();
    assert_eq!(
        waits, 0,
        "what follows was read while the first chunk was sent"
    );
}

#[test]
fn a_machine_that_leaves_while_the_disk_reads_is_let_go() {
    let mut lab = cold_lab(Duration::from_secs(100));
    let start = lab.now();
    let (mut machine, fetched) = Machine::new(start, 16);
    machine.gives_up_after = Some(Duration::from_secs(10));
    lab.add(9, machine);
    while lab.now() < start + Duration::from_secs(50) {
        lab.worker.turn().unwrap();
    }
    assert!(!fetched.borrow().content.is_empty());
    assert_eq!(lab.worker.tftp.active(), 0);
    while lab.worker.driver.has_more() {
        lab.worker.turn().unwrap();
    }
    assert_eq!(lab.worker.next_timeout(), None);
    let told = lab.events.try_iter().find_map(|event| match event.what {
        What::Broken { reason, .. } => Some(reason.code),
        _ => None,
    });
    assert_eq!(told, Some("tftp.aborted"));
}
