//! `[limits]`: what has to hold at the end of a storm.

use std::time::Duration;

use bootstorm_config::Span;
use serde::Deserialize;

use super::units::{Count, Percent, Rate};
use crate::machine::event::Phase;
use crate::report::{Limit, Report};

/// What has to hold; what is not given is not looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// At least this part of the machines boots, of those that are not to vanish.
    booted: Option<Percent>,
    /// At most so many machines fail.
    failed: Option<u32>,
    /// At most so many deviations of the server.
    findings: Option<u32>,
    /// At most so many files whose SHA-256 nobody gave.
    unverified: Option<Count>,
    /// 99 % of the machines that have an offer have it so soon.
    offered_p99: Option<Span>,
    /// 99 % of the machines that have a script have it so soon.
    script_p99: Option<Span>,
    /// Half of the machines that boot do so that soon.
    booted_p50: Option<Span>,
    /// 99 % of them do.
    booted_p99: Option<Span>,
    /// All of them do.
    booted_max: Option<Span>,
    /// All files together come at least so fast.
    rate_min: Option<Rate>,
    /// Jain's index over the machines' rates is at least this.
    jain_min: Option<f64>,
    /// At least this part of the TLS handshakes takes up an earlier session.
    resumed_min: Option<Percent>,
}

impl Limits {
    /// Tells what no storm could keep.
    pub(super) fn check(&self, mut note: impl FnMut(&str, String)) {
        if self
            .jain_min
            .is_some_and(|jain| !(0.0..=1.0).contains(&jain))
        {
            note(
                "limits.jain_min",
                "Jain's index is between 0 and 1".to_owned(),
            );
        }
        for (name, limit, ..) in self.times() {
            if limit.is_some_and(|Span(limit)| limit.is_zero()) {
                note(&format!("limits.{name}"), "nothing is that fast".to_owned());
            }
        }
    }

    /// Each one that is given, held against what the storm came to.
    pub(crate) fn judge(&self, report: &Report) -> Vec<Limit> {
        let mut limits = Vec::new();
        match (self.booted, self.failed) {
            (Some(wanted), _) => limits.push(booted(wanted, report)),
            (None, None) => limits.push(all_through(report)),
            (None, Some(_)) => {}
        }
        let findings = report.findings.iter();
        let findings = findings.filter(|found| !found.code.starts_with(OF_HARNESS));
        let counts = [
            (
                "failed",
                self.failed.map(Count::InAll),
                u64::from(report.all.machines.failed),
            ),
            (
                "findings",
                self.findings.map(Count::InAll),
                findings.map(|found| found.count).sum(),
            ),
            ("unverified", self.unverified, report.files.unverified),
        ];
        for (name, wanted, got) in counts {
            let Some(wanted) = wanted else { continue };
            let held = got <= wanted.of(report.scenario.machines);
            limits.push(limit(
                name,
                format!("at most {wanted}"),
                got.to_string(),
                held,
            ));
        }
        for (name, wanted, phase, pick) in self.times() {
            let Some(Span(wanted)) = wanted else { continue };
            let got = report.all.phases.get(&phase).map(pick);
            limits.push(time(name, wanted, got));
        }
        self.judge_rates(report, &mut limits);
        limits
    }

    fn judge_rates(&self, report: &Report, limits: &mut Vec<Limit>) {
        if let Some(wanted) = self.rate_min {
            let got = Rate((report.bytes_per_s * 8.0) as u64);
            limits.push(at_least("rate_min", wanted, got, got >= wanted));
        }
        if let Some(wanted) = self.jain_min {
            let got = report.all.jain.unwrap_or(0.0);
            let shown = format!("{got:.3}");
            limits.push(at_least("jain_min", wanted, shown, got >= wanted));
        }
        if let Some(wanted) = self.resumed_min {
            let handshakes = report.handshakes;
            let all = handshakes.full + handshakes.resumed;
            let got = handshakes.resumed as f64 / all.max(1) as f64;
            let shown = format!("{:.1} % of {all}", got * 100.0);
            limits.push(at_least(
                "resumed_min",
                wanted,
                shown,
                got >= wanted.share(),
            ));
        }
    }

    fn times(&self) -> [(&'static str, Option<Span>, Phase, Pick); 5] {
        [
            ("offered_p99", self.offered_p99, Phase::Offered, |times| {
                times.p99
            }),
            ("script_p99", self.script_p99, Phase::Script, |times| {
                times.p99
            }),
            ("booted_p50", self.booted_p50, Phase::Booted, |times| {
                times.p50
            }),
            ("booted_p99", self.booted_p99, Phase::Booted, |times| {
                times.p99
            }),
            ("booted_max", self.booted_max, Phase::Booted, |times| {
                times.max
            }),
        ]
    }
}

type Pick = fn(&crate::report::Times) -> f64;

/// How findings about ourselves begin: they are not the server's.
const OF_HARNESS: &str = "harness.";

fn booted(wanted: Percent, report: &Report) -> Limit {
    let machines = report.all.machines;
    let all = report.scenario.machines.saturating_sub(machines.left);
    let got = f64::from(machines.booted) / f64::from(all.max(1));
    let shown = format!("{} of {all}", machines.booted);
    at_least("booted", wanted, shown, got >= wanted.share())
}

/// What is wanted of every storm whose scenario does not say how many may fail.
fn all_through(report: &Report) -> Limit {
    let machines = report.all.machines;
    let through = machines.booted + machines.local_disk + machines.left;
    let all = report.scenario.machines;
    let got = format!("{through} of {all} through, {} failed", machines.failed);
    limit("failed", "at most 0".to_owned(), got, through >= all)
}

fn time(name: &str, wanted: Duration, got: Option<f64>) -> Limit {
    let shown = got.map_or("no machine came so far".to_owned(), |got| {
        format!("{got:.3} s")
    });
    let held = got.is_some_and(|got| got <= wanted.as_secs_f64());
    let wanted = format!("at most {:.3} s", wanted.as_secs_f64());
    limit(name, wanted, shown, held)
}

fn at_least(name: &str, wanted: impl ToString, got: impl ToString, held: bool) -> Limit {
    limit(
        name,
        format!("at least {}", wanted.to_string()),
        got.to_string(),
        held,
    )
}

fn limit(name: &str, wanted: String, got: String, held: bool) -> Limit {
    Limit {
        name: name.to_owned(),
        wanted,
        got,
        held,
    }
}
