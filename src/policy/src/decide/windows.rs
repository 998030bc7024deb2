//! What boot managers of Windows are given.

use std::sync::Arc;

use bootstorm_catalog::File;
use bootstorm_catalog::bcd::Firmware;
use bootstorm_proto::dhcp::{ClientFacts, WindowsFiles};
use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use super::Policy;
use crate::decision::{Decision, Outcome};
use crate::windows::{BootImages, SealedKind, Variables, WindowsFile};
use crate::{BootPlan, Facts, Identity, Rules, Tokens, windows};

/// What a boot manager gets.
#[derive(Clone, Debug)]
pub enum WindowsContent {
    /// A file that is there.
    File(Arc<File>),
    /// Bytes that were made for the machine.
    Made(Vec<u8>),
}

impl Policy {
    /// The same, which tells boot managers of Windows names that are sealed for each machine.
    #[must_use]
    pub fn sealing(self, tokens: Tokens) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }

    /// A file for the boot manager of a machine that this plan is of. What it has `loaded` since it
    /// got a menu tells which image somebody has chosen there.
    ///
    /// # Errors
    /// The machine boots no Windows PE, or the file is not there or cannot be made.
    pub fn windows_file<'p>(
        &self,
        file: &WindowsFile,
        plan: &BootPlan,
        facts: &Facts,
        loaded: impl Iterator<Item = &'p str>,
    ) -> Result<WindowsContent, Reason> {
        let rules = self.rules.load();
        let catalog = self.catalog.snapshot();
        let images = BootImages::of(plan)?.chosen_by(loaded);
        let firmware = match facts.family {
            Some(Family::Bios) => Firmware::Bios,
            _ => Firmware::Uefi,
        };
        let found = match file {
            WindowsFile::Store | WindowsFile::Sealed(_) => {
                let store = images.store(&catalog, firmware, &rules.windows);
                return store.map(WindowsContent::Made);
            }
            WindowsFile::BootManager => {
                images.boot_manager(&catalog, firmware, rules.windows.signing)
            }
            WindowsFile::OfImage(name) => images.file(&catalog, name, rules.windows.signing),
            WindowsFile::Image => images.image(&catalog),
        };
        found.map(WindowsContent::File)
    }

    /// The variables of a machine that this was decided for.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub fn variables(&self, decision: &Decision, facts: &Facts) -> Result<Variables, Reason> {
        let rules = self.rules.load();
        if let Outcome::Serve(plan) = &decision.outcome
            && let Some(variables) = &plan.variables
        {
            return Ok(variables.clone());
        }
        let folder = rules.variables.as_ref();
        let identity = rules.identity.identify(facts, &self.duplicates);
        let read = folder.map(|folder| folder.read(&identity));
        match read {
            Some(Ok(Some(variables))) => Ok(variables),
            Some(Err(error)) => Err(Reason {
                code: "windows.bad-variables",
                text: format!("the variables of this machine cannot be read: {error}").into(),
            }),
            _ => Err(not_found("variables")),
        }
    }

    /// Where the boot manager of a client that is told to load `program` finds what is made for it.
    pub(super) fn files_of(
        &self,
        rules: &Rules,
        client: &ClientFacts,
        identity: &Identity,
        decision: &Decision,
        program: &str,
        now: std::time::SystemTime,
    ) -> Option<Arc<WindowsFiles>> {
        let tokens = self.tokens.as_ref()?;
        if !windows::is_boot_program(program) {
            return None;
        }
        let machine = Identity {
            mac: client.hardware.mac(),
            guid: client.guid,
            ..Identity::default()
        };
        let in_plan = matches!(&decision.outcome, Outcome::Serve(p) if p.variables.is_some());
        let in_folder = || rules.variables.as_ref().is_some_and(|it| it.has(identity));
        let name = |kind| tokens.name(kind, &machine, now).to_string();
        Some(Arc::new(WindowsFiles {
            store: name(SealedKind::Store),
            variables: (in_plan || in_folder()).then(|| name(SealedKind::Variables)),
        }))
    }
}

fn not_found(what: &str) -> Reason {
    Reason {
        code: "tftp.not-found",
        text: format!("this machine has no {what}").into(),
    }
}
