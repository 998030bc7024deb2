//! What machines boot by rule: the `[[rule]]` tables, and how a choice is written.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::lint::{Finding, entry_name_problem, nbp_problem, shortened};
use crate::load::read_or_note;
use crate::{Config, suggest};

/// One `[[rule]]`: what machines boot that an expression fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Name in traces and logs; without one the rule's number stands there.
    pub name: Option<String>,
    /// Expression over the facts; without one the rule fits every machine.
    pub when: Option<String>,
    /// Why such machines get no answer.
    pub ignore: Option<String>,
    /// What they boot otherwise.
    pub plan: PlanConfig,
}

impl Rule {
    /// Its name, or `rule[3]`.
    #[must_use]
    pub fn label(&self, index: usize) -> String {
        let number = || format!("rule[{index}]");
        self.name.clone().unwrap_or_else(number)
    }
}

/// What a machine boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanConfig {
    /// What iPXE is told; without one the usual menu.
    pub boot: Option<BootChoice>,
    /// Boot program for firmware instead of the usual one.
    pub nbp: Option<String>,
    /// Added to the kernel's command line.
    pub arguments: Option<String>,
    /// Named values for templates.
    pub values: BTreeMap<String, String>,
    /// Nobody is asked first.
    pub required: bool,
    /// What the screen says where the choice is to wait or to refuse.
    pub reason: Option<String>,
}

/// A choice as people and programs write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootChoice {
    /// `debian-13`: an entry by its id or the name of its file.
    Entry(String),
    /// `local`: the machine's own disk.
    Local,
    /// `menu`: the menu of everything.
    Menu,
    /// `menu:NAME`: a menu of the configuration.
    NamedMenu(String),
    /// `script:FILE`: a template.
    Script(String),
    /// `wait`: asks again after a while.
    Wait,
    /// `refuse`: shows the reason and goes on to the next boot device.
    Refuse,
}

impl FromStr for BootChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((kind, name)) = text.split_once(':') {
            let problem = match kind {
                "menu" => menu_name_problem(name),
                "script" => script_name_problem(name),
                _ => {
                    let meant = suggest::clause(suggest::nearest(kind, ["menu", "script"]));
                    let kind = shortened(kind);
                    Some(format!(
                        "`{kind}:` is neither `menu:NAME` nor `script:FILE`{meant}"
                    ))
                }
            };
            return match problem {
                Some(problem) => Err(problem),
                None if kind == "menu" => Ok(Self::NamedMenu(name.to_owned())),
                None => Ok(Self::Script(name.to_owned())),
            };
        }
        match text {
            "local" => Ok(Self::Local),
            "menu" => Ok(Self::Menu),
            "wait" => Ok(Self::Wait),
            "refuse" => Ok(Self::Refuse),
            name => match entry_name_problem(name) {
                Some(problem) => Err(problem),
                None => Ok(Self::Entry(name.to_owned())),
            },
        }
    }
}

impl fmt::Display for BootChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(name) => f.write_str(name),
            Self::Local => f.write_str("local"),
            Self::Menu => f.write_str("menu"),
            Self::NamedMenu(name) => write!(f, "menu:{name}"),
            Self::Script(file) => write!(f, "script:{file}"),
            Self::Wait => f.write_str("wait"),
            Self::Refuse => f.write_str("refuse"),
        }
    }
}

/// Why `name` cannot name a menu, a provider or the like, if it cannot.
pub(crate) fn menu_name_problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = (1..=64).contains(&name.len()) && name.chars().all(allowed);
    (!is_name).then(|| {
        let name = shortened(name);
        format!("`{name}` is no name: letters, digits, `.`, `_` and `-`, at most 64 of them")
    })
}

fn script_name_problem(name: &str) -> Option<String> {
    let outside = name.is_empty()
        || name.len() > 255
        || name.starts_with('/')
        || name.contains(['\\', '\0'])
        || name.split('/').any(|part| matches!(part, "" | "." | ".."))
        || name.chars().any(char::is_control);
    outside.then(|| format!("`{}` is no file below boot.templates", shortened(name)))
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    name: Option<String>,
    when: Option<String>,
    ignore: Option<String>,
    boot: Option<String>,
    nbp: Option<String>,
    arguments: Option<String>,
    values: BTreeMap<String, String>,
    required: Option<bool>,
    reason: Option<String>,
}

pub(crate) fn take(index: usize, written: Written, findings: &mut Vec<Finding>) -> Rule {
    let key = || format!("rule[{index}].boot");
    let boot = read_or_note(written.boot.as_deref(), key, findings);
    Rule {
        name: written.name,
        when: written.when,
        ignore: written.ignore,
        plan: PlanConfig {
            boot,
            nbp: written.nbp,
            arguments: written.arguments,
            values: written.values,
            required: written.required.unwrap_or_default(),
            reason: written.reason,
        },
    }
}

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    for (index, rule) in config.rules.iter().enumerate() {
        let table = format!("rule[{index}]");
        let plan = &rule.plan;
        if let Some(name) = &rule.name {
            let earlier = &config.rules[..index];
            if let Some(problem) = menu_name_problem(name) {
                findings.push(Finding::bad_value(format!("{table}.name"), problem));
            } else if let Some(first) = earlier.iter().position(|r| r.name == rule.name) {
                let text = format!("`{name}` is also the name of rule[{first}]");
                findings.push(Finding::error(
                    "config.duplicate",
                    format!("{table}.name"),
                    text,
                ));
            }
        }
        if rule.ignore.is_some() && *plan != PlanConfig::default() {
            let text = "a machine that gets no answer boots nothing: `ignore` stands alone";
            findings.push(Finding::bad_value(format!("{table}.ignore"), text));
        }
        if let Some(problem) = plan.nbp.as_deref().and_then(nbp_problem) {
            let nbp = shortened(plan.nbp.as_deref().unwrap_or_default());
            let text = format!("`{nbp}` {problem}");
            findings.push(Finding::bad_value(format!("{table}.nbp"), text));
        }
        let waits = matches!(plan.boot, Some(BootChoice::Wait | BootChoice::Refuse));
        if plan.reason.is_some() && !waits {
            let text = "a reason is shown only where `boot` is \"wait\" or \"refuse\"";
            let key = format!("{table}.reason");
            findings.push(Finding::warning("config.no-effect", key, text));
        }
        lint_choice(
            config,
            &format!("{table}.boot"),
            plan.boot.as_ref(),
            findings,
        );
        if let Some(first) = config.rules[..index].iter().position(|r| r.when.is_none()) {
            let text = format!("rule[{first}] fits every machine and goes before");
            findings.push(Finding::warning("config.no-effect", table, text));
        }
    }
}

/// A choice can name a menu that is not there.
pub(crate) fn lint_choice(
    config: &Config,
    key: &str,
    choice: Option<&BootChoice>,
    findings: &mut Vec<Finding>,
) {
    match choice {
        Some(BootChoice::NamedMenu(name)) if config.menus.iter().all(|m| m.name != *name) => {
            let names = config.menus.iter().map(|menu| menu.name.as_str());
            let meant = suggest::clause(suggest::nearest(name, names));
            let text = format!("there is no [[menu]] of the name `{name}`{meant}");
            findings.push(Finding::error("config.unknown-menu", key, text));
        }
        Some(BootChoice::Script(file)) if config.boot.templates.is_none() => {
            let text = format!("`{file}` is a template, but boot.templates names no folder");
            findings.push(Finding::error("config.no-templates", key, text));
        }
        _ => {}
    }
}
