//! The latest decisions of each machine, and a line in the log for each.
//!
//! One thread takes them from the policy, writes them down as JSON and keeps them; readers look
//! them up. What is kept is bounded in bytes, whatever machines send.

mod table;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bootstorm_policy::{Decided, Explanation};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::logging::DECISION;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::RecvTimeoutError;
use serde_json::Value;

use table::{Kept, Table};

/// Who is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The machine of this MAC address.
    Mac(MacAddress),
    /// Machines with this GUID.
    Guid(MachineGuid),
    /// Machines that asked from this address.
    Address(IpAddr),
}

/// The latest decisions; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    table: Arc<Mutex<Table>>,
}

impl Decisions {
    /// Starts the thread that keeps and logs what is decided. It ends with the policy.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn keep(&self, decided: Decided, metrics: Arc<Metrics>) -> io::Result<()> {
        let table = Arc::clone(&self.table);
        std::thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || keep(&table, &decided, &metrics))?;
        Ok(())
    }

    /// What was decided for a machine, newest first: explanations as docs/reference/decisions.md
    /// lists them.
    #[must_use]
    pub fn of(&self, subject: Subject) -> Vec<Value> {
        let kept = lock(&self.table).of(subject);
        kept.iter().map(Kept::to_json).collect()
    }

    /// Takes a decision in. Whether it is another than the machine's last one of its kind.
    fn take(table: &Mutex<Table>, explanation: &Explanation) -> bool {
        // Written down before anybody is kept waiting.
        let kept = Kept::of(explanation);
        lock(table).take(kept, explanation.is_known())
    }

    #[cfg(test)]
    pub(crate) fn feed(explanations: &[Explanation]) -> Self {
        let decisions = Self::default();
        for explanation in explanations {
            Self::take(&decisions.table, explanation);
        }
        decisions
    }
}

/// How often what was left out is counted.
const TICK: Duration = Duration::from_secs(10);

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // The table is sound between any two of its steps.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(table: &Mutex<Table>, decided: &Decided, metrics: &Metrics) {
    let mut left_out = LeftOut::default();
    loop {
        match decided.told.recv_timeout(TICK) {
            Ok(explanation) => {
                if Decisions::take(table, &explanation) {
                    log(&explanation);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        left_out.look(decided.left_out(), metrics);
    }
}

/// Counts what was not told.
#[derive(Debug)]
struct LeftOut {
    since: Instant,
    counted: u64,
    logged: u64,
}

impl Default for LeftOut {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            counted: 0,
            logged: 0,
        }
    }
}

impl LeftOut {
    fn look(&mut self, total: u64, metrics: &Metrics) {
        let new = total.saturating_sub(self.counted);
        metrics.planes.decisions_dropped.inc_by(new);
        self.counted = total;
        if self.since.elapsed() < TICK {
            return;
        }
        self.since = Instant::now();
        let new = total.saturating_sub(self.logged);
        self.logged = total;
        if new > 0 {
            tracing::info!(
                target: DECISION,
                "{new} more decisions were made than are told one by one"
            );
        }
    }
}

/// One line for each decision; see the contract in `telemetry::logging`. What machines and programs
/// wrote stands in fields of text, which the log quotes.
fn log(explanation: &Explanation) {
    let facts = &explanation.facts;
    let because = explanation.because();
    tracing::info!(
        target: DECISION,
        mac = facts.mac.map(display),
        guid = facts.guid.map(display),
        arch = facts.arch().map(|arch| arch.0),
        relay = facts.relay.map(display),
        address = facts.address.map(display),
        stage = facts.stage.name(),
        decision = explanation.does(),
        boots = explanation.boots(),
        code = because.map(|(code, _)| code),
        text = because.map(|(_, text)| beginning(text)),
        by = explanation.by(),
        "decided"
    );
}

/// Characters of a reason that the log shows.
const TEXT_MAX: usize = 240;

fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(TEXT_MAX);
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// When an explanation was made, as the API writes times.
fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
