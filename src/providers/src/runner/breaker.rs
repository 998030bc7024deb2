//! Leaves a provider alone that fails again and again.

use std::time::Duration;

use tokio::time::Instant;

use crate::ProviderError;

/// Failures in a row that open the circuit.
pub(super) const FAILURES_MAX: u32 = 5;

/// How long it stays open.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(30);

/// A circuit breaker: closed, open, or open with one call under way that tries.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// Nobody is asked before.
    until: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made that takes this long at most.
    pub(super) fn allow(&mut self, now: Instant, budget: Duration) -> Result<(), ProviderError> {
        let Some(until) = self.until else {
            return Ok(());
        };
        if now < until {
            return Err(ProviderError::CircuitOpen {
                failures: self.failures,
                again: until - now,
            });
        }
        // One tries; the others wait for what comes of it, or until it must have come to an end.
        self.until = Some(now + budget);
        Ok(())
    }

    /// How a call ended. Whether that closed or opened the circuit.
    pub(super) fn note(&mut self, succeeded: bool, now: Instant) -> Option<Change> {
        let was_open = self.until.is_some();
        if succeeded {
            *self = Self::default();
            return was_open.then_some(Change::Closed);
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX {
            return None;
        }
        self.until = Some(now + OPEN_FOR);
        (!was_open).then_some(Change::Opened)
    }
}

/// What became of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}
