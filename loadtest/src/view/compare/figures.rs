//! The figures that are compared.

use Kind::{Counted, Measured, Time};
use Wish::{Less, More, Neither};

use super::super::units::{bytes, count, rate, time};
use crate::machine::event::Phase;
use crate::report::{Group, Machines, Report};

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

impl Figure {
    fn counted(name: impl Into<String>, number: impl Into<u64>, wish: Wish) -> Self {
        Self {
            name: name.into(),
            value: Some(number.into() as f64),
            show: |number| count(number as u64),
            wish,
            kind: Counted,
        }
    }

    fn measured(name: &str, value: Option<f64>, show: fn(f64) -> String, wish: Wish) -> Self {
        Self {
            name: name.to_owned(),
            value,
            show,
            wish,
            kind: Measured,
        }
    }

    fn time(name: String, seconds: f64) -> Self {
        Self {
            name,
            value: Some(seconds),
            show: time,
            wish: Less,
            kind: Time,
        }
    }
}

/// Everything that is compared, in the order of the table.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut list = machines(&report.all.machines);
    list.extend(bodies(report));
    list.extend(costs(report));
    times(&mut list, "", &report.all);
    for (profile, group) in &report.profiles {
        times(&mut list, &format!("{}: ", profile.name()), group);
    }
    for (what, found) in [("failure", &report.failures), ("finding", &report.findings)] {
        let figures = found.iter().map(|found| {
            let name = format!("{what} {}", found.code);
            Figure::counted(name, found.count, Less)
        });
        list.extend(figures);
    }
    list
}

fn machines(machines: &Machines) -> Vec<Figure> {
    vec![
        Figure::counted("machines booted", machines.booted, More),
        Figure::counted("machines at their own disk", machines.local_disk, Neither),
        Figure::counted("machines that left", machines.left, Neither),
        Figure::counted("machines failed", machines.failed, Less),
        Figure::counted("machines under way at the end", machines.under_way, Less),
    ]
}

fn bodies(report: &Report) -> Vec<Figure> {
    let (all, files) = (&report.all, &report.files);
    let size = |number| bytes(number as u64);
    let index = |index| format!("{index:.3}");
    vec![
        Figure::time("whole time".to_owned(), report.seconds),
        Figure::measured("rate", Some(report.bytes_per_s), rate, More),
        Figure::measured("bytes of files", Some(all.bytes as f64), size, Neither),
        Figure::measured("Jain's index", all.jain, index, More),
        Figure::counted("files fetched", files.count, Neither),
        Figure::counted("files not verified", files.unverified, Less),
    ]
}

fn costs(report: &Report) -> Vec<Figure> {
    let (resent, tls, cpu) = (&report.resent, &report.handshakes, &report.cpu);
    let (server, own) = (cpu.server_s_per_gb, cpu.own_s_per_gb);
    let seconds = |seconds| format!("{seconds:.3} s");
    vec![
        Figure::counted("DHCP resent", resent.dhcp, Less),
        Figure::counted("TFTP resent", resent.tftp, Less),
        Figure::counted("HTTP resent", resent.http + resent.https, Less),
        Figure::counted("TLS handshakes from the start", tls.full, Less),
        Figure::counted("TLS handshakes resumed", tls.resumed, More),
        Figure::measured("CPU of the server a GB", server, seconds, Less),
        Figure::measured("CPU of bootstorm-load a GB", own, seconds, Less),
    ]
}

/// Of all machines each phase, of a profile its whole boot.
fn times(list: &mut Vec<Figure>, of: &str, group: &Group) {
    for (phase, times) in &group.phases {
        if !of.is_empty() && *phase != Phase::Booted {
            continue;
        }
        for (name, seconds) in [
            ("p50", times.p50),
            ("p99", times.p99),
            ("slowest", times.max),
        ] {
            list.push(Figure::time(
                format!("{of}{}, {name}", phase.name()),
                seconds,
            ));
        }
    }
}
