//! What the clients of a measurement counted, and how it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// Different reasons of failures that are kept apart.
const REASONS_MAX: usize = 16;

/// The books of one thread of clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of files, each counted once.
    pub(crate) bytes: u64,
    /// How long each whole transfer took, from its first packet on.
    pub(crate) times: Vec<Duration>,
    /// Bytes a second of each client, over the time that it was fetching.
    pub(crate) rates: Vec<f64>,
    /// Times that a client waited in vain.
    pub(crate) timeouts: u64,
    /// Packets that clients sent again because of that.
    pub(crate) retransmitted: u64,
    /// Blocks that came more than once.
    pub(crate) duplicates: u64,
    /// Times that a block was missing among those that came.
    pub(crate) gaps: u64,
    /// Packets from elsewhere than the transfer's other end.
    pub(crate) strays: u64,
    /// Transfers that were held open and then aborted as asked.
    pub(crate) held: u64,
    /// TFTP: block size and window that the server agreed to.
    pub(crate) granted: Option<String>,
    /// Transfers that failed, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Books a failed transfer.
    pub(crate) fn failed(&mut self, reason: String) {
        let known = self.failures.contains_key(&reason) || self.failures.len() < REASONS_MAX;
        let reason = if known { reason } else { "other".to_owned() };
        *self.failures.entry(reason).or_default() += 1;
    }

    /// Books what a client got in the time that it was fetching.
    pub(crate) fn client(&mut self, bytes: u64, busy: Duration) {
        self.rates.push(bytes as f64 / busy.as_secs_f64().max(1e-9));
    }

    /// Adds the books of another thread.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.times.extend(other.times);
        self.rates.extend(other.rates);
        self.timeouts += other.timeouts;
        self.retransmitted += other.retransmitted;
        self.duplicates += other.duplicates;
        self.gaps += other.gaps;
        self.strays += other.strays;
        self.held += other.held;
        self.granted = self.granted.take().or(other.granted);
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}

/// A finished measurement.
pub(crate) struct Summary {
    pub(crate) url: String,
    pub(crate) clients: u32,
    pub(crate) elapsed: Duration,
    /// Processor time of this program.
    pub(crate) cpu: Duration,
    pub(crate) tally: Tally,
}

impl Summary {
    /// Transfers that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.tally.failures.values().sum()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Tally {
            times,
            timeouts,
            retransmitted,
            duplicates,
            gaps,
            strays,
            held,
            ..
        } = &self.tally;
        let [p50, p99, max] = self.percentiles();
        let mut text = format!(
            "{}: clients {}, whole transfers {}, {:.1} MB in {:.3} s: {:.1} MB/s; this client took {:.3} CPU-seconds\n\
             \x20 failed {}, time-outs {timeouts}, retransmitted {retransmitted}, duplicates {duplicates}, gaps {gaps}, strays {strays}\n\
             \x20 transfer p50 {p50:.3} s, p99 {p99:.3} s, max {max:.3} s; Jain's index over clients {:.4}\n",
            self.url,
            self.clients,
            times.len(),
            self.tally.bytes as f64 / 1e6,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.cpu.as_secs_f64(),
            self.failed(),
            jain(&self.tally.rates),
        );
        if let Some(granted) = &self.tally.granted {
            text.push_str(&format!("  granted {granted} (block size x window)\n"));
        }
        if *held > 0 {
            text.push_str(&format!("  held open {held}\n"));
        }
        for (reason, count) in &self.tally.failures {
            text.push_str(&format!("  failed {count:>6} × {reason}\n"));
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let tally = &self.tally;
        let [p50, p99, max] = self.percentiles();
        let rates: Vec<f64> = tally.rates.iter().map(|rate| rate / 1e6).collect();
        json!({
            "url": self.url,
            "clients": self.clients,
            "transfers": tally.times.len(),
            "bytes": tally.bytes,
            "seconds": self.elapsed.as_secs_f64(),
            "mb_per_s": self.rate(),
            "cpu_s": self.cpu.as_secs_f64(),
            "failed": self.failed(),
            "failures": tally.failures,
            "timeouts": tally.timeouts,
            "retransmitted": tally.retransmitted,
            "duplicates": tally.duplicates,
            "gaps": tally.gaps,
            "strays": tally.strays,
            "held": tally.held,
            "granted": tally.granted,
            "transfer_s": {"p50": p50, "p99": p99, "max": max},
            "jain": jain(&tally.rates),
            "client_mb_per_s": rates,
        })
    }

    fn rate(&self) -> f64 {
        self.tally.bytes as f64 / 1e6 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn percentiles(&self) -> [f64; 3] {
        let mut times = self.tally.times.clone();
        times.sort_unstable();
        [50, 99, 100].map(|percent| {
            let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(index).copied().unwrap_or_default().as_secs_f64()
        })
    }
}

/// Jain's fairness index: 1 when all have the same, 1/n when one has everything.
fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 {
        return 0.0;
    }
    sum * sum / (rates.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_goes_from_all_to_one() {
        assert!((jain(&[3.0; 10]) - 1.0).abs() < 1e-12);
        assert!((jain(&[5.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
        assert!(jain(&[]).abs() < 1e-12);
    }

    #[test]
    fn a_summary_tells_failures_by_reason() {
        let mut tally = Tally {
            bytes: 3_000_000,
            times: vec![Duration::from_secs(1), Duration::from_secs(3)],
            ..Tally::default()
        };
        for reason in 0..100 {
            tally.failed(format!("reason {reason}"));
        }
        let summary = Summary {
            url: "tftp://a/b".to_owned(),
            clients: 2,
            elapsed: Duration::from_secs(3),
            cpu: Duration::from_millis(10),
            tally,
        };
        assert_eq!(summary.failed(), 100);
        assert_eq!(summary.json()["mb_per_s"], 1.0);
        assert_eq!(summary.json()["failures"]["other"], 84);
        assert_eq!(summary.json()["transfer_s"]["p50"], 1.0);
        assert!(summary.text().contains("reason 3"));
    }
}
