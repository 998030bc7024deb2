//! Rates and the queue of machines.

use std::time::Duration;

use prometheus_client::registry::Registry;

use super::{Counter, Gauge, counter, gauge};

/// Machines that are fed and machines that wait, where their number is limited.
#[derive(Debug)]
pub struct Pacing {
    fed: Gauge,
    waiting: Gauge,
    admitted: Counter,
    waited_milliseconds: Counter,
}

impl Pacing {
    /// How many are fed and how many wait.
    pub fn machines(&self, fed: usize, waiting: usize) {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.fed.set(gauge(fed));
        self.waiting.set(gauge(waiting));
    }

    /// A machine's turn came after this time in the queue.
    pub fn admitted(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.admitted.inc();
        self.waited_milliseconds.inc_by(waited);
    }

    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            fed: gauge(
                r,
                "pacing_machines_fed",
                "Machines that are being fed, where their number is limited",
            ),
            waiting: gauge(
                r,
                "pacing_machines_waiting",
                "Machines that wait for their turn",
            ),
            admitted: counter(
                r,
                "pacing_admitted",
                "Machines whose turn came after a wait",
            ),
            waited_milliseconds: counter(
                r,
                "pacing_waited_milliseconds",
                "How long those machines waited, together",
            ),
        }
    }
}
