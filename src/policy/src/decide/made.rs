//! Files of an entry that are made for one machine.

use bootstorm_catalog::{Entry, EntryKind, Injected};
use bootstorm_telemetry::event::Reason;

use super::Policy;
use crate::decision::Decision;
use crate::winpe::{self, MadeFile, Origin};
use crate::{BootPlan, Facts, resolve};

impl Policy {
    /// The file `name` of the entry `id`, made for the machine that this was decided for.
    ///
    /// # Errors
    /// `boot.no-such-file` and `boot.not-its-file`, or why it cannot be made.
    pub fn make(
        &self,
        decision: &Decision,
        facts: &Facts,
        (id, name): (&str, &str),
        origin: &Origin<'_>,
    ) -> Result<MadeFile, Reason> {
        let catalog = self.catalog.snapshot();
        let entry = catalog.entries().iter().find(|entry| entry.id == id);
        let (entry, file) = entry
            .and_then(|entry| Some((entry, injected(entry, name)?)))
            .ok_or_else(|| no_such_file(id, name))?;
        self.query(facts, |rules, query| {
            let plan = self.planned(rules, &catalog, decision, query);
            // Whoever wrote a script names what it loads, but no secrets of entries.
            let is_named = matches!(plan, BootPlan::Script(_)) && !file.secret;
            if !is_named && !plan.leads_to(id) {
                return Err(not_its_file(id));
            }
            let known = resolve::known(query, &decision.outcome);
            winpe::make(file, entry, &catalog, &known, origin)
        })
    }

    /// Something that machines load is made of what is known of them.
    pub(super) fn makes_files(&self) -> bool {
        let catalog = self.catalog.snapshot();
        let mut entries = catalog.entries().iter();
        entries.any(|entry| entry.unbootable.is_none() && entry.kind.is_made_to_measure())
    }
}

/// The file of this name, where the server makes it.
fn injected<'a>(entry: &'a Entry, name: &str) -> Option<&'a Injected> {
    let EntryKind::Wim { inject, .. } = &entry.kind else {
        return None;
    };
    let mut made = inject.iter().filter(|file| file.is_made());
    made.find(|file| file.name.eq_ignore_ascii_case(name))
}

fn no_such_file(id: &str, name: &str) -> Reason {
    let (id, name) = (id.escape_debug(), name.escape_debug());
    Reason {
        code: "boot.no-such-file",
        text: format!("no file {name} is made for machines that boot {id}").into(),
    }
}

fn not_its_file(id: &str) -> Reason {
    Reason {
        code: "boot.not-its-file",
        text: format!("this machine does not boot {id}, so its files are not made for it").into(),
    }
}
