//! The table: medians of all rounds, and whether the limits hold.

use std::time::Duration;

use super::scenario::{Limit, Scenario};
use super::server::Kind;

/// One round of one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// CPU-seconds of the server.
    pub(crate) cpu: f64,
    /// CPU-seconds of the client.
    pub(crate) client_cpu: f64,
    pub(crate) failed: u64,
    pub(crate) timeouts: u64,
    /// The most resident bytes beside the maps.
    pub(crate) memory: u64,
    pub(crate) jain: f64,
    /// Block size and window that a TFTP server granted.
    pub(crate) granted: Option<String>,
}

impl Sample {
    /// Nothing came to an end in time.
    pub(crate) fn given_up(after: Duration, cpu: Duration) -> Self {
        Self {
            seconds: after.as_secs_f64(),
            cpu: cpu.as_secs_f64(),
            failed: 1,
            ..Self::default()
        }
    }
}

/// All rounds of one server in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
    /// Why there are none.
    pub(crate) missing: Option<String>,
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    /// MB/s.
    fn rate(&self) -> f64 {
        self.median(rate)
    }

    /// CPU-seconds a GB.
    fn cpu(&self) -> f64 {
        self.median(|sample| sample.cpu / (sample.bytes as f64 / 1e9))
    }

    fn sum(&self, of: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(of).sum()
    }
}

/// One scenario, measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) scenario: &'static Scenario,
    pub(crate) rows: Vec<Row>,
    /// How the servers' processor time was read.
    pub(crate) accounting: &'static str,
}

/// What became of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) text: String,
}

impl Measured {
    /// One verdict for each limit.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let limits = self.scenario.limits.iter();
        limits.map(|limit| self.verdict(*limit)).collect()
    }

    fn verdict(&self, limit: Limit) -> Verdict {
        let own = self
            .rows
            .iter()
            .find(|row| row.kind == Kind::Bootstorm && !row.samples.is_empty());
        let Some(own) = own else {
            return Verdict::new(false, "bootstorm was not measured".to_owned());
        };
        match limit {
            Limit::NoFailure => none("failed transfers", own.sum(|sample| sample.failed)),
            Limit::NoTimeout => none("client time-outs", own.sum(|sample| sample.timeouts)),
            Limit::Memory(most) => {
                let memory = own.median(|sample| sample.memory as f64) / 1e6;
                let text = format!("{memory:.0} MB resident beside the maps, below {most:.0}");
                Verdict::new(memory > 0.0 && memory < most, text)
            }
            Limit::Rate(times) => self.against(own, |own, peer| {
                let ratio = own.rate() / peer.rate();
                let text = format!(
                    "{:.0} MB/s against {:.0} of {}: {ratio:.2} times, at least {times}",
                    own.rate(),
                    peer.rate(),
                    peer.kind
                );
                Verdict::new(ratio >= times, text)
            }),
            Limit::Cpu(times) => self.against(own, |own, peer| {
                let ratio = own.cpu() / peer.cpu();
                let text = format!(
                    "{:.3} CPU s/GB against {:.3} of {}: {ratio:.2} times, at most {times}",
                    own.cpu(),
                    peer.cpu(),
                    peer.kind
                );
                Verdict::new(ratio <= times, text)
            }),
        }
    }

    /// The peer with the most MB/s is the one to compare with.
    fn against(&self, own: &Row, compare: impl Fn(&Row, &Row) -> Verdict) -> Verdict {
        let peers = self
            .rows
            .iter()
            .filter(|row| row.kind != Kind::Bootstorm && row.sum(|sample| sample.bytes) > 0);
        match peers.max_by(|a, b| a.rate().total_cmp(&b.rate())) {
            Some(best) => compare(own, best),
            None => Verdict::new(false, "no peer to compare with".to_owned()),
        }
    }

    /// The scenario in Markdown, which is a table on a terminal too.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "### {}\n\n`{}`: {}\n\n",
            self.scenario.about,
            self.scenario.name,
            if self.rows.iter().all(|row| row.samples.len() <= 1) {
                "one round".to_owned()
            } else {
                let rounds = self.rows.iter().map(|row| row.samples.len()).max();
                format!("median of {} rounds", rounds.unwrap_or(0))
            }
        );
        text.push_str(&header());
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text.push('\n');
        for verdict in self.verdicts() {
            text.push_str(&verdict.line());
        }
        text.push('\n');
        text
    }
}

impl Verdict {
    pub(super) fn new(holds: bool, text: String) -> Self {
        Self { holds, text }
    }

    /// Its line on the page.
    pub(super) fn line(&self) -> String {
        let word = if self.holds { "holds" } else { "**fails**" };
        format!("- {word}: {}\n", self.text)
    }
}

fn none(what: &str, count: u64) -> Verdict {
    Verdict::new(count == 0, format!("{count} {what}, none allowed"))
}

const COLUMNS: [(&str, usize); 9] = [
    ("server", 10),
    ("MB/s", 6),
    ("least..most", 11),
    ("CPU s/GB", 8),
    ("time-outs", 9),
    ("failed", 6),
    ("Jain", 5),
    ("client busy", 11),
    ("granted", 10),
];

fn header() -> String {
    let cells = COLUMNS.map(|(name, width)| format!("{name:<width$}"));
    let rules = COLUMNS.map(|(_, width)| "-".repeat(width));
    format!("| {} |\n| {} |\n", cells.join(" | "), rules.join(" | "))
}

fn line(row: &Row) -> String {
    let cells = if let Some(reason) = &row.missing {
        let reason = reason.replace(['\n', '|'], " ");
        let mut cells = vec![String::new(); COLUMNS.len()];
        cells[0] = row.kind.to_string();
        cells[1] = format!("missing: {}", reason.trim());
        cells
    } else {
        let rates = || row.samples.iter().map(rate);
        let least = rates().fold(f64::INFINITY, f64::min);
        let most = rates().fold(0.0, f64::max);
        vec![
            row.kind.to_string(),
            format!("{:.0}", row.rate()),
            format!("{least:.0}..{most:.0}"),
            format!("{:.3}", row.cpu()),
            row.sum(|sample| sample.timeouts).to_string(),
            row.sum(|sample| sample.failed).to_string(),
            format!("{:.3}", row.median(|sample| sample.jain)),
            format!(
                "{:.0} %",
                100.0 * row.median(|sample| sample.client_cpu / sample.seconds)
            ),
            row.samples
                .iter()
                .find_map(|sample| sample.granted.clone())
                .unwrap_or_default(),
        ]
    };
    let padded: Vec<String> = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, (_, width))| format!("{cell:<width$}"))
        .collect();
    format!("| {} |\n", padded.join(" | "))
}

fn rate(sample: &Sample) -> f64 {
    sample.bytes as f64 / 1e6 / sample.seconds
}

/// A line of a table.
pub(super) fn cells(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The middle one; of two the mean.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::ALL;
    use super::*;

    fn row(kind: Kind, rates: &[f64], cpu_per_gb: f64) -> Row {
        let samples = rates.iter().map(|rate| Sample {
            bytes: 2_000_000_000,
            seconds: 2000.0 / rate,
            cpu: 2.0 * cpu_per_gb,
            ..Sample::default()
        });
        Row {
            kind,
            samples: samples.collect(),
            missing: None,
        }
    }

    fn measured(name: &str, rows: Vec<Row>) -> Measured {
        let scenario = ALL.iter().find(|scenario| scenario.name == name).unwrap();
        Measured {
            scenario,
            rows,
            accounting: "a test",
        }
    }

    #[test]
    fn medians_forget_outliers() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![1.0, 4.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn limits_are_held_against_the_fastest_peer() {
        let measured = measured(
            "tftp-16",
            vec![
                row(Kind::Bootstorm, &[10.0, 350.0, 360.0], 1.0),
                row(Kind::RsTftpd, &[200.0, 210.0, 900.0], 3.0),
                row(Kind::Dnsmasq, &[100.0, 100.0, 100.0], 1.1),
            ],
        );
        let [rate, cpu, failures] = &measured.verdicts()[..] else {
            panic!("three limits")
        };
        assert!(rate.holds, "{}", rate.text);
        assert!(
            rate.text
                .contains("350 MB/s against 210 of rs-tftpd: 1.67 times")
        );
        assert!(cpu.holds, "{}", cpu.text);
        assert!(failures.holds);
    }

    #[test]
    fn a_limit_that_was_not_shown_does_not_hold() {
        let own = row(Kind::Bootstorm, &[350.0], 1.0);
        let lonely = measured("tftp-16", vec![own.clone()]);
        assert!(!lonely.verdicts()[0].holds);
        let absent = measured("tftp-16", vec![row(Kind::RsTftpd, &[1.0], 1.0)]);
        assert!(absent.verdicts().iter().all(|verdict| !verdict.holds));
        let mut failing = own;
        failing.samples[0].failed = 1;
        let failing = measured("tftp-500-clients", vec![failing]);
        let failures = &failing.verdicts()[1];
        assert_eq!(failures.text, "1 failed transfers, none allowed");
        assert!(!failures.holds);
        // The client never said that the transfers were open.
        assert!(!measured("tftp-held", failing.rows).verdicts()[0].holds);
    }

    #[test]
    fn missing_peers_stand_in_the_table() {
        let missing = Row {
            kind: Kind::Atftpd,
            samples: Vec::new(),
            missing: Some("not installed;\nas root: apt-get".to_owned()),
        };
        let text = measured("tftp-1", vec![missing]).markdown();
        assert!(text.contains("| atftpd     | missing: not installed; as root: apt-get |"));
        assert!(text.contains("**fails**"));
    }
}
