//! What people decided for single machines in the store.

use std::sync::Arc;
use std::time::Duration;

use bootstorm_telemetry::event::Reason;

use super::{Provider, Query, pass};
use crate::Machine;
use crate::decision::{Boot, Plan, Verdict, Wait};

/// How often a machine that is held asks whether it may go on.
const ASKS_AGAIN: Duration = Duration::from_secs(10);

/// Serves what the store says of a machine: a hold first, then what it is to boot once, then what
/// it boots each time.
#[derive(Debug)]
pub struct Machines {
    name: Arc<str>,
}

impl Machines {
    /// A provider of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into() }
    }

    fn plan(&self, machine: &Machine) -> Option<Plan> {
        let plan = |boot, rule| Plan {
            boot,
            values: machine.values.clone(),
            by: format!("{}: {rule}", self.name),
            ..Plan::default()
        };
        if machine.held {
            let wait = Wait {
                reason: Reason {
                    code: "policy.held",
                    text: "This machine is held until somebody lets it go on.".into(),
                },
                every: ASKS_AGAIN,
                request: None,
            };
            return Some(plan(Boot::Wait(wait), "held"));
        }
        if let Some(once) = &machine.once {
            let plan = plan(Boot::named(once), "once");
            return Some(Plan { once: true, ..plan });
        }
        let boot = machine.boot.as_ref()?;
        Some(plan(Boot::named(boot), "assigned"))
    }
}

impl Provider for Machines {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, query: &Query<'_>) -> Verdict {
        let Some(machine) = query.machine else {
            return pass("provider.unknown-machine", "the store does not know it");
        };
        match self.plan(machine) {
            Some(plan) => Verdict::Serve(Arc::new(plan)),
            None => pass("provider.nothing-assigned", "nothing is assigned to it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Facts, Identity};

    fn verdict(machine: Option<Machine>) -> Verdict {
        let machine = machine.map(Arc::new);
        let query = Query {
            facts: &Facts::default(),
            identity: &Identity::default(),
            machine: machine.as_ref(),
            standing: None,
            now: SystemTime::UNIX_EPOCH,
        };
        Machines::new("machines").decide(&query)
    }

    fn plan(machine: Machine) -> Plan {
        match verdict(Some(machine)) {
            Verdict::Serve(plan) => Plan::clone(&plan),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hold_goes_before_a_one_shot_and_that_before_the_assignment() {
        let mut machine = Machine {
            boot: Some("debian".to_owned()),
            once: Some("windows".to_owned()),
            held: true,
            ..Machine::default()
        };
        assert!(matches!(plan(machine.clone()).boot, Boot::Wait(_)));
        machine.held = false;
        let once = plan(machine.clone());
        assert_eq!(once.boot, Boot::Entry("windows".to_owned()));
        assert!(once.once);
        machine.once = None;
        let always = plan(machine.clone());
        assert_eq!(always.boot, Boot::Entry("debian".to_owned()));
        assert!(!always.once);
        machine.boot = None;
        let Verdict::Pass(reason) = verdict(Some(machine)) else {
            panic!();
        };
        assert_eq!(reason.code, "provider.nothing-assigned");
        let Verdict::Pass(reason) = verdict(None) else {
            panic!();
        };
        assert_eq!(reason.code, "provider.unknown-machine");
    }
}
