//! The providers in the order of the configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::providers::Provider;

/// One provider's place in the chain.
#[derive(Clone, Debug)]
pub enum Link {
    /// Answers from memory.
    Instant(Arc<dyn Provider>),
    /// Asks a program, a service or a database: the chain uses what it said last, and somebody
    /// else asks.
    Remote(Remote),
}

/// A provider that takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Whether it is asked when a machine comes by DHCP; it always is when one comes for its script.
    pub asked_at_dhcp: bool,
    /// How long an answer may take.
    pub budget: Duration,
    /// How long an answer is used.
    pub keep: Duration,
    /// What a failure counts as.
    pub on_failure: OnFailure,
}

/// What a provider that fails is taken to have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The next one is asked.
    #[default]
    Pass,
    /// The machine gets no answer.
    Ignore,
}
