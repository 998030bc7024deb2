//! What the configuration says of single machines.

use std::sync::Arc;

use super::{Provider, Query, pass};
use crate::MachineTable;
use crate::decision::{Boot, Plan, Verdict};

/// Serves what the `[[machine]]` tables of the configuration assign.
#[derive(Debug)]
pub struct Fixed {
    name: Arc<str>,
    machines: Arc<MachineTable>,
}

impl Fixed {
    /// A provider of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, machines: Arc<MachineTable>) -> Self {
        Self {
            name: name.into(),
            machines,
        }
    }
}

impl Provider for Fixed {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, query: &Query<'_>) -> Verdict {
        let machine = self.machines.find(query.identity);
        match machine.and_then(|machine| machine.boot.clone()) {
            Some(boot) => Verdict::Serve(Arc::new(Plan {
                boot: Boot::named(&boot),
                by: format!("{}: machine", self.name),
                ..Plan::default()
            })),
            None => pass(
                "provider.nothing-assigned",
                "the configuration assigns it nothing",
            ),
        }
    }
}
