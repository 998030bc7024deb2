//! Those who say what a machine boots.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_telemetry::event::Reason;

use crate::decision::Verdict;
use crate::{Facts, Identity, Machine, Standing};

mod approval;
mod fixed;
mod machines;
mod menu;
mod referral;

pub use approval::Approval;
pub use fixed::{Fixed, Rule};
pub use machines::Machines;
pub use menu::Menu;
pub use referral::Referral;

/// A provider that answers from memory. It is asked on the packet path: it never blocks, and reads
/// nothing but snapshots. Those that ask programs, services and databases are in
/// `bootstorm-providers`.
pub trait Provider: Debug + Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &Arc<str>;

    /// What it says of a machine.
    fn decide(&self, query: &Query<'_>) -> Verdict;

    /// The same, for the record: what of its own failed on this machine goes into `failures`.
    fn decide_noting(&self, query: &Query<'_>, failures: &mut Vec<Reason>) -> Verdict {
        let _ = failures;
        self.decide(query)
    }
}

/// A machine, as providers are asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What it and the network say of it.
    pub facts: &'a Facts,
    /// What of that identifies it.
    pub identity: &'a Identity,
    /// What the store knows of it.
    pub machine: Option<&'a Arc<Machine>>,
    /// How its request to be let in stands, if there is one.
    pub standing: Option<&'a Standing>,
    /// The time.
    pub now: SystemTime,
}

fn pass(code: &'static str, text: &'static str) -> Verdict {
    Verdict::Pass(Reason {
        code,
        text: text.into(),
    })
}
