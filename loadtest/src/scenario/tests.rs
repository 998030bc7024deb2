use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::machine::behaviour::Trouble;
use crate::machine::event::Phase;
use crate::machine::plan::Leases;
use crate::machine::profile::Profile;
use crate::report::{Books, End, Example, Found, Limit, Report, Times};
use crate::storm::Link;

const GOOD: &str = r#"name = "good"
server = "10.99.0.2"
machines = 200

[network]
mode = "relayed"
relays = ["10.99.0.4", "10.99.0.5"]
machines = "10.99.8.0/21"
dhcp = ["10.99.0.1"]

[arrival]
kind = "waves"
size = 20
every = "500ms"

[[mix]]
profile = "bios"
share = 1
[[mix]]
profile = "uefi"
share = 3

[[trouble]]
kind = "stall"
share = "5%"
after = "2MB"
pause = "1s"
[[trouble]]
kind = "retry"
share = "10%"

[link]
down = "1.544mbit"
loss = "2%"

[scaled]
image = "300MB"
factor = 100
"#;

fn read(text: &str) -> Result<Scenario, String> {
    let parsed = Scenario::parse(text, Path::new("a.toml"), &Overrides::default());
    parsed.map_err(|wrong| {
        let lines: Vec<_> = wrong.iter().map(Diagnostic::to_string).collect();
        lines.join("\n")
    })
}

fn good() -> Scenario {
    read(GOOD).unwrap()
}

#[test]
fn machines_are_what_their_shares_say_and_the_same_in_every_run() {
    let starts = good().starts();
    assert_eq!(starts, good().starts());
    let (mut profiles, mut troubles) = (BTreeMap::new(), Vec::new());
    for (index, start) in (0..).zip(&starts) {
        assert_eq!(start.identity.index, index);
        assert_eq!(start.at, Duration::from_millis(500) * (index / 20));
        *profiles.entry(start.identity.profile).or_insert(0) += 1;
        troubles.push(start.behaviour.trouble);
    }
    assert_eq!(
        profiles,
        BTreeMap::from([(Profile::Bios, 50), (Profile::Uefi, 150)])
    );
    let many = |trouble| troubles.iter().filter(|other| **other == trouble).count();
    assert_eq!(many(Trouble::Stall), 10);
    assert_eq!(many(Trouble::Retry), 20);
    assert_eq!(many(Trouble::None), 170);
    let stalled = starts
        .iter()
        .find(|start| start.behaviour.trouble == Trouble::Stall);
    let behaviour = stalled.unwrap().behaviour;
    assert_eq!(
        (behaviour.after, behaviour.pause),
        (2_000_000, Duration::from_secs(1))
    );
}

#[test]
fn profiles_and_troubles_are_spread_and_another_seed_spreads_them_otherwise() {
    let other = read(&GOOD.replace("machines = 200", "machines = 200\nseed = 2")).unwrap();
    assert_ne!(good().starts(), other.starts());
    let starts = good().starts();
    // Of the 50 BIOS machines, some are behind each relay and in each half.
    let bios = |part: &dyn Fn(u32) -> bool| {
        let part = starts.iter().filter(|start| part(start.identity.index));
        part.filter(|start| start.identity.profile == Profile::Bios)
            .count()
    };
    for part in [bios(&|index| index % 2 == 0), bios(&|index| index < 100)] {
        assert!((15..=35).contains(&part), "{part}");
    }
}

#[test]
fn every_number_of_machines_has_as_many_of_each_as_it_has_machines() {
    for machines in [1, 2, 3, 7, 20, 199] {
        let scenario = read(&GOOD.replace("200", &machines.to_string())).unwrap();
        assert_eq!(scenario.starts().len(), machines);
    }
}

#[test]
fn a_ramp_ends_before_its_time_and_without_an_arrival_all_come_at_once() {
    let ramp = "kind = \"ramp\"\nover = \"20s\"";
    let scenario = read(&GOOD.replace("kind = \"waves\"\nsize = 20\nevery = \"500ms\"", ramp));
    let starts = scenario.unwrap().starts();
    assert_eq!(starts[100].at, Duration::from_secs(10));
    assert_eq!(starts[199].at, Duration::from_millis(19_900));
    let least = &GOOD[..GOOD.find("[arrival]").unwrap()];
    let starts = read(least).unwrap().starts();
    assert!(starts.iter().all(|start| start.at.is_zero()));
    assert!(
        starts
            .iter()
            .all(|start| start.identity.profile == Profile::Uefi)
    );
}

#[test]
fn every_scenario_of_the_repository_can_be_played_and_tells_how() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::load(&path, &Overrides::default()).unwrap();
        assert_eq!(
            Some(&*scenario.name),
            path.file_stem().and_then(|stem| stem.to_str())
        );
        assert!(!scenario.about.is_empty(), "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        for machines in [scenario.machines, 3, 1] {
            let overrides = Overrides {
                machines: Some(machines),
                ..Overrides::default()
            };
            let scenario = Scenario::load(&path, &overrides).unwrap();
            assert_eq!(scenario.setup(None).starts.len(), machines as usize);
        }
        names.push(scenario.name);
    }
    assert!(names.len() >= 12, "{names:?}");
}

#[test]
fn a_mix_of_nothing_is_none() {
    let least = &GOOD[..GOOD.find("[arrival]").unwrap()];
    let told = read(&format!("mix = []\n{least}")).unwrap_err();
    assert!(told.starts_with("a.toml:1:7: "), "{told}");
}

#[test]
fn a_scenario_becomes_a_storm() {
    let setup = good().setup(None);
    assert_eq!(
        setup.link,
        Link::Relayed {
            relays: vec!["10.99.0.4".parse().unwrap(), "10.99.0.5".parse().unwrap()],
            servers: vec![
                "10.99.0.2:67".parse().unwrap(),
                "10.99.0.1:67".parse().unwrap()
            ],
        }
    );
    assert_eq!(setup.plan.until, Phase::Booted);
    assert!(matches!(setup.plan.leases, Leases::Harness(_)));
    assert!(setup.tls.resume && setup.plan.reports);
    let about = good().about();
    assert_eq!(
        about.link.as_deref(),
        Some("1.544 Mb/s down, 2 % lost each way")
    );
    assert!(
        about
            .scaled
            .unwrap()
            .contains("100 times smaller than the 300 MB")
    );
    let broadcast = GOOD
        .replace("relayed", "broadcast")
        .replace(
            "relays = [\"10.99.0.4\", \"10.99.0.5\"]",
            "interface = \"eth1\"",
        )
        .replace("dhcp = [\"10.99.0.1\"]", "leases = \"server\"");
    let setup = read(&broadcast).unwrap().setup(None);
    assert_eq!(
        setup.link,
        Link::Broadcast {
            interface: "eth1".to_owned()
        }
    );
    assert!(matches!(setup.plan.leases, Leases::Server(_)));
}

#[test]
fn the_command_line_is_laid_over_the_file_and_checked_with_it() {
    let parse = |overrides: &Overrides| Scenario::parse(GOOD, Path::new("x/a.toml"), overrides);
    let overrides = Overrides {
        machines: Some(3),
        server: Some("10.99.0.9".parse().unwrap()),
        ca: Some("ca.pem".into()),
    };
    let scenario = parse(&overrides).unwrap();
    assert_eq!(
        (scenario.machines, scenario.server),
        (3, "10.99.0.9".parse().unwrap())
    );
    assert_eq!(scenario.tls.ca, Some("ca.pem".into()));
    let wrong = parse(&Overrides {
        machines: Some(0),
        ..Overrides::default()
    })
    .unwrap_err();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].place.is_none());
    let text = format!("{GOOD}[tls]\nca = \"ca.pem\"\n");
    let scenario = Scenario::parse(&text, Path::new("x/a.toml"), &Overrides::default()).unwrap();
    assert_eq!(scenario.tls.ca, Some("x/ca.pem".into()));
}

/// Every limit, and what a storm of 200 machines came to.
const LIMITS: &str = r#"
[limits]
booted = "99%"
failed = 1
findings = 0
unverified = 0
offered_p99 = "1s"
script_p99 = "5s"
booted_p50 = "8s"
booted_p99 = "10s"
booted_max = "20s"
rate_min = "100mbit"
jain_min = 0.9
resumed_min = "50%"
"#;

fn report(scenario: &Scenario, spread: f64) -> Report {
    let now = Instant::now();
    let mut report = Books::new(scenario.about(), now).close(now, End::AllThrough);
    report.all.machines.booted = 180;
    report.all.machines.left = 20;
    report.bytes_per_s = 12_500_000.0;
    report.all.jain = Some(0.9);
    (report.handshakes.full, report.handshakes.resumed) = (10, 10);
    let times = |p50, max: f64| Times {
        machines: 180,
        p50: p50 * spread,
        p90: max * spread,
        p99: max * spread,
        max: max * spread,
    };
    report.all.phases = BTreeMap::from([
        (Phase::Offered, times(0.1, 1.0)),
        (Phase::Script, times(1.0, 5.0)),
        (Phase::Booted, times(8.0, 10.0)),
    ]);
    report
}

#[test]
fn a_storm_that_keeps_its_limits_holds_them_all() {
    let scenario = read(&format!("{GOOD}{LIMITS}")).unwrap();
    let judged = scenario.limits.judge(&report(&scenario, 1.0));
    let broken: Vec<_> = judged.iter().filter(|limit| !limit.held).collect();
    assert_eq!(broken, Vec::<&Limit>::new());
    assert_eq!(
        judged.len(),
        LIMITS.lines().filter(|line| line.contains('=')).count()
    );
}

#[test]
fn how_many_may_be_unverified_goes_with_the_machines() {
    let limits = |written: &str| read(&format!("{GOOD}[limits]\nunverified = {written}\n"));
    for (written, unverified, held) in [
        ("\"2 per machine\"", 400, true),
        ("\"2 per machine\"", 401, false),
        ("\"0 per machine\"", 1, false),
        ("7", 7, true),
        ("7", 8, false),
    ] {
        let scenario = limits(written).unwrap();
        let mut report = report(&scenario, 1.0);
        report.files.unverified = unverified;
        let judged = scenario.limits.judge(&report);
        let limit = judged.iter().find(|limit| limit.name == "unverified");
        let limit = limit.unwrap();
        assert_eq!(limit.held, held, "{written}, {unverified}");
        assert_eq!(
            limit.wanted,
            format!("at most {}", written.trim_matches('"'))
        );
    }
    for nonsense in [
        "-1",
        "1.5",
        "true",
        "\"\"",
        "\"2\"",
        "\"2 per server\"",
        "\"-2 per machine\"",
        "\"2% per machine\"",
        "5000000000",
    ] {
        let wrong = limits(nonsense).unwrap_err();
        assert!(wrong.contains("`\"2 per machine\"`"), "{nonsense}: {wrong}");
    }
}

#[test]
fn without_limits_no_machine_may_fail() {
    let judge = |report: &Report| {
        let judged = good().limits.judge(report);
        let told = |limit: &Limit| format!("{}: {}, {}", limit.name, limit.got, limit.held);
        judged.iter().map(told).collect::<Vec<_>>()
    };
    let mut report = report(&good(), 1.0);
    assert_eq!(
        judge(&report),
        ["failed: 200 of 200 through, 0 failed, true"]
    );
    report.all.machines.booted = 178;
    report.all.machines.local_disk = 1;
    report.all.machines.failed = 1;
    assert_eq!(
        judge(&report),
        ["failed: 199 of 200 through, 1 failed, false"]
    );
}

#[test]
fn every_broken_limit_tells_what_was_wanted_and_got() {
    let scenario = read(&format!("{GOOD}{LIMITS}")).unwrap();
    let mut report = report(&scenario, 3.0);
    report.all.machines.booted = 178;
    report.all.machines.failed = 2;
    report.files.unverified = 7;
    for (code, count) in [("dhcp.silent", 3), ("harness.bottleneck", 1)] {
        report.findings.push(Found {
            code: code.to_owned(),
            meaning: String::new(),
            count,
            machines: 1,
            example: Example::default(),
        });
    }
    report.all.jain = None;
    report.bytes_per_s /= 2.0;
    report.handshakes.resumed = 9;
    report.all.phases.remove(&Phase::Script);
    let judged = scenario.limits.judge(&report);
    let told: Vec<_> = judged
        .iter()
        .filter(|limit| !limit.held)
        .map(|limit| format!("{}: wanted {}, got {}", limit.name, limit.wanted, limit.got))
        .collect();
    assert_eq!(
        told,
        [
            "booted: wanted at least 99 %, got 178 of 180",
            "failed: wanted at most 1, got 2",
            "findings: wanted at most 0, got 3",
            "unverified: wanted at most 0, got 7",
            "offered_p99: wanted at most 1.000 s, got 3.000 s",
            "script_p99: wanted at most 5.000 s, got no machine came so far",
            "booted_p50: wanted at most 8.000 s, got 24.000 s",
            "booted_p99: wanted at most 10.000 s, got 30.000 s",
            "booted_max: wanted at most 20.000 s, got 30.000 s",
            "rate_min: wanted at least 100 Mb/s, got 50 Mb/s",
            "jain_min: wanted at least 0.9, got 0.000",
            "resumed_min: wanted at least 50 %, got 47.4 % of 19",
        ]
    );
}

#[test]
fn what_cannot_be_played_is_refused_where_it_stands() {
    for (from, to, says) in REFUSED {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let told = read(&text).expect_err(to);
        assert!(told.contains(says), "{to}: {told}");
        // The place is that of the change, or the head of its section.
        let place = told.split(':').nth(1).unwrap();
        assert!(
            place.parse::<usize>().unwrap() <= text.lines().count(),
            "{told}"
        );
    }
}

/// What is changed in the good one, and what is told of it.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "machines = 200",
        "machine = 200",
        "a.toml:3:1: error[config.unknown-key]: there is no key `machine` (did you mean `machines`?)",
    ),
    (
        "machines = 200",
        "machines = 0",
        "a.toml:3:12: error[config.bad-value]: machines = 0: between 1 and 10000",
    ),
    ("machines = 200", "machines = 10001", "a.toml:3:12: "),
    ("machines = 200", "machines = -1", "a.toml:3:12: "),
    ("name = \"good\"", "", "missing field `name`"),
    ("\"good\"", "\"go od\"", "a.toml:1:8: "),
    ("\"good\"", "\"\"", "from 1 to 64"),
    (
        "name = \"good\"",
        "name = \"good\"\nabout = \"a\\nb\"",
        "a.toml:2:9: ",
    ),
    (
        "10.99.0.2",
        "192.0.43.10",
        "a.toml:2:10: error[config.bad-value]: 192.0.43.10 is not loopback, private or link-local (a storm",
    ),
    ("10.99.0.4", "8.8.8.8", "a.toml:7:11: "),
    ("10.99.0.1\"]", "8.8.8.8\"]", "a.toml:9:9: "),
    ("10.99.8.0/21", "11.0.0.0/21", "11.0.0.0 is not loopback"),
    (
        "10.99.8.0/21",
        "10.99.8.0/25",
        "a.toml:8:12: error[config.bad-value]: a network of 25 bits has no room for 200 machines",
    ),
    (
        "10.99.8.0/21",
        "10.99.8.1/21",
        "did you mean `10.99.8.0/21`?",
    ),
    (
        "10.99.0.5",
        "10.99.0.4",
        "a.toml:7:24: error[config.bad-value]: 10.99.0.4 is there already",
    ),
    ("10.99.0.5", "10.99.8.7", "is the address of a machine"),
    (
        "relays = [\"10.99.0.4\", \"10.99.0.5\"]",
        "relays = []",
        "between 1 and 32",
    ),
    (
        "dhcp = [",
        "interface = \"eth1\"\ndhcp = [",
        "a.toml:9:13: ",
    ),
    ("relayed", "relayd", "(did you mean `relayed`?)"),
    ("relayed", "broadcast", "needs the `interface`"),
    ("[network]", "[ports]\ntftp = 0\n[network]", "a.toml:6:8: "),
    (
        "[network]",
        "[ports]\nhttp = 80\n[network]",
        "there is no key `http`",
    ),
    ("waves", "ramp", "has the key `over` alone"),
    ("waves", "at-once", "has no other keys"),
    ("every = \"500ms\"", "", "the keys `size` and `every`"),
    (
        "every = \"500ms\"",
        "every = \"0s\"",
        "not between 1ms and 1d",
    ),
    (
        "every = \"500ms\"",
        "every = \"500\"",
        "a.toml:14:9: error[config.bad-value]: `500` is not a duration",
    ),
    (
        "every = \"500ms\"",
        "every = \"20h\"",
        "the last machine would be switched on after",
    ),
    ("size = 20", "size = 0", "a.toml:13:8: "),
    (
        "profile = \"bios\"",
        "profile = \"boos\"",
        "a.toml:17:11: error[config.bad-value]: there is no choice `boos` (did you mean `bios`?)",
    ),
    (
        "profile = \"bios\"",
        "profile = \"uefi\"",
        "this profile has a part already",
    ),
    (
        "profile = \"bios\"",
        "profile = \"ipxe-https\"",
        "--ca FILE",
    ),
    ("share = 3", "share = 0", "a.toml:21:9: "),
    ("share = 3", "share = \"3%\"", "a.toml:21:9: "),
    ("\"5%\"", "\"95%\"", "more than all machines"),
    ("\"5%\"", "\"0%\"", "a part of nothing"),
    ("\"5%\"", "\"5\"", "write `5%`"),
    (
        "kind = \"stall\"",
        "kind = \"none\"",
        "leave the section out",
    ),
    ("kind = \"stall\"", "kind = \"vanish\"", "`pause` is for"),
    ("kind = \"stall\"", "kind = \"rubbish\"", "`after` is for"),
    ("pause = \"1s\"", "pause = \"2d\"", "not between 1ms and 1d"),
    (
        "[link]",
        "[boot]\npatience = \"0s\"\n[link]",
        "not between 1ms and 1d",
    ),
    ("[link]", "[boot]\ntries = 0\n[link]", "from 1 to 100"),
    (
        "[link]",
        "[boot]\nuntil = \"kernel\"\n[link]",
        "there is no choice `kernel`",
    ),
    (
        "[link]",
        "[boot.hosts]\n\"a.b\" = \"8.8.8.8\"\n[link]",
        "8.8.8.8 is not",
    ),
    (
        "[link]",
        "[boot.expect]\nvmlinuz = \"abc\"\n[link]",
        "64 hexadecimal digits",
    ),
    (
        "[link]",
        "[tls]\ninsecure = true\nca = \"x\"\n[link]",
        "one of them",
    ),
    (
        "[link]",
        "[tls]\nversion = \"1.1\"\n[link]",
        "there is no choice `1.1`",
    ),
    ("[link]", "[stop]\nfailures = 0\n[link]", "at least 1"),
    ("[link]", "[stop]\nafter = \"0s\"\n[link]", "not between"),
    (
        "[link]",
        "[limits]\njain_min = 1.5\n[link]",
        "between 0 and 1",
    ),
    (
        "[link]",
        "[limits]\nbooted_p99 = \"0s\"\n[link]",
        "nothing is that fast",
    ),
    (
        "[link]",
        "[limits]\nbooted_p98 = \"1s\"\n[link]",
        "did you mean `booted_p9",
    ),
    (
        "[link]",
        "[flood]\nkinds = []\nrate = 1\n[link]",
        "a flood of nothing",
    ),
    (
        "[link]",
        "[flood]\nkinds = [\"junk\"]\nrate = 0\n[link]",
        "between 1 and",
    ),
    (
        "[link]",
        "[restart]\nat = \"0s\"\ndown = \"1s\"\n[link]",
        "not between",
    ),
    ("[link]", "[image]\nsize = \"20\"\n[link]", "is not a size"),
    ("down = \"1.544mbit\"\nloss = \"2%\"", "", "leave it out"),
    ("loss = \"2%\"", "loss = \"51%\"", "more than half"),
    ("loss = \"2%\"", "mtu = 100", "between 576 and 9000"),
    (
        "loss = \"2%\"",
        "delay = \"1ms\"",
        "there is no key `delay`",
    ),
    ("1.544mbit", "1.544M", "write bits a second as"),
    ("factor = 100", "factor = 0", "a whole number from 1 on"),
    ("[scaled]", "[scaled", "a.toml:"),
];
