//! The figures that are compared.

use Kind::{Counted, Measured, Time};
use Wish::{Less, More, Neither};

use super::super::units::{bytes, count, rate, time};
use crate::machine::event::Phase;
use crate::report::{Counts, Found, Group, Report, Times};

/// A figure of a report, if the report has it.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: Option<f64>,
    pub(super) show: fn(f64) -> String,
    pub(super) wish: Wish,
    pub(super) kind: Kind,
}

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Less,
    More,
    Neither,
}

/// When two figures are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// When they are equal.
    Counted,
    /// When they differ by no more than two runs of the same do.
    Measured,
    /// The same, of seconds.
    Time,
}

/// Everything that is compared, in the order of the table.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: Option<f64>, show, wish, kind| {
        list.push(Figure {
            name: name.to_owned(),
            value,
            show,
            wish,
            kind,
        });
    };
    let plain: fn(f64) -> String = |number| count(number as u64);
    let costs: fn(f64) -> String = |seconds| format!("{seconds:.3} s");
    let even: fn(f64) -> String = |index| format!("{index:.3}");
    let (all, files, cpu, tls) = (&report.all, &report.files, &report.cpu, &report.handshakes);
    let machines = &all.machines;
    for (name, number, wish) in [
        ("machines booted", machines.booted, More),
        ("machines at their own disk", machines.local_disk, Neither),
        ("machines that left", machines.left, Neither),
        ("machines failed", machines.failed, Less),
        ("machines under way at the end", machines.under_way, Less),
    ] {
        add(name, Some(number.into()), plain, wish, Counted);
    }
    add("whole time", Some(report.seconds), time, Less, Time);
    add("rate", Some(report.bytes_per_s), rate, More, Measured);
    add(
        "bytes of files",
        Some(all.bytes as f64),
        |n| bytes(n as u64),
        Neither,
        Measured,
    );
    add("Jain's index", all.jain, even, More, Measured);
    add(
        "files fetched",
        Some(files.count as f64),
        plain,
        Neither,
        Counted,
    );
    add(
        "files not verified",
        Some(files.unverified as f64),
        plain,
        Less,
        Counted,
    );
    for (name, number) in resent(&report.resent) {
        add(name, Some(number as f64), plain, Less, Counted);
    }
    add(
        "TLS handshakes from the start",
        Some(tls.full as f64),
        plain,
        Less,
        Counted,
    );
    add(
        "TLS handshakes resumed",
        Some(tls.resumed as f64),
        plain,
        More,
        Counted,
    );
    add(
        "CPU of the server a GB",
        cpu.server_s_per_gb,
        costs,
        Less,
        Measured,
    );
    add(
        "CPU of bootstorm-load a GB",
        cpu.own_s_per_gb,
        costs,
        Less,
        Measured,
    );
    list.extend(times("", all));
    for (profile, group) in &report.profiles {
        list.extend(times(&format!("{}: ", profile.name()), group));
    }
    for (what, found) in [("failure", &report.failures), ("finding", &report.findings)] {
        list.extend(found.iter().map(|found| found_figure(what, found)));
    }
    list
}

const fn resent(resent: &Counts) -> [(&'static str, u64); 3] {
    [
        ("DHCP resent", resent.dhcp),
        ("TFTP resent", resent.tftp),
        ("HTTP resent", resent.http + resent.https),
    ]
}

/// Of all machines each phase, of a profile its whole boot.
fn times<'a>(of: &'a str, group: &'a Group) -> impl Iterator<Item = Figure> + 'a {
    let told = group
        .phases
        .iter()
        .filter(move |(phase, _)| of.is_empty() || **phase == Phase::Booted);
    told.flat_map(move |(phase, times)| {
        let picks: [(&str, fn(&Times) -> f64); 3] = [
            ("p50", |times| times.p50),
            ("p99", |times| times.p99),
            ("slowest", |times| times.max),
        ];
        picks.map(|(name, pick)| Figure {
            name: format!("{of}{}, {name}", phase.name()),
            value: Some(pick(times)),
            show: time,
            wish: Less,
            kind: Time,
        })
    })
}

/// What one report lacks is none there.
fn found_figure(what: &str, found: &Found) -> Figure {
    Figure {
        name: format!("{what} {}", found.code),
        value: Some(found.count as f64),
        show: |number| count(number as u64),
        wish: Less,
        kind: Counted,
    }
}
