use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::UNIX_EPOCH;

use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::ClientArch;
use bootstorm_telemetry::event::{Milestone, Protocol, Reason, TransferId, What};

use super::*;

mod said;

const NBP: &str = "boot/snponly.efi";

fn mac(last: u8) -> MacAddress {
    MacAddress::new([0x52, 0x54, 0, 0, 0, last])
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn event(millis: u64, mac: Option<MacAddress>, ip: Option<IpAddr>, what: What) -> BootEvent {
    BootEvent {
        at: at(millis),
        mac,
        ip,
        what,
    }
}

fn asked(asker: Asker) -> What {
    let (hardware, local) = (mac(1).into(), ip(254));
    let facts = ClientFacts::new(hardware, asker, ClientArch(7), local);
    What::Asked {
        facts: Arc::new(facts),
    }
}

fn answered(file: &str) -> What {
    What::Answered { file: file.into() }
}

fn started(id: u64, file: &str, size: u64) -> What {
    What::Started {
        id: TransferId(id),
        protocol: Protocol::Tftp,
        file: file.into(),
        size,
    }
}

fn progress(id: u64, bytes: u64) -> What {
    What::Progress {
        id: TransferId(id),
        bytes,
    }
}

fn finished(id: u64, bytes: u64) -> What {
    What::Finished {
        id: TransferId(id),
        bytes,
        resent: 0,
    }
}

fn script(boots: &str) -> What {
    What::Script {
        boots: boots.into(),
        because: None,
        boot: None,
    }
}

fn reason(code: &'static str) -> Reason {
    Reason {
        code,
        text: Cow::Borrowed("evidence"),
    }
}

/// Feeds events one by one and gives the phase after each.
fn phases(events: Vec<BootEvent>) -> Vec<&'static str> {
    let mut table = Table::new(10);
    let mut phases = Vec::new();
    for event in events {
        let _ = table.apply(&event);
        phases.push(table.page(None, 1, None).clients[0].phase.name());
    }
    phases
}

#[test]
fn a_boot_goes_through_its_phases() {
    let (m, i) = (Some(mac(1)), Some(ip(1)));
    let seen = phases(vec![
        event(0, m, None, asked(Asker::Firmware)),
        event(1, m, None, answered(NBP)),
        event(2, m, i, What::Leased),
        event(3, m, i, asked(Asker::Firmware)),
        event(4, None, i, started(1, NBP, 200_000)),
        event(5, None, i, finished(1, 200_000)),
        event(6, m, None, asked(Asker::Ipxe)),
        event(7, m, None, answered("http://10.0.0.9:8080/boot")),
        event(8, m, i, script("debian")),
        event(9, None, i, started(2, "debian/vmlinuz", 9_000_000)),
        event(10, None, i, started(3, "debian/initrd", 30_000_000)),
        event(11, None, i, finished(2, 9_000_000)),
        event(12, None, i, finished(3, 30_000_000)),
        event(
            13,
            None,
            i,
            What::Reported {
                milestone: Milestone::Finished,
                text: "installed".into(),
            },
        ),
    ]);
    assert_eq!(
        seen,
        [
            "asked", "offered", "offered", "offered", "nbp", "nbp", "nbp", "nbp", "script",
            "loading", "loading", "loading", "loading", "finished"
        ]
    );
}

#[test]
fn what_runs_on_a_machine_says_how_far_it_is_whatever_it_loads() {
    let i = Some(ip(1));
    let reported = |milestone| What::Reported {
        milestone,
        text: "".into(),
    };
    let seen = phases(vec![
        event(0, Some(mac(1)), i, script("winpe")),
        event(1, None, i, started(1, "winpe.wim", 9_000_000)),
        event(2, None, i, reported(Milestone::ClientStarted)),
        event(3, None, i, started(2, "install.wim", 9_000_000)),
        event(4, None, i, reported(Milestone::ImageApplied)),
        event(5, None, i, reported(Milestone::Failed)),
        event(6, None, i, started(3, "install.wim", 9_000_000)),
    ]);
    let own = ["client-started", "client-started", "image-applied"];
    assert_eq!(seen[2..5], own);
    assert_eq!(seen[5..], ["failed", "loading"]);
}

#[test]
fn a_boot_is_done_loading_when_nothing_is_asked_for_any_more() {
    let m = Some(mac(1));
    let mut table = Table::new(10);
    for event in [
        event(0, m, None, script("debian")),
        event(1, m, None, started(1, "debian/vmlinuz", 10)),
        event(2, m, None, finished(1, 10)),
        event(3, m, None, started(2, "debian/initrd", 10)),
    ] {
        let _ = table.apply(&event);
    }
    let phase = |table: &Table| table.by_mac(mac(1)).unwrap().phase;
    table.settle(at(60_000));
    assert_eq!(
        phase(&table),
        Phase::Loading,
        "the second file is on its way"
    );
    let _ = table.apply(&event(61_000, m, None, finished(2, 10)));
    table.settle(at(62_000));
    assert_eq!(phase(&table), Phase::Loading, "it may ask for a third");
    let _ = table.take_changed();
    table.settle(at(63_000));
    assert_eq!(phase(&table), Phase::Booted);
    assert_eq!(table.take_changed().len(), 1);
    table.settle(at(64_000));
    assert_eq!(table.take_changed().len(), 0);
}

#[test]
fn a_disk_that_is_read_in_parts_leaves_room_in_the_history() {
    let m = Some(mac(1));
    let parts = (0..2000).flat_map(|n| {
        [
            event(n * 2, m, None, started(n, "debian.iso", 4096)),
            event(n * 2 + 1, m, None, finished(n, 4096)),
        ]
    });
    let first = event(0, m, None, script("debian"));
    let clients = Clients::feed(std::iter::once(first).chain(parts));
    let client = clients.by_mac(mac(1)).unwrap();
    let lines: Vec<_> = client.timeline.iter().map(|s| (s.kind, s.times)).collect();
    assert_eq!(
        lines,
        [("script", 1), ("started", 2000), ("finished", 2000)]
    );
}

#[test]
fn a_connection_that_ends_is_no_failed_boot() {
    let m = Some(mac(1));
    let refused = |code| What::Refused {
        protocol: Protocol::Http,
        file: None,
        reason: reason(code),
    };
    let seen = phases(vec![
        event(0, m, None, script("debian")),
        event(1, m, None, refused("http.request-timeout")),
        event(2, m, None, refused("policy.unknown-machine")),
        event(3, m, None, script("local")),
        event(4, m, None, refused("tls.not-tls")),
    ]);
    assert_eq!(seen, ["script", "script", "failed", "finished", "finished"]);
}

#[test]
fn http_is_joined_to_the_mac_that_was_overheard() {
    let clients = Clients::feed([
        event(0, Some(mac(1)), None, asked(Asker::Firmware)),
        event(1, Some(mac(1)), Some(ip(5)), What::Leased),
        event(2, None, Some(ip(5)), started(1, NBP, 10)),
        event(3, None, None, progress(1, 4)),
    ]);
    let client = clients.by_ip(ip(5)).unwrap();
    assert_eq!(client.mac, Some(mac(1)));
    assert_eq!(client.bytes, 4);
    assert_eq!(clients.page(None, 10, None).clients.len(), 1);
    let mapped = Ipv4Addr::new(10, 0, 0, 5).to_ipv6_mapped();
    assert_eq!(clients.by_ip(mapped.into()).unwrap().mac, Some(mac(1)));
}

#[test]
fn what_an_address_did_before_its_mac_was_known_is_kept() {
    let clients = Clients::feed([
        event(0, Some(mac(1)), None, asked(Asker::Firmware)),
        event(1, None, Some(ip(5)), started(1, NBP, 10)),
        event(2, None, Some(ip(5)), progress(1, 4)),
        event(3, Some(mac(1)), Some(ip(5)), script("menu")),
        event(4, None, None, finished(1, 10)),
    ]);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.bytes, 10);
    assert_eq!(client.travels, []);
    let kinds: Vec<_> = client.timeline.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, ["asked", "started", "script", "finished"]);
    assert_eq!(clients.page(None, 10, None).clients.len(), 1);

    let clients = Clients::feed([
        event(0, None, Some(ip(5)), started(1, NBP, 10)),
        event(1, Some(mac(2)), Some(ip(5)), script("menu")),
    ]);
    assert_eq!(clients.by_mac(mac(2)).unwrap().addresses, [ip(5)]);
    assert_eq!(clients.page(None, 10, None).clients.len(), 1);
}

#[test]
fn an_address_goes_to_the_machine_that_took_it_last() {
    let clients = Clients::feed([
        event(0, Some(mac(1)), Some(ip(5)), What::Leased),
        event(1, Some(mac(2)), Some(ip(5)), What::Leased),
        event(2, None, Some(ip(5)), started(1, NBP, 10)),
    ]);
    assert!(clients.by_mac(mac(1)).unwrap().addresses.is_empty());
    assert_eq!(clients.by_mac(mac(1)).unwrap().travels, []);
    assert_eq!(clients.by_mac(mac(2)).unwrap().travels.len(), 1);
}

#[test]
fn a_machine_keeps_its_last_four_addresses() {
    let events = (1..=6).map(|n| event(u64::from(n), Some(mac(1)), Some(ip(n)), What::Leased));
    let clients = Clients::feed(events);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.addresses, [ip(6), ip(5), ip(4), ip(3)]);
    assert!(clients.by_ip(ip(1)).is_none());
    assert!(clients.by_ip(ip(3)).is_some());
}

#[test]
fn a_machine_that_asks_anew_begins_a_new_boot() {
    let m = Some(mac(1));
    let clients = Clients::feed([
        event(0, m, Some(ip(1)), asked(Asker::Firmware)),
        event(1, m, Some(ip(1)), started(1, NBP, 10)),
        event(2, m, Some(ip(1)), finished(1, 10)),
        event(3, m, Some(ip(1)), script("debian")),
        event(9_000, m, None, asked(Asker::Firmware)),
    ]);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!((client.boots, client.bytes), (2, 0));
    assert_eq!((client.phase, client.entry.clone()), (Phase::Asked, None));
}

#[test]
fn repeated_packets_are_one_line_of_the_history() {
    let m = Some(mac(1));
    let clients = Clients::feed((0..50).map(|n| event(n, m, None, asked(Asker::Firmware))));
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.timeline.len(), 1);
    assert_eq!(client.timeline[0].times, 50);

    let files = (0..100).map(|n| event(n, m, None, answered(&format!("file{n}"))));
    let clients = Clients::feed(files);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.timeline.len(), STEPS_MAX);
    assert_eq!(client.timeline.back().unwrap().text, "file99");
}

#[test]
fn a_broken_transfer_fails_the_boot_until_it_goes_on() {
    let m = Some(mac(1));
    let broken = What::Broken {
        id: TransferId(1),
        bytes: 3,
        reason: reason("tftp.timed-out"),
    };
    let mut table = Table::new(10);
    for event in [
        event(0, m, None, asked(Asker::Firmware)),
        event(1, m, None, started(1, NBP, 10)),
        event(2, m, None, broken),
    ] {
        let _ = table.apply(&event);
    }
    let client = table.by_mac(mac(1)).unwrap();
    assert_eq!(client.phase, Phase::Failed);
    assert_eq!(client.reason, Some(reason("tftp.timed-out")));
    let _ = table.apply(&event(3, m, None, started(2, NBP, 10)));
    let client = table.by_mac(mac(1)).unwrap();
    assert_eq!((client.phase, client.reason.clone()), (Phase::Nbp, None));
}

#[test]
fn only_the_file_that_was_offered_must_be_there() {
    let m = Some(mac(1));
    let refused = |file: Option<&str>, code| What::Refused {
        protocol: Protocol::Tftp,
        file: file.map(Into::into),
        reason: reason(code),
    };
    let seen = phases(vec![
        event(0, m, None, asked(Asker::Firmware)),
        event(1, m, None, answered(NBP)),
        event(2, m, None, refused(Some("autoexec.ipxe"), "tftp.not-found")),
        event(3, m, None, refused(Some("SNPONLY.efi"), "tftp.not-found")),
    ]);
    assert_eq!(seen, ["asked", "offered", "offered", "failed"]);
    let seen = phases(vec![event(0, m, None, refused(None, "tls.unknown-ca"))]);
    assert_eq!(seen, ["failed"]);
}

#[test]
fn silence_is_told_with_its_reason() {
    let m = Some(mac(1));
    let silent = What::Silent {
        reason: reason("policy.no-nbp"),
    };
    let clients = Clients::feed([
        event(0, m, None, asked(Asker::Firmware)),
        event(1, m, None, silent),
    ]);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.phase, Phase::Silent);
    assert_eq!(client.reason, Some(reason("policy.no-nbp")));
    assert_eq!(client.timeline[1].code, Some("policy.no-nbp"));
}

#[test]
fn the_local_disk_ends_a_boot() {
    let seen = phases(vec![event(0, Some(mac(1)), None, script("local"))]);
    assert_eq!(seen, ["finished"]);
}

#[test]
fn the_rate_is_that_of_late_and_a_stall_is_told() {
    let m = Some(mac(1));
    let clients = Clients::feed([
        event(0, m, None, started(1, NBP, 10_000)),
        event(1000, m, None, progress(1, 2_000)),
        event(1500, m, None, progress(1, 6_000)),
    ]);
    let client = clients.by_mac(mac(1)).unwrap();
    assert_eq!(client.rate, 8_000);
    let shown = |millis| serde_json::to_value(Summary::of(&client, at(millis))).unwrap();
    assert_eq!(shown(2_000)["rate"], 8_000);
    assert_eq!(shown(2_000)["stalled"], false);
    assert_eq!(shown(7_000)["rate"], 0);
    assert_eq!(shown(7_000)["stalled"], true);
}

#[test]
fn the_table_is_bounded_and_a_flood_drives_out_no_machine_that_loads() {
    let mut table = Table::new(100);
    let loading = MacAddress::new([2, 0, 0, 0, 0, 1]);
    let _ = table.apply(&event(0, Some(loading), Some(ip(1)), started(1, NBP, 10)));
    for n in 0..10_000_u32 {
        let [a, b, c, d] = n.to_be_bytes();
        let spoofed = MacAddress::new([6, 6, a, b, c, d]);
        let address = IpAddr::from([10, b, c, d]);
        let _ = table.apply(&event(
            1,
            Some(spoofed),
            Some(address),
            asked(Asker::Firmware),
        ));
    }
    assert_eq!(table.page(None, 1000, None).clients.len(), 100);
    assert!(table.by_mac(loading).is_some());
    for n in 0..1_000_u16 {
        let what = started(100 + u64::from(n), NBP, 10);
        let mac = MacAddress::new([4, 4, 4, 4, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        let _ = table.apply(&event(2, Some(mac), None, what));
    }
    assert_eq!(table.page(None, 1000, None).clients.len(), 100);
    assert!(table.by_mac(loading).is_none());
    assert_eq!(table.sizes(), [100, 100, 0, 100, 100]);
}

#[test]
fn transfers_of_abandoned_boots_are_forgotten() {
    let m = Some(mac(1));
    let mut table = Table::new(10);
    for n in 0..10_000 {
        let _ = table.apply(&event(n * 2, m, None, started(n, NBP, 10)));
        let _ = table.apply(&event(n * 2 + 1, m, None, asked(Asker::Firmware)));
    }
    let [.., transfers, _] = table.sizes();
    assert!(transfers < 100, "{transfers}");
    for n in 0..100 {
        let _ = table.apply(&event(30_000, m, None, started(20_000 + n, NBP, 10)));
    }
    let client = table.by_mac(mac(1)).unwrap();
    assert_eq!(client.travels.len(), client::TRAVELS_MAX);
}

#[test]
fn text_from_the_network_holds_no_control_characters() {
    let m = Some(mac(1));
    let evil = "a\u{1b}[31m\nb".to_owned() + &"x".repeat(9_000);
    let clients = Clients::feed([event(0, m, None, started(1, &evil, 10))]);
    let client = clients.by_mac(mac(1)).unwrap();
    let text = &client.timeline[0].text;
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.chars().count() <= 240);
    assert!(!client.travels[0].file.contains(char::is_control));
}

#[test]
fn an_event_of_nobody_makes_no_machine() {
    let unspecified = Some(IpAddr::from([0, 0, 0, 0]));
    let clients = Clients::feed([
        event(0, None, None, asked(Asker::Firmware)),
        event(0, None, unspecified, asked(Asker::Firmware)),
        event(0, None, None, progress(9, 9)),
    ]);
    assert_eq!(clients.page(None, 10, None).clients.len(), 0);
}

#[test]
fn pages_follow_each_other_and_filter() {
    let clients = Clients::feed((1..=5).map(|n| {
        let what = if n % 2 == 0 {
            script("menu")
        } else {
            What::Leased
        };
        event(u64::from(n), Some(mac(n)), None, what)
    }));
    let first = clients.page(None, 2, None);
    assert_eq!(first.clients.len(), 2);
    let second = clients.page(first.next, 2, None);
    assert_eq!(second.clients[0].mac, Some(mac(3)));
    let last = clients.page(second.next, 2, None);
    assert_eq!((last.clients.len(), last.next), (1, None));
    let scripts = clients.page(None, 10, Some(Phase::Script));
    assert_eq!(scripts.clients.len(), 2);
    let counts = clients.counts();
    assert!(counts.contains(&(Phase::Script, 2)), "{counts:?}");
    assert!(counts.contains(&(Phase::Asked, 3)), "{counts:?}");
}

#[test]
fn the_thread_tells_subscribers_and_ends_with_its_senders() {
    let (sender, receiver) = crossbeam_channel::bounded(16);
    let metrics = Arc::new(Metrics::new());
    let clients = Clients::start(receiver, Arc::clone(&metrics), Vec::new()).unwrap();
    let mut updates = clients.subscribe();
    sender
        .send(event(0, Some(mac(1)), Some(ip(1)), script("menu")))
        .unwrap();
    drop(sender);
    let update = updates.blocking_recv().unwrap();
    assert!(update.json().contains(r#""mac":"52:54:00:00:00:01""#));
    assert!(update.json().contains(r#""phase":"script""#));
    assert_eq!(update.sequence, 1);
    let text = metrics.encode();
    assert!(
        text.contains(r#"bootstorm_clients{phase="script"} 1"#),
        "{text}"
    );
}

#[test]
fn a_machine_that_waits_shows_its_place_in_one_line() {
    let mut table = Table::new(100);
    let mac = MacAddress::new([2, 0, 0, 0, 0, 1]);
    let queued = |place| What::Queued { place, of: 40 };
    for (second, place) in [(0, 17), (5, 16), (10, 12)] {
        let _ = table.apply(&event(second, Some(mac), Some(ip(1)), queued(place)));
    }
    let client = table.by_mac(mac).unwrap();
    assert_eq!(client.phase, Phase::Queued);
    let reason = client.reason.as_ref().unwrap();
    assert_eq!(reason.code, "pacing.queued");
    assert_eq!(reason.text, "waits, place 12 of 40");
    assert_eq!((client.timeline.len(), client.timeline[0].times), (1, 3));
    let _ = table.apply(&event(
        11,
        Some(mac),
        Some(ip(1)),
        started(1, "boot.wim", 1 << 30),
    ));
    let client = table.by_mac(mac).unwrap();
    assert_eq!((client.phase, &client.reason), (Phase::Loading, &None));
}

#[test]
fn winboot_16_what_a_machine_has_of_an_image_is_counted_from_its_beginning_to_its_end() {
    let (m, i) = (Some(mac(1)), Some(ip(1)));
    let mut table = Table::new(10);
    let mut after = |event| {
        let _ = table.apply(&event);
        let client = table.by_mac(mac(1)).unwrap();
        (client.bytes, client.phase.name())
    };
    after(event(0, m, i, asked(Asker::Firmware)));
    after(event(1, m, i, script("winpe")));
    let image = "winpe.wim";
    assert_eq!(
        after(event(10, None, i, started(1, image, 500_000_000))).1,
        "loading"
    );
    for (millis, bytes) in [(600, 90_000_000), (1200, 300_000_000)] {
        let (known, _) = after(event(millis, None, i, progress(1, bytes)));
        assert_eq!(known, bytes);
    }
    assert_eq!(
        after(event(1800, None, i, finished(1, 500_000_000))).0,
        500_000_000
    );
    let client = table.by_mac(mac(1)).unwrap();
    let of_image = |kind| {
        let step = client.timeline.iter().find(|step| step.kind == kind);
        let step = step.unwrap();
        assert!(step.text.starts_with(image), "{}", step.text);
        step.at
    };
    assert_eq!(
        (of_image("started"), of_image("finished")),
        (at(10), at(1800))
    );
}

#[test]
fn what_was_loaded_since_the_script_is_known_and_nothing_without_one() {
    let (m, i) = (Some(mac(1)), Some(ip(1)));
    let mut table = Table::new(10);
    let mut loaded = |event| {
        let _ = table.apply(&event);
        let client = table.by_mac(mac(1)).unwrap();
        let files = client.loaded_since_script().map(str::to_owned);
        files.collect::<Vec<_>>()
    };
    assert!(loaded(event(0, m, i, asked(Asker::Firmware))).is_empty());
    assert!(loaded(event(1, None, i, started(1, "a.wim/bootmgfw.efi", 9))).is_empty());
    assert!(loaded(event(2, m, i, script("menu"))).is_empty());
    loaded(event(3, None, i, started(2, "b.wim/bootmgfw.efi", 9)));
    let files = loaded(event(4, None, i, started(3, "Boot/BCD", 9)));
    assert_eq!(files, ["Boot/BCD", "b.wim/bootmgfw.efi"]);
    let client = table.by_mac(mac(1)).unwrap();
    assert_eq!(client.identified, Some(at(2)));
}
