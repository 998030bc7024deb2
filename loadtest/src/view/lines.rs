//! Plain lines while a storm goes on: one a second, and one for each new kind of trouble.

use std::collections::BTreeSet;
use std::io::Write;

use super::pace::Pace;
use super::units::{count, fit, percent, rate, time};
use crate::finding::Code;
use crate::report::Snapshot;

/// Letters of what was seen.
const EVIDENCE: usize = 120;

/// Writes a storm's progress.
#[derive(Debug)]
pub(crate) struct Lines<W> {
    out: W,
    pace: Pace,
    next: f64,
    told: BTreeSet<(Code, bool)>,
}

impl<W: Write> Lines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            pace: Pace::over(1.0),
            next: 1.0,
            told: BTreeSet::new(),
        }
    }

    /// Looks at the storm, and writes what is due. A terminal that has gone does not end it.
    pub(crate) fn see(&mut self, snapshot: &Snapshot) {
        for latest in &snapshot.latest {
            if self.told.insert((latest.code, latest.failure)) {
                let what = if latest.failure { "failed" } else { "found" };
                let _ = writeln!(
                    self.out,
                    "{:>8}  {what} {} with {}: {}",
                    time(latest.at),
                    latest.code,
                    latest.mac,
                    fit(&latest.evidence, EVIDENCE)
                );
            }
        }
        let rates = self.pace.see(snapshot);
        if snapshot.elapsed < self.next {
            return;
        }
        self.next = snapshot.elapsed.floor() + 1.0;
        let machines = &snapshot.machines;
        let mut line = format!(
            "{:>8}  {} of {} on, {} booted",
            time(snapshot.elapsed.floor()),
            count(machines.started.into()),
            count(snapshot.total.into()),
            count(machines.booted.into()),
        );
        for (number, what) in [
            (machines.local_disk, "to their own disk"),
            (machines.left, "left"),
            (machines.failed, "failed"),
        ] {
            if number > 0 {
                line.push_str(&format!(", {} {what}", count(number.into())));
            }
        }
        line.push_str(&format!(
            "; {}, {} resent; CPU {}",
            rate(rates.bytes),
            count(snapshot.resent.sum()),
            percent(rates.own)
        ));
        if let Some(server) = rates.server {
            line.push_str(&format!(", server {}", percent(server)));
        }
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latest, Machines};

    #[test]
    fn one_line_a_second_and_one_for_each_new_trouble() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for quarter in 0..=8_u32 {
            let latest = Latest {
                at: 0.5,
                code: Code::DhcpSilent,
                failure: true,
                mac: "02:b5:70:00:00:01".to_owned(),
                evidence: "nobody".to_owned(),
                times: 1,
            };
            lines.see(&Snapshot {
                total: 2_000,
                elapsed: f64::from(quarter) / 4.0,
                machines: Machines {
                    started: 1_500,
                    failed: 1,
                    ..Machines::default()
                },
                latest: vec![latest; usize::from(quarter >= 2)],
                ..Snapshot::default()
            });
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "  500 ms  failed dhcp.silent with 02:b5:70:00:00:01: nobody\n\
             \x20 1.00 s  1,500 of 2,000 on, 0 booted, 1 failed; 0 B/s, 0 resent; CPU 0 %\n\
             \x20 2.00 s  1,500 of 2,000 on, 0 booted, 1 failed; 0 B/s, 0 resent; CPU 0 %\n"
        );
    }
}
