use super::*;
use crate::machine::event::{File, Transport};
use crate::report::sample::{self, Played};

const BIOS: Profile = Profile::Bios;

#[test]
fn a_storm_comes_to_a_report() {
    let report = sample::report(1);
    let machines = report.all.machines;
    assert_eq!((machines.started, machines.under_way), (12, 0));
    assert_eq!((machines.booted, machines.failed), (11, 1));
    assert_eq!(report.all.bytes, 110_000_000);
    assert_eq!(report.bytes_by_transport.http, 50_000_000);
    assert_eq!(report.bytes_by_transport.https, 60_000_000);
    assert_eq!(report.resent.dhcp, 1);
    assert_eq!((report.handshakes.full, report.handshakes.resumed), (1, 5));
    assert_eq!((report.files.count, report.files.verified), (11, 11));
    let booted = report.all.phases[&Phase::Booted];
    assert_eq!((booted.machines, booted.p50, booted.max), (11, 4.0, 4.0));
    let bios = &report.profiles[&BIOS];
    assert_eq!(bios.phases[&Phase::Booted].max, 2.0);
    assert!((bios.jain.unwrap() - 1.0).abs() < 1e-9);
    // 5 machines with twice the rate of 6: (5·2 + 6)² / (11 · (5·4 + 6)).
    let jain = report.all.jain.unwrap();
    assert!((jain - 256.0 / 286.0).abs() < 1e-3, "{jain}");
    assert_eq!(report.cpu.server_s, Some(0.9));
    assert!(!report.passed());
}

#[test]
fn failures_and_findings_have_the_first_example_and_its_packets() {
    let report = sample::report(1);
    let [failure] = &report.failures[..] else {
        panic!("{:?}", report.failures)
    };
    assert_eq!((failure.code.as_str(), failure.count), ("script.html", 1));
    assert_eq!(failure.machines, 1);
    assert!(failure.meaning.contains("HTML"));
    let example = &failure.example;
    assert_eq!(example.mac.as_deref(), Some("02:b5:70:00:00:0b"));
    assert_eq!(example.at_s, 4.32);
    assert_eq!(example.trace.len(), 2);
    assert_eq!(example.trace[0].text, "DHCP discover");
    assert!(!example.trace[1].text.contains('\u{1b}'));
    assert!(!example.evidence.contains('\u{1b}'));
}

#[test]
fn rates_leave_out_what_machines_waited_for_in_menus() {
    let mut played = Played::new(1);
    let who = Identity::new(0, BIOS);
    let file = |bytes| File {
        name: "http://a/b".to_owned(),
        bytes,
        xxh3: None,
        sha256: None,
        verified: false,
    };
    played.at(0, &who, Event::PoweredOn);
    played.at(0, &who, Event::Received(Transport::Http, 100));
    played.at(0, &who, Event::Fetched(file(100)));
    for tenth in 0..=10 {
        let at = 10_000 + 100 * tenth;
        played.at(at, &who, Event::Received(Transport::Http, 1_000_000));
    }
    played.at(11_000, &who, Event::Fetched(file(11_000_000)));
    played.at(11_000, &who, Event::Ended(Outcome::Booted));
    assert_eq!(played.books.machines[0].unwrap().rate, 11e6);
    let report = played.close(11_000, End::AllThrough);
    assert_eq!(report.bytes_per_s, (11_000_100.0_f64 / 2.0).round());
    assert_eq!(report.all.jain, Some(1.0));
}

#[test]
fn a_power_cut_starts_the_machines_times_anew() {
    let mut played = Played::new(1);
    let who = Identity::new(0, BIOS);
    played.at(0, &who, Event::PoweredOn);
    played.at(100, &who, Event::Reached(Phase::Offered));
    played.at(200, &who, Event::Received(Transport::Tftp, 500));
    played.at(1_000, &who, Event::PoweredOn);
    let snapshot = played.books.snapshot(played.begun);
    assert_eq!(snapshot.reached[&Phase::Offered], 0);
    assert_eq!(snapshot.machines.under_way, 1);
    played.boots(&who, 2_000, 1_000);
    let report = played.close(4_000, End::AllThrough);
    assert_eq!(report.all.machines.restarts, 2);
    assert_eq!(report.all.machines.started, 1);
    assert_eq!(report.all.machines.booted, 1);
    assert_eq!(report.all.phases[&Phase::Offered].p50, 0.004);
    assert_eq!(report.all.bytes, 10_000_500);
    assert_eq!(report.course.reached[&Phase::Offered].last(), Some(&1));
    assert!(report.passed());
}

#[test]
fn a_machine_that_booted_may_come_back_and_fail() {
    let mut played = Played::new(1);
    let who = Identity::new(0, BIOS);
    played.boots(&who, 0, 1_000);
    played.at(2_000, &who, Event::PoweredOn);
    let gone = Finding::new(Code::DhcpSilent, "nobody");
    played.at(9_000, &who, Event::Ended(Outcome::Failed(gone)));
    let report = played.close(9_000, End::AllThrough);
    let machines = report.all.machines;
    assert_eq!((machines.booted, machines.failed), (0, 1));
    assert_eq!(report.course.failed.last(), Some(&1));
    assert!(!report.passed());
}

#[test]
fn events_of_nobody_change_nothing() {
    let mut played = Played::new(1);
    let who = Identity::new(7, BIOS);
    played.at(0, &who, Event::Reached(Phase::Booted));
    played.at(0, &who, Event::Ended(Outcome::Booted));
    let report = played.close(0, End::Interrupted);
    assert_eq!(report.all.machines, Machines::default());
    assert_eq!(report.seconds, 0.0);
    assert!(!report.passed());
}

#[test]
fn findings_of_many_machines_are_one() {
    let mut played = Played::new(100);
    for index in 0..100 {
        let who = Identity::new(index, BIOS);
        played.at(0, &who, Event::PoweredOn);
        for _ in 0..3 {
            let finding = Finding::new(Code::ScriptHtml, format!("page {index}"));
            played.at(5, &who, Event::Deviation(finding));
        }
    }
    let snapshot = played.books.snapshot(played.begun);
    assert_eq!(snapshot.findings, [(Code::ScriptHtml, 300)]);
    assert_eq!(snapshot.latest.len(), 1);
    assert_eq!(snapshot.latest[0].times, 300);
    let report = played.close(10, End::TimeUp);
    assert_eq!(report.findings[0].count, 300);
    assert_eq!(report.findings[0].machines, 100);
    assert_eq!(report.findings[0].example.evidence, "page 0");
}

#[test]
fn the_newest_of_each_kind_is_shown_in_the_order_they_came() {
    let mut played = Played::new(3);
    for index in 0..6 {
        let who = Identity::new(index % 3, BIOS);
        let code = [Code::ScriptHtml, Code::DhcpSilent][index as usize % 2];
        let finding = Finding::new(code, index.to_string());
        played.at(u64::from(index), &who, Event::Deviation(finding));
    }
    let latest = played.books.snapshot(played.begun).latest;
    let told: Vec<_> = latest
        .iter()
        .map(|latest| (latest.code, latest.evidence.as_str(), latest.times))
        .collect();
    assert_eq!(
        told,
        [(Code::ScriptHtml, "4", 3), (Code::DhcpSilent, "5", 3)]
    );
}

#[test]
fn a_harness_that_was_too_slow_says_so_itself() {
    let mut played = Played::new(1);
    let own = Duration::from_secs(5);
    let now = played.begun + own;
    played.books.usage(now, own, None);
    let report = played.close(5_000, End::AllThrough);
    let [found] = &report.findings[..] else {
        panic!("{:?}", report.findings)
    };
    assert_eq!(found.code, "harness.bottleneck");
    assert_eq!((found.count, found.machines), (1, 0));
    assert_eq!(found.example.mac, None);
}
