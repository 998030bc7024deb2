//! Tells decisions to whoever keeps and logs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::Explanation;

/// Decisions that may wait for whoever keeps them.
const QUEUE: usize = 4096;
/// Decisions told in a second, for machines that are known and for all others: telling costs more
/// than deciding.
const PER_SECOND: u64 = 100;
/// The same at once, after a pause: a lab that is switched on is told whole.
const AT_ONCE: u64 = 2_000;

const EVERY: u64 = 1_000_000_000 / PER_SECOND;

/// The policy's end: never waits.
#[derive(Debug)]
pub(crate) struct Teller {
    queue: Sender<Explanation>,
    strangers: Pace,
    known: Pace,
    left_out: Arc<AtomicU64>,
}

/// Decisions as they are made.
#[derive(Clone, Debug)]
pub struct Decided {
    /// One after another.
    pub told: Receiver<Explanation>,
    left_out: Arc<AtomicU64>,
}

impl Decided {
    /// Decisions that were left out since the start: more were made than are told.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Teller {
    pub(crate) fn new() -> (Self, Decided) {
        let (queue, told) = bounded(QUEUE);
        let left_out = Arc::<AtomicU64>::default();
        let teller = Self {
            queue,
            strangers: Pace::default(),
            known: Pace::default(),
            left_out: Arc::clone(&left_out),
        };
        (teller, Decided { told, left_out })
    }

    /// Tells what `explain` makes, unless too much was told of late: then it is not made. A flood
    /// of strangers keeps no machine out that is known.
    pub(crate) fn tell(
        &self,
        is_known: bool,
        now: SystemTime,
        explain: impl FnOnce() -> Explanation,
    ) {
        let pace = if is_known {
            &self.known
        } else {
            &self.strangers
        };
        let is_told = !self.queue.is_full()
            && pace.take(nanoseconds(now))
            && self.queue.try_send(explain()).is_ok();
        if !is_told {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn nanoseconds(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A rate with a burst, by the time at which the next one would be due if they came evenly.
#[derive(Debug, Default)]
struct Pace {
    due: AtomicU64,
}

impl Pace {
    fn take(&self, now: u64) -> bool {
        let ahead = EVERY * (AT_ONCE - 1);
        let taken = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                // The clock may have been set back.
                let due = if due > now.saturating_add(ahead + EVERY) {
                    now
                } else {
                    due.max(now)
                };
                (due - now <= ahead).then_some(due + EVERY)
            });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &Pace, now: u64, times: u64) -> u64 {
        (0..times).filter(|_| pace.take(now)).count() as u64
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let pace = Pace::default();
        let start = 5_000_000_000;
        assert_eq!(taken(&pace, start, 2 * AT_ONCE), AT_ONCE);
        let second = 1_000_000_000;
        assert_eq!(taken(&pace, start + second, AT_ONCE), PER_SECOND);
        assert_eq!(taken(&pace, start + 3 * second, AT_ONCE), 2 * PER_SECOND);
        assert_eq!(taken(&pace, start + 3600 * second, 2 * AT_ONCE), AT_ONCE);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let pace = Pace::default();
        assert_eq!(taken(&pace, u64::MAX / 2, 10), 10);
        assert_eq!(taken(&pace, 1_000_000_000, 10), 10);
    }
}
