//! How providers fail.

use std::time::Duration;

use bootstorm_policy::decision::BadAnswer;
use bootstorm_telemetry::event::Reason;

/// A provider gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Its budget was over.
    #[error("no answer within {} ms", budget.as_millis())]
    Timeout {
        /// How long it had.
        budget: Duration,
    },
    /// It could not be asked, or said that it failed.
    #[error("{0}")]
    Failed(String),
    /// What it said cannot be used.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
    /// It failed so often that it is left alone for a while.
    #[error(
        "it failed {failures} times in a row and is asked again in {} s",
        again.as_secs()
    )]
    CircuitOpen {
        /// How often.
        failures: u32,
        /// Until the next try.
        again: Duration,
    },
    /// Too many machines ask at once.
    #[error("{running} calls run and {waiting} wait")]
    Busy {
        /// Calls that run.
        running: usize,
        /// Calls that wait for them.
        waiting: usize,
    },
}

/// A provider that cannot be asked as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("provider `{provider}`: {what}")]
pub struct Unusable {
    /// Its name.
    pub provider: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Unusable {
    /// Stable code, listed in docs/reference/reasons.md.
    pub const CODE: &'static str = "provider.unusable";
}

impl ProviderError {
    /// Stable code, listed in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "provider.timeout",
            Self::Failed(_) => "provider.failed",
            Self::BadAnswer(_) => "provider.bad-answer",
            Self::CircuitOpen { .. } => "provider.circuit-open",
            Self::Busy { .. } => "provider.busy",
        }
    }

    /// For the record of a decision.
    #[must_use]
    pub fn reason(&self, provider: &str) -> Reason {
        Reason {
            code: self.code(),
            text: format!("{provider}: {self}").into(),
        }
    }
}
