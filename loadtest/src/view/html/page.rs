//! What stands on the page of a report, in words.

use serde::Serialize;

use super::super::text::headline;
use super::super::units::{bits, bytes, count, percent, plural, rate, time};
use super::chart::{Chart, Plot};
use crate::machine::event::{Phase, Transport};
use crate::machine::trace::Way;
use crate::report::{Found, Group, Limit, Report};

/// The page of a report.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    name: &'a str,
    about: &'a str,
    passed: bool,
    headline: String,
    tiles: Vec<(&'static str, String, String)>,
    notes: Vec<String>,
    limits: &'a [Limit],
    failures: Vec<Trouble<'a>>,
    findings: Vec<Trouble<'a>>,
    own: Vec<Trouble<'a>>,
    charts: Vec<Chart>,
    phases: Vec<[String; 6]>,
    profiles: Vec<[String; 8]>,
    profile_phases: Vec<(&'static str, Vec<[String; 6]>)>,
    transports: Vec<[String; 3]>,
    files: Vec<[String; 4]>,
    facts: Vec<(&'static str, String)>,
}

/// A finding or failure.
#[derive(Debug, Serialize)]
struct Trouble<'a> {
    code: &'a str,
    meaning: &'a str,
    often: String,
    who: String,
    evidence: &'a str,
    trace: Vec<(String, &'static str, &'a str)>,
    forgotten: u32,
}

impl<'a> Page<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let (scenario, beside) = (&report.scenario, report.beside.iter().cloned());
        let scaled = scenario
            .scaled
            .iter()
            .map(|words| format!("Scaled: {words}"));
        let (own, wrong): (Vec<_>, Vec<_>) = report.findings.iter().partition(|f| f.of_harness());
        let link = scenario.link.iter().map(|words| format!("Link: {words}"));
        Self {
            name: &scenario.name,
            about: &scenario.about,
            passed: report.passed(),
            headline: headline(report),
            tiles: tiles(report),
            notes: link.chain(scaled).chain(beside).collect(),
            limits: &report.limits,
            failures: report.failures.iter().map(trouble).collect(),
            findings: wrong.into_iter().map(trouble).collect(),
            own: own.into_iter().map(trouble).collect(),
            charts: [throughput(report), machines(report)]
                .into_iter()
                .flatten()
                .collect(),
            phases: phases(&report.all),
            profiles: profiles(report),
            profile_phases: profile_phases(report),
            transports: transports(report),
            files: files(report),
            facts: facts(report),
        }
    }
}

fn trouble(found: &Found) -> Trouble<'_> {
    let example = &found.example;
    let words = match (&example.mac, example.profile) {
        (Some(mac), Some(profile)) => format!("{mac} ({})", profile.name()),
        (Some(mac), None) => mac.clone(),
        (None, _) => "bootstorm-load itself".to_owned(),
    };
    let trace = example.trace.iter().map(|line| {
        let way = match line.way {
            Way::Out => "→",
            Way::In => "←",
            Way::Itself => "•",
        };
        (format!("{:>9.3}", line.at_s), way, line.text.as_str())
    });
    Trouble {
        code: &found.code,
        meaning: &found.meaning,
        often: found.often(),
        who: format!("{words}, {} after the beginning", time(example.at_s)),
        evidence: &example.evidence,
        trace: trace.collect(),
        forgotten: example.forgotten,
    }
}

fn tiles(report: &Report) -> Vec<(&'static str, String, String)> {
    let (all, cpu) = (&report.all, &report.cpu);
    let machines = &all.machines;
    let mut tiles = vec![(
        "Booted",
        count(machines.booted.into()),
        format!("of {}", count(report.scenario.machines.into())),
    )];
    if machines.failed > 0 {
        let share = f64::from(machines.failed) / f64::from(machines.started.max(1));
        tiles.push(("Failed", count(machines.failed.into()), percent(share)));
    }
    if let Some(times) = all.phases.get(&Phase::Booted) {
        let slow = format!("p99 {}, slowest {}", time(times.p99), time(times.max));
        tiles.push(("Half booted within", time(times.p50), slow));
    }
    if all.bytes > 0 {
        let whole = format!("{}; {}", bits(report.bytes_per_s), bytes(all.bytes));
        tiles.push(("Rate", rate(report.bytes_per_s), whole));
        let files = &report.files;
        let of = format!("of {}, by SHA-256", plural(files.count, "file", "files"));
        tiles.push(("Verified", count(files.verified), of));
    }
    if let Some(jain) = all.jain {
        tiles.push(("Jain's index", format!("{jain:.3}"), "1 is even".to_owned()));
    }
    let per_gb = |seconds: Option<f64>| {
        seconds.map_or_else(String::new, |seconds| format!("{seconds:.2} s/GB; "))
    };
    let own = per_gb(cpu.own_s_per_gb);
    let share = format!("{own}{} of a core", percent(cpu.own_share));
    tiles.push(("CPU of bootstorm-load", time(cpu.own_s), share));
    if let Some(server) = cpu.server_s {
        let words = per_gb(cpu.server_s_per_gb);
        let words = words.trim_end_matches("; ").to_owned();
        tiles.push(("CPU of the server", time(server), words));
    }
    tiles
}

fn throughput(report: &Report) -> Option<Chart> {
    let course = &report.course;
    let lists = course.bytes.iter().map(|(over, list)| {
        let rates = list.iter().map(|bytes| *bytes as f64 / course.every_s);
        (over.name(), *over as usize, rates.collect())
    });
    Chart::of(Plot {
        title: "Bytes of files a second",
        words: format!("Rate over time; on the whole {}", rate(report.bytes_per_s)),
        every: course.every_s,
        seconds: report.seconds,
        stacked: true,
        lists: lists.collect(),
        label: |number| rate(number).replace(".00 ", " ").replace(".0 ", " "),
    })
}

/// Colours of lines begin behind those of transports.
fn machines(report: &Report) -> Option<Chart> {
    let course = &report.course;
    let wide = |list: &[u32]| list.iter().map(|number| f64::from(*number)).collect();
    let mut lists: Vec<(&str, usize, Vec<f64>)> = vec![("on", 4, wide(&course.started))];
    for (phase, list) in &course.reached {
        lists.push((phase.name(), 5 + *phase as usize, wide(list)));
    }
    if course.failed.iter().any(|number| *number > 0) {
        let colour = 5 + Phase::ALL.len();
        lists.push(("failed", colour, wide(&course.failed)));
    }
    Chart::of(Plot {
        title: "Machines that reached each phase",
        words: headline(report),
        every: course.every_s,
        seconds: report.seconds,
        stacked: false,
        lists,
        label: |number| number.to_string(),
    })
}

fn profile_phases(report: &Report) -> Vec<(&'static str, Vec<[String; 6]>)> {
    let profiles = report.profiles.iter();
    profiles
        .map(|(profile, group)| (profile.name(), phases(group)))
        .collect()
}

fn phases(group: &Group) -> Vec<[String; 6]> {
    let rows = group.phases.iter().map(|(phase, times)| {
        [
            phase.name().to_owned(),
            count(times.machines.into()),
            time(times.p50),
            time(times.p90),
            time(times.p99),
            time(times.max),
        ]
    });
    rows.collect()
}

fn profiles(report: &Report) -> Vec<[String; 8]> {
    let rows = report.profiles.iter().map(|(profile, group)| {
        let booted = group.phases.get(&Phase::Booted);
        let told = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), time);
        [
            profile.name().to_owned(),
            count(group.machines.started.into()),
            count(group.machines.booted.into()),
            count(group.machines.failed.into()),
            told(booted.map(|times| times.p50)),
            told(booted.map(|times| times.p99)),
            bytes(group.bytes),
            group
                .jain
                .map_or_else(|| "–".to_owned(), |jain| format!("{jain:.3}")),
        ]
    });
    rows.collect()
}

fn transports(report: &Report) -> Vec<[String; 3]> {
    let (mut moved, mut resent) = (report.bytes_by_transport, report.resent);
    let rows = Transport::ALL.into_iter().map(|over| {
        let moved = match over {
            Transport::Dhcp => "–".to_owned(),
            Transport::Tftp | Transport::Http | Transport::Https => bytes(*moved.of(over)),
        };
        let resent = count(*resent.of(over));
        [over.name().to_owned(), moved, resent]
    });
    rows.collect()
}

fn files(report: &Report) -> Vec<[String; 4]> {
    let rows = report.files.largest.iter().map(|file| {
        [
            file.name.clone(),
            count(file.count),
            bytes(file.bytes),
            file.sha256.clone().unwrap_or_else(|| "–".to_owned()),
        ]
    });
    rows.collect()
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let (machines, tls, host) = (&report.all.machines, &report.handshakes, &report.host);
    let mut facts = vec![
        ("Server", report.scenario.server.clone()),
        ("Begun", report.begun.clone()),
        ("Took", time(report.seconds)),
        ("Ended because", report.end.words().to_owned()),
    ];
    if machines.restarts > 0 {
        facts.push((
            "Switched on again",
            plural(machines.restarts.into(), "time", "times"),
        ));
    }
    if tls.full + tls.resumed > 0 {
        let words = format!("{}, {} resumed", count(tls.full), count(tls.resumed));
        facts.push(("TLS handshakes", words));
    }
    let cores = plural(host.cores.into(), "core", "cores");
    facts.extend([
        ("Kernel", host.kernel.clone()),
        ("Processor", format!("{}, {cores}", host.cpu)),
        ("bootstorm-load", report.harness.clone()),
    ]);
    facts
}
