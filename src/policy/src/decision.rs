//! What providers say of a machine, and the record of how a decision came about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_telemetry::event::Reason;

use crate::windows::Variables;

mod json;

pub use json::{ANSWER_MAX, BadAnswer};

/// What one provider says of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It boots this; nobody else is asked.
    Serve(Arc<Plan>),
    /// It gets no answer; nobody else is asked.
    Ignore(Reason),
    /// It is none of this provider's; the next one is asked.
    Pass(Reason),
}

impl Verdict {
    /// `serve`, `ignore` or `pass`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Ignore(_) => "ignore",
            Self::Pass(_) => "pass",
        }
    }
}

/// What a machine is to boot, in the words of whoever decided it: names that the catalog resolves
/// when the machine comes for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What iPXE is told.
    pub boot: Boot,
    /// Network boot program for firmware, instead of the usual one of its family.
    pub nbp: Option<String>,
    /// Added to the kernel's command line.
    pub arguments: Option<String>,
    /// Named values of this machine, for templates and injected files.
    pub values: BTreeMap<String, String>,
    /// Its variables for Configuration Manager, which its boot manager is told of.
    pub variables: Option<Variables>,
    /// Nobody is asked before it boots.
    pub required: bool,
    /// It is the machine's one-shot of the store: whoever hands it out takes it there first.
    pub once: bool,
    /// Who decided it and by which rule, such as `rooms[3]`.
    pub by: String,
}

/// What iPXE is told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// The menu of everything that the machine can boot, with the configured default.
    #[default]
    Usual,
    /// A menu of the configuration, by name; `menu` is the menu of everything that the machine can
    /// boot, unless the configuration has one of that name.
    Menu(String),
    /// An entry of the catalog, by id or file name, at once.
    Entry(String),
    /// A template of the templates folder, by file name.
    Script(String),
    /// The next boot device, without a word.
    Local,
    /// Wait and ask again.
    Wait(Wait),
    /// Wait until people let it in, who were not asked yet: whoever hands out its script asks them.
    Admission(Terms),
    /// Another boot server.
    Refer(Referral),
    /// Show the reason, wait, and go on to the next boot device.
    Refuse(Reason),
}

impl Boot {
    /// As the configuration, the store and programs spell it; what [`Self::named`] reads, it gives
    /// back.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Usual => "menu".into(),
            Self::Menu(name) if name == "menu" => name.into(),
            Self::Menu(name) => format!("menu:{name}").into(),
            Self::Entry(name) => name.into(),
            Self::Script(file) => format!("script:{file}").into(),
            Self::Local => "local".into(),
            Self::Wait(_) => "wait".into(),
            Self::Admission(_) => "admission".into(),
            Self::Refer(_) => "refer".into(),
            Self::Refuse(_) => "refuse".into(),
        }
    }

    /// What people and programs write: `local`, `menu`, `menu:NAME`, `script:FILE`, or an entry.
    #[must_use]
    pub fn named(text: &str) -> Self {
        match text.split_once(':') {
            Some(("menu", name)) => Self::Menu(name.to_owned()),
            Some(("script", name)) => Self::Script(name.to_owned()),
            _ if text == "local" => Self::Local,
            // The menu of everything is what a menu of that name would replace. Unlike `Usual` it
            // keeps UEFI HTTP Boot from loading the default without a question.
            _ if text == "menu" => Self::Menu(text.to_owned()),
            _ => Self::Entry(text.to_owned()),
        }
    }
}

/// A machine that waits for people or for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What its screen says.
    pub reason: Reason,
    /// When it asks again.
    pub every: Duration,
    /// What people call the request, such as `7F3K`; the screen shows it.
    pub request: Option<String>,
}

/// How a machine waits that asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When it asks again.
    pub every: Duration,
    /// How long its request waits for an answer.
    pub expire: Duration,
}

/// Another boot server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// Its boot URL; the machine's own data are added as a form.
    pub url: String,
    /// TFTP server and boot program for firmware, where the other server's are to be loaded.
    pub tftp: Option<(std::net::Ipv4Addr, String)>,
}

/// What the whole chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// The outcome.
    pub outcome: Outcome,
    /// Who was asked, in order, and what each said.
    pub steps: Vec<Step>,
    /// Until when the answers of remote providers hold that it rests on.
    pub until: Option<SystemTime>,
    /// The machine is known: by people, or because it has booted here.
    pub known: bool,
}

impl Decision {
    /// The machine gets no answer, and nobody was asked.
    pub(crate) const fn silent(reason: Reason, known: bool) -> Self {
        Self {
            outcome: Outcome::Silent(reason),
            steps: Vec::new(),
            until: None,
            known,
        }
    }
}

/// How a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine is served.
    Serve(Arc<Plan>),
    /// It is not: some provider ignored it, or all passed.
    Silent(Reason),
}

/// One provider's part in a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The provider's name.
    pub provider: Arc<str>,
    /// What it said.
    pub verdict: Verdict,
    /// How long it took; zero for those that answer from memory.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_is_called_is_read_as_that_boot() {
        for name in ["local", "menu", "menu:lab", "script:a.ipxe", "debian"] {
            assert_eq!(Boot::named(name).name(), name);
        }
        assert_eq!(Boot::Usual.name(), "menu");
    }
}
