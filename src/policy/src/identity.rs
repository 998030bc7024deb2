//! What of a machine's facts tells it from all others.

use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::Facts;

/// What identifies a machine. Its GUID goes before its MAC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// MAC address, unless several machines share it.
    pub mac: Option<MacAddress>,
    /// Machine GUID, unless its vendor gave it to many.
    pub guid: Option<MachineGuid>,
    /// What the machine sent besides and why it does not count.
    pub stripped: Vec<Reason>,
}

impl Identity {
    /// What of the facts identifies the machine.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self {
            mac: facts.mac,
            guid: facts.guid.filter(|guid| !guid.is_blank()),
            stripped: Vec::new(),
        }
    }

    /// Nothing tells which machine it is.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.mac.is_none() && self.guid.is_none()
    }
}
