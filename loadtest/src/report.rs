//! What the machines lived through: phases, times, bytes, failures by reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bootstorm_proto::types::MacAddress;
use serde_json::{Value, json};

/// How far a machine got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// A boot server offered.
    Offered,
    /// The network boot program is there.
    BootProgram,
    /// The script is there.
    Script,
    /// Every file that the script names is there, whole.
    Booted,
    /// The script sent it to its own disk.
    LocalDisk,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Offered,
        Self::BootProgram,
        Self::Script,
        Self::Booted,
        Self::LocalDisk,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::BootProgram => "boot program",
            Self::Script => "script",
            Self::Booted => "booted",
            Self::LocalDisk => "local disk",
        }
    }
}

/// The books of one storm, shared by all machines.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bytes: AtomicU64,
    verified: AtomicU64,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    times: BTreeMap<Phase, Vec<Duration>>,
    failures: BTreeMap<String, (u64, MacAddressText)>,
    done: u64,
    failed: u64,
}

type MacAddressText = String;

impl Tally {
    /// A machine reached a phase this long after its power button.
    pub(crate) fn reached(&self, phase: Phase, after: Duration) {
        self.books().times.entry(phase).or_default().push(after);
    }

    /// Bytes of files arrived.
    pub(crate) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file arrived whole; its digest could be compared or not.
    pub(crate) fn verified(&self, by_digest: bool) {
        self.verified
            .fetch_add(u64::from(by_digest), Ordering::Relaxed);
    }

    /// A machine came to its end.
    pub(crate) fn finished(&self, index: u32, mac: MacAddress, outcome: anyhow::Result<()>) {
        let mut books = self.books();
        books.done += 1;
        if let Err(error) = outcome {
            books.failed += 1;
            let example = format!("machine {index}, {mac}");
            books
                .failures
                .entry(format!("{error:#}"))
                .or_insert((0, example))
                .0 += 1;
        }
    }

    /// Machines that came to their end, and those of them that failed.
    pub(crate) fn ended(&self) -> (u64, u64) {
        let books = self.books();
        (books.done, books.failed)
    }

    /// One line of the present state.
    pub(crate) fn line(&self, machines: u32, elapsed: Duration) -> String {
        let books = self.books();
        let mut phases = String::new();
        for phase in Phase::ALL {
            if let Some(times) = books.times.get(&phase) {
                phases.push_str(&format!("  {} {}", phase.name(), times.len()));
            }
        }
        format!(
            "{:6.1} s  {}/{machines} done, {} failed{phases}  {:.1} MB/s",
            elapsed.as_secs_f64(),
            books.done,
            books.failed,
            self.megabytes() / elapsed.as_secs_f64().max(0.001),
        )
    }

    /// The summary for people.
    pub(crate) fn summary(&self, machines: u32, elapsed: Duration) -> String {
        let mut text = format!(
            "{machines} machines in {:.1} s, {:.1} MB, {:.1} MB/s, {} files verified by digest\n",
            elapsed.as_secs_f64(),
            self.megabytes(),
            self.megabytes() / elapsed.as_secs_f64().max(0.001),
            self.verified.load(Ordering::Relaxed),
        );
        let mut books = self.books();
        for (phase, times) in &mut books.times {
            times.sort_unstable();
            text.push_str(&format!(
                "  {:<13} {:>6}   p50 {:>8.3} s   p99 {:>8.3} s   max {:>8.3} s\n",
                phase.name(),
                times.len(),
                at(times, 50).as_secs_f64(),
                at(times, 99).as_secs_f64(),
                at(times, 100).as_secs_f64(),
            ));
        }
        for (reason, (count, example)) in &books.failures {
            text.push_str(&format!(
                "  failed {count:>6} × {reason} (first: {example})\n"
            ));
        }
        text
    }

    /// The summary for programs.
    pub(crate) fn json(&self, machines: u32, elapsed: Duration) -> Value {
        let mut books = self.books();
        let phases: serde_json::Map<String, Value> = books
            .times
            .iter_mut()
            .map(|(phase, times)| {
                times.sort_unstable();
                let [p50, p99, max] = [50, 99, 100].map(|p| at(times, p).as_secs_f64());
                let numbers =
                    json!({"count": times.len(), "p50_s": p50, "p99_s": p99, "max_s": max});
                (phase.name().replace(' ', "_"), numbers)
            })
            .collect();
        let failures: serde_json::Map<String, Value> = books
            .failures
            .iter()
            .map(|(reason, (count, _))| (reason.clone(), json!(count)))
            .collect();
        json!({
            "machines": machines,
            "seconds": elapsed.as_secs_f64(),
            "bytes": self.bytes.load(Ordering::Relaxed),
            "verified_files": self.verified.load(Ordering::Relaxed),
            "failed": books.failed,
            "phases": phases,
            "failures": failures,
        })
    }

    fn megabytes(&self) -> f64 {
        self.bytes.load(Ordering::Relaxed) as f64 / 1e6
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value below which `percent` of the sorted times lie.
fn at(times: &[Duration], percent: usize) -> Duration {
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_failures_are_told() {
        let tally = Tally::default();
        for second in 1..=100 {
            tally.reached(Phase::Booted, Duration::from_secs(second));
        }
        tally.finished(0, MacAddress::new([2; 6]), Ok(()));
        tally.finished(
            1,
            MacAddress::new([2; 6]),
            Err(anyhow::anyhow!("no boot offer")),
        );
        let json = tally.json(2, Duration::from_secs(100));
        assert_eq!(json["phases"]["booted"]["p50_s"], 50.0);
        assert_eq!(json["phases"]["booted"]["p99_s"], 99.0);
        assert_eq!(json["failures"]["no boot offer"], 1);
        assert_eq!(tally.ended(), (2, 1));
    }
}
