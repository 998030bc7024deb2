//! What user space writes into the maps and reads out of them, while the program runs.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bootstorm_ebpf_shared::{Cause, Class, Family, Mac, Rate, Rule, Sample, Table, counter};
use bootstorm_kernel_tests::holder::within;
use bootstorm_kernel_tests::network::{Sender, cable, in_namespace, interface, ip};
use bootstorm_xdp::{Classifier, Counts, Mode, Roster, XdpConfig, XdpError};

/// What [`Sender::discover`] sends.
const CLASS: Class = Class::Firmware(Family::X64);
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_table_holds_at_once_and_samples_tell_what_it_dropped() {
    with_classifier(|sender, classifier, samples| {
        sender.discover(mac(1))?;
        expect(classifier, Cause::Passed, 1)?;
        assert!(samples.try_recv().is_err(), "nothing was dropped");

        let mut table = Table::default();
        table.rules[usize::from(CLASS.number())] = Rule::DROP;
        classifier.set_table(&table)?;
        sender.discover(mac(2))?;
        expect(classifier, Cause::Rule, 1)?;
        let sample = samples.recv_timeout(SOON)?;
        assert_eq!(sample.mac, mac(2));
        assert_eq!(sample.interface, interface("xa")?.1);
        assert_eq!(sample.class, CLASS.number());
        assert_eq!(Cause::of(sample.cause), Some(Cause::Rule));
        assert_eq!(sample.length, 14 + 20 + 8 + 300);
        assert_eq!(sample.head[..6], [0xff; 6]);
        assert_eq!(sample.head[6..12], mac(2));

        classifier.set_table(&Table::default())?;
        sender.discover(mac(3))?;
        expect(classifier, Cause::Passed, 2)
    });
}

#[test]
fn a_machine_that_becomes_known_has_its_own_bucket_and_keeps_it() {
    with_classifier(|sender, classifier, _| {
        let mut table = Table::default();
        table.settings.limits.machine = Rate::new(1, 2);
        table.settings.limits.known = Rate::new(1, 5);
        classifier.set_table(&table)?;
        assert_eq!(classifier.refused(&mac(1)), None);
        (0..10).try_for_each(|_| sender.discover(mac(1)))?;
        within(SOON, "ten packets", || {
            Ok(total(&classifier.counts()?) == 10)
        })?;
        let refused = classifier.refused(&mac(1)).context("it has a bucket")?;
        assert!((7..=8).contains(&refused), "{refused}");
        expect(classifier, Cause::MachineRate, refused)?;

        let mut roster = Roster {
            known: vec![mac(1)],
            ..Roster::default()
        };
        classifier.set_roster(&roster)?;
        (0..10).try_for_each(|_| sender.discover(mac(1)))?;
        within(SOON, "ten more", || Ok(total(&classifier.counts()?) == 20))?;
        let as_known = classifier.refused(&mac(1)).context("two buckets")? - refused;
        assert!((4..=5).contains(&as_known), "{as_known}");
        expect(classifier, Cause::KnownRate, as_known)?;

        roster.known = vec![mac(9), mac(1)];
        classifier.set_roster(&roster)?;
        assert_eq!(classifier.refused(&mac(1)), Some(refused + as_known));
        roster.known = vec![mac(9)];
        classifier.set_roster(&roster)?;
        assert_eq!(classifier.refused(&mac(1)), Some(refused));
        assert_eq!(classifier.refused(&mac(9)), Some(0));
        Ok(())
    });
}

#[test]
fn a_ban_holds_at_once_and_until_it_is_lifted() {
    with_classifier(|sender, classifier, samples| {
        let banned = Roster {
            banned_macs: vec![mac(1)],
            ..Roster::default()
        };
        classifier.set_roster(&banned)?;
        sender.discover(mac(1))?;
        sender.discover(mac(2))?;
        expect(classifier, Cause::BannedMac, 1)?;
        expect(classifier, Cause::Passed, 1)?;
        let sample = samples.recv_timeout(SOON)?;
        assert_eq!(Cause::of(sample.cause), Some(Cause::BannedMac));
        classifier.set_roster(&Roster::default())?;
        sender.discover(mac(1))?;
        expect(classifier, Cause::Passed, 2)
    });
}

#[test]
fn more_machines_than_fit_are_told_in_one_line_and_those_that_fit_are_known() {
    with_classifier(|sender, classifier, _| {
        let begun = Instant::now();
        let mut roster = Roster {
            known: (0..70_000).map(mac).collect(),
            ..Roster::default()
        };
        let error = classifier.set_roster(&roster).err().context("too many")?;
        println!("70,000 machines in {:?}", begun.elapsed());
        assert_eq!(error.code(), "xdp.map-full");
        let XdpError::MapFull(full) = &error else {
            panic!("{error}")
        };
        assert_eq!((full[0].fit, full[0].asked), (65_536, 70_000));
        assert!(
            error
                .to_string()
                .starts_with("65536 of 70000 known machines fit"),
            "{error}"
        );
        sender.discover(mac(65_535))?;
        expect(classifier, Cause::PassedKnown, 1)?;
        sender.discover(mac(65_536))?;
        expect(classifier, Cause::Passed, 1)?;

        // Where some leave, those that did not fit come in.
        roster.known.drain(..10_000);
        classifier.set_roster(&roster)?;
        sender.discover(mac(65_536))?;
        expect(classifier, Cause::PassedKnown, 2)
    });
}

#[test]
fn a_full_list_of_known_machines_keeps_nobody_from_being_banned() {
    with_classifier(|sender, classifier, _| {
        let roster = Roster {
            known: (0..66_000).map(mac).collect(),
            banned_macs: vec![mac(1)],
            ..Roster::default()
        };
        let error = classifier.set_roster(&roster).err().context("too many")?;
        assert_eq!(error.code(), "xdp.map-full");
        sender.discover(mac(1))?;
        expect(classifier, Cause::BannedMac, 1)
    });
}

#[test]
fn counters_are_read_while_traffic_runs() {
    with_classifier(|sender, classifier, _| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sent = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    sender.discover(mac(sent % 1000))?;
                    sent += 1;
                }
                anyhow::Ok(sent)
            });
            let begun = Instant::now();
            let (mut reads, mut last, mut grew) = (0_u32, 0, 0);
            while begun.elapsed() < Duration::from_secs(1) {
                let now = total(&classifier.counts()?);
                assert!(now >= last, "{now} after {last}");
                grew += u32::from(now > last);
                last = now;
                reads += 1;
            }
            stop.store(true, Ordering::Relaxed);
            let Ok(sent) = sending.join() else {
                panic!("the sender ended")
            };
            let sent = u64::from(sent?);
            println!("{reads} reads of all counters beside {sent} packets");
            assert!(grew > 2, "{grew} of {reads}");
            within(SOON, "every packet is counted", || {
                Ok(total(&classifier.counts()?) == sent)
            })
        })
    });
}

#[test]
fn packets_to_an_address_count_from_when_it_is_ours_until_it_is_not() {
    with_classifier(|sender, classifier, _| {
        let before = Ipv4Addr::new(10, 1, 0, 1);
        sender.discover_at(mac(1), before)?;
        expect(classifier, Cause::Passed, 1)?;
        sender.discover_at(mac(1), Ipv4Addr::new(10, 1, 0, 255))?;
        expect(classifier, Cause::Passed, 2)?;

        let later = Ipv4Addr::new(10, 1, 0, 77);
        sender.discover_at(mac(1), later)?;
        expect(classifier, Cause::Passed, 2)?;
        ip("addr add 10.1.0.77/24 dev xa")?;
        within(Duration::from_secs(10), "the new address is ours", || {
            sender.discover_at(mac(2), later)?;
            Ok(total(&classifier.counts()?) > 2)
        })?;
        ip("addr del 10.1.0.77/24 dev xa")?;
        within(Duration::from_secs(10), "it is not ours any more", || {
            let before = total(&classifier.counts()?);
            sender.discover_at(mac(2), later)?;
            std::thread::sleep(Duration::from_millis(100));
            Ok(total(&classifier.counts()?) == before)
        })
    });
}

fn with_classifier(
    test: impl FnOnce(&Sender, &Classifier, &Receiver<Sample>) -> Result<()> + Send,
) {
    in_namespace(|| {
        cable("x", 1)?;
        let (samples, received) = channel();
        let config = XdpConfig {
            mode: Mode::Native,
            replace: false,
            interfaces: vec![interface("xa")?],
            table: Table::default(),
        };
        let classifier = Classifier::start(config, move |sample| {
            let _ = samples.send(sample);
        })?;
        test(&Sender::at("xb")?, &classifier, &received)
    });
}

/// Waits for this many packets of the class, and no more.
fn expect(classifier: &Classifier, cause: Cause, packets: u64) -> Result<()> {
    let mut seen = 0;
    let at = counter(CLASS, cause) as usize;
    within(SOON, cause.name(), || {
        seen = classifier.counts()?[at].packets;
        Ok(seen >= packets)
    })?;
    assert_eq!(seen, packets, "{}", cause.name());
    Ok(())
}

/// Packets of the class, whatever became of them.
fn total(counts: &Counts) -> u64 {
    let counted = Cause::all().map(|cause| counts[counter(CLASS, cause) as usize].packets);
    counted.sum()
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0, a, b, c, d]
}
