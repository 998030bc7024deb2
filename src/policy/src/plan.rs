//! What a machine's script will do.

use std::time::Duration;

use bootstorm_catalog::{Entry, EntryKind};
use bootstorm_config::{MenuColours, Peers, Prompt, PromptPolicy};
use bootstorm_proto::ipxe::Key;
use bootstorm_telemetry::event::Reason;

use crate::Call;
use crate::decision::{Referral, Wait};

/// What a machine's script will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootPlan {
    /// Let the person at the machine choose.
    Menu(Menu),
    /// Let the person choose from menus of the configuration.
    Pages(Pages),
    /// Boot this at once.
    Entry(Box<Choice>),
    /// Run what a template says.
    Script(Call),
    /// Go on to the next boot device without a word.
    Local,
    /// Wait and ask again.
    Wait(Wait),
    /// Ask another boot server.
    Refer(Referral),
    /// Ask people first.
    Ask(Question, Box<BootPlan>),
    /// Show the reason, wait, and go on to the next boot device.
    Refuse(Reason),
}

/// What people at the machine are asked before it boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// A key is needed to boot; else a key keeps it from booting.
    pub opt_in: bool,
    /// Which key; `None` is any.
    pub key: Option<Key>,
    /// What the screen says, instead of the usual words.
    pub text: Option<String>,
    /// How long it waits.
    pub timeout: Duration,
}

/// A menu. The local disk is always its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// What can be chosen besides the local disk.
    pub choices: Vec<Choice>,
    /// Id of the entry that is taken after the time-out; `None` is the local disk.
    pub default: Option<String>,
    /// How long it waits; zero is for ever.
    pub timeout: Duration,
    /// Something that the person should know.
    pub notice: Option<Reason>,
}

/// Menus of the configuration that lead to one another; the first is shown first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The menus; there is at least one.
    pub pages: Vec<Page>,
    /// Something that the person should know.
    pub notice: Option<Reason>,
    /// A password has opened them; it goes along with what is chosen.
    pub unlocked: bool,
}

impl Pages {
    /// Something boots without anybody there.
    #[must_use]
    pub fn boot_unattended(&self) -> bool {
        let first = self.pages.first();
        first.is_some_and(|page| page.default.is_some() && !page.timeout.is_zero())
    }
}

/// A menu of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its name.
    pub name: String,
    /// What stands above it, instead of what is known of the machine.
    pub title: Option<String>,
    /// How long it waits; zero is for ever.
    pub timeout: Duration,
    /// Which of `items` is taken then; `None` is the next boot device.
    pub default: Option<usize>,
    /// Path of a picture behind it, below the images folder.
    pub picture: Option<String>,
    /// Its colours, where they are not iPXE's own.
    pub colours: Option<MenuColours>,
    /// Its lines.
    pub items: Vec<Item>,
}

/// A line of such a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in the configuration.
    pub number: usize,
    /// What it says.
    pub text: String,
    /// A key that takes it.
    pub key: Option<char>,
    /// What it does.
    pub does: Does,
}

/// What a line of a menu does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// It cannot be chosen.
    Nothing,
    /// Boots this.
    Boot(Box<BootPlan>),
    /// Shows another of the menus.
    Show(usize),
    /// Asks for the password of a menu, and this server for the menu.
    Unlock(String),
    /// Asks this server for its script.
    Ask,
    /// Starts the machine anew.
    Reboot,
    /// Switches it off.
    PowerOff,
    /// Opens iPXE's command line.
    Shell,
}

/// An entry and what else its script needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The entry.
    pub entry: Entry,
    /// Path of memdisk, which boots ISO images on a BIOS where a virtual drive will not do.
    pub memdisk: Option<String>,
    /// Whether iPXE loads from other machines what they have; nothing to leave that to it.
    pub peers: Option<Peers>,
    /// Path of the boot manager of Windows, where that loads the image.
    pub manager: Option<String>,
}

impl Choice {
    /// The same with more behind the command line of its kernel or program.
    pub(crate) fn with_arguments(mut self, arguments: Option<&str>) -> Self {
        let line = match &mut self.entry.kind {
            EntryKind::Linux { cmdline, .. } => cmdline,
            EntryKind::Wim { args, .. } | EntryKind::Efi { args, .. } => args,
            EntryKind::Iso { .. } => return self,
        };
        if let Some(arguments) = arguments {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(arguments);
        }
        self
    }
}

impl BootPlan {
    /// The same after the question that the configuration wants asked before it. Nobody is asked
    /// before a machine goes on to its own disk, waits, or is refused.
    #[must_use]
    pub(crate) fn asked_first(self, prompt: &PromptPolicy, known: bool, required: bool) -> Self {
        let opt_in = match prompt.of(known, required) {
            Prompt::OptIn => true,
            Prompt::OptOut => false,
            Prompt::None => return self,
        };
        if !matches!(
            self,
            Self::Menu(_) | Self::Pages(_) | Self::Entry(_) | Self::Script(_)
        ) {
            return self;
        }
        let question = Question {
            opt_in,
            key: prompt.key,
            text: prompt.text.clone(),
            timeout: prompt.timeout,
        };
        Self::Ask(question, Box::new(self))
    }

    /// Whatever entry it boots, machines load it from each other or do not.
    pub(crate) fn share(&mut self, peers: &Peers) {
        match self {
            Self::Entry(choice) => choice.peers = Some(peers.clone()),
            Self::Menu(menu) => {
                for choice in &mut menu.choices {
                    choice.peers = Some(peers.clone());
                }
            }
            Self::Pages(pages) => {
                for item in pages.pages.iter_mut().flat_map(|page| &mut page.items) {
                    if let Does::Boot(plan) = &mut item.does {
                        plan.share(peers);
                    }
                }
            }
            Self::Ask(_, plan) => plan.share(peers),
            Self::Script(_) | Self::Local | Self::Wait(_) | Self::Refer(_) | Self::Refuse(_) => {}
        }
    }

    /// The machine boots this entry, or a person at it may choose it.
    #[must_use]
    pub(crate) fn leads_to(&self, id: &str) -> bool {
        match self {
            Self::Entry(choice) => choice.entry.id == id,
            Self::Menu(menu) => menu.choices.iter().any(|choice| choice.entry.id == id),
            Self::Pages(pages) => {
                let mut items = pages.pages.iter().flat_map(|page| &page.items);
                items.any(|item| matches!(&item.does, Does::Boot(plan) if plan.leads_to(id)))
            }
            Self::Ask(_, plan) => plan.leads_to(id),
            Self::Script(_) | Self::Local | Self::Wait(_) | Self::Refer(_) | Self::Refuse(_) => {
                false
            }
        }
    }

    /// Short name for events and logs: an entry's id, a template's name, `menu`, `local`, `wait`,
    /// `referral` or `refuse`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Menu(_) | Self::Pages(_) => "menu",
            Self::Entry(choice) => &choice.entry.id,
            Self::Script(call) => call.name(),
            Self::Local => "local",
            Self::Wait(_) => "wait",
            Self::Refer(_) => "referral",
            Self::Ask(_, plan) => plan.name(),
            Self::Refuse(_) => "refuse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wds_07_each_class_of_machines_has_its_prompt() {
        let prompt = PromptPolicy {
            known: Prompt::OptOut,
            new: Prompt::OptIn,
            timeout: Duration::from_secs(3),
            ..PromptPolicy::default()
        };
        let menu = BootPlan::Menu(Menu {
            choices: Vec::new(),
            default: None,
            timeout: Duration::ZERO,
            notice: None,
        });
        let opt_in = |known, required| match menu.clone().asked_first(&prompt, known, required) {
            BootPlan::Ask(question, plan) => {
                assert_eq!(*plan, menu);
                assert_eq!(question.timeout, Duration::from_secs(3));
                Some(question.opt_in)
            }
            plan => {
                assert_eq!(plan, menu);
                None
            }
        };
        assert_eq!(opt_in(true, false), Some(false));
        assert_eq!(opt_in(false, false), Some(true));
        assert_eq!(opt_in(true, true), None);
        assert_eq!(opt_in(false, true), None);
        let local = BootPlan::Local.asked_first(&prompt, false, false);
        assert_eq!(local, BootPlan::Local);
    }
}
