//! From a decision to what the machine's script will do.

use std::borrow::Cow;
use std::sync::Arc;

use bootstorm_catalog::{Entry, EntryKind, Snapshot};
use bootstorm_config::BootChoice;
use bootstorm_proto::types::{ClientArch, Family};
use bootstorm_telemetry::event::Reason;

use crate::decision::{Boot, Outcome, Plan, Wait};
use crate::providers::Query;
use crate::trail::Trail;
use crate::{BootPlan, Choice, Menu, Rules, windows, winpe};

/// What is called local disk as the default of the menu, and the menu itself.
const NO_ENTRIES: [&str; 2] = ["local", "menu"];

/// What the script does that a decision leads to.
pub(crate) fn plan(
    rules: &Rules,
    catalog: &Snapshot,
    outcome: &Outcome,
    query: &Query<'_>,
) -> BootPlan {
    let facts = query.facts;
    let known = || unfilled(query);
    let plan = match outcome {
        Outcome::Serve(plan) => plan,
        Outcome::Silent(reason) => return BootPlan::Refuse(reason.clone()),
    };
    let family = facts
        .family
        .or_else(|| facts.arch().and_then(ClientArch::family));
    // Nothing may be installed that was not asked for: the default is left out too.
    let menu_instead = |notice| {
        BootPlan::Menu(Menu {
            default: None,
            ..menu(rules, catalog, family, Some(notice))
        })
    };
    match &plan.boot {
        Boot::Usual => BootPlan::Menu(menu(rules, catalog, family, None)),
        Boot::Local => BootPlan::Local,
        Boot::Wait(wait) => BootPlan::Wait(wait.clone()),
        Boot::Admission(terms) => BootPlan::Wait(Wait {
            reason: Reason {
                code: "approval.asking",
                text: "This machine asks to be let in.".into(),
            },
            every: terms.every,
            request: None,
        }),
        Boot::Refuse(reason) => BootPlan::Refuse(reason.clone()),
        Boot::Refer(referral) => match Trail::of(facts).onward(&referral.url) {
            Ok(_) => BootPlan::Refer(referral.clone()),
            Err(reason) => BootPlan::Refuse(reason),
        },
        Boot::Menu(name) if rules.menus.has(name) => {
            rules
                .menus
                .plan(name, facts, query.identity, &known, &|choice, arguments| {
                    item(rules, catalog, family, choice, arguments, &|| {
                        filled(known(), plan)
                    })
                })
        }
        Boot::Menu(name) if name == "menu" => BootPlan::Menu(menu(rules, catalog, family, None)),
        Boot::Menu(name) => menu_instead(unknown("policy.unknown-menu", "menu", name)),
        Boot::Script(name) => match rules.templates.call(name, filled(known(), plan)) {
            Some(Ok(call)) => BootPlan::Script(call),
            Some(Err(reason)) => BootPlan::Refuse(reason),
            None => menu_instead(unknown("policy.unknown-script", "script", name)),
        },
        Boot::Entry(name) => match bootable(catalog, name, family) {
            Ok(entry) => {
                let choice = choice(rules, catalog, entry, family);
                let choice = choice.with_arguments(plan.arguments.as_deref());
                let filled = || filled(known(), plan);
                fitted(catalog, choice, &filled).unwrap_or_else(BootPlan::Refuse)
            }
            Err(notice) => menu_instead(notice),
        },
    }
}

/// What a line of a menu boots; `None` for what this machine cannot.
fn item(
    rules: &Rules,
    catalog: &Snapshot,
    family: Option<Family>,
    boots: &BootChoice,
    arguments: Option<&str>,
    known: &dyn Fn() -> serde_json::Value,
) -> Option<Result<BootPlan, Reason>> {
    match boots {
        BootChoice::Local => Some(Ok(BootPlan::Local)),
        BootChoice::Menu => Some(Ok(BootPlan::Menu(menu(rules, catalog, family, None)))),
        BootChoice::Entry(name) => match bootable(catalog, name, family) {
            Ok(entry) => {
                let choice = choice(rules, catalog, entry, family).with_arguments(arguments);
                Some(fitted(catalog, choice, known))
            }
            Err(reason) if reason.code == "policy.wrong-family" => None,
            Err(reason) => Some(Err(reason)),
        },
        BootChoice::Script(name) => {
            let call = rules.templates.call(name, known());
            let missing = || Err(unknown("policy.unknown-script", "script", name));
            Some(call.unwrap_or_else(missing).map(BootPlan::Script))
        }
        BootChoice::NamedMenu(_) | BootChoice::Wait | BootChoice::Refuse => None,
    }
}

/// The entry, or why its files cannot be made for the machine.
fn fitted(
    catalog: &Snapshot,
    choice: Choice,
    known: &dyn Fn() -> serde_json::Value,
) -> Result<BootPlan, Reason> {
    if winpe::has_templates(&choice.entry) {
        winpe::check(&choice.entry, catalog, &known())?;
    }
    Ok(BootPlan::Entry(Box::new(choice)))
}

/// What is known of a machine, with what its plan gives it.
pub(crate) fn known(query: &Query<'_>, outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Serve(plan) => filled(unfilled(query), plan),
        Outcome::Silent(_) => filled(unfilled(query), &Plan::default()),
    }
}

fn unfilled(query: &Query<'_>) -> serde_json::Value {
    let machine = query.machine.map(Arc::as_ref);
    query.facts.to_json(query.identity, machine)
}

/// What templates are filled in with: the machine's own values go behind those of its plan.
fn filled(mut known: serde_json::Value, plan: &Plan) -> serde_json::Value {
    let mut values = known["machine"]["values"].take();
    if values.is_null() {
        values = serde_json::json!({});
    }
    for (name, value) in &plan.values {
        values[name] = value.as_str().into();
    }
    known["machine"]["values"].clone_from(&values);
    known["values"] = values;
    known["arguments"] = plan.arguments.as_deref().into();
    known
}

/// The EFI program that an entry stands for.
pub(crate) fn program_of(catalog: &Snapshot, name: &str, family: Family) -> Option<String> {
    match &bootable(catalog, name, Some(family)).ok()?.kind {
        EntryKind::Efi { program, .. } => Some(program.clone()),
        EntryKind::Linux { .. } | EntryKind::Wim { .. } | EntryKind::Iso { .. } => None,
    }
}

/// The entry of that name, or why the machine cannot boot it.
pub(crate) fn bootable<'a>(
    catalog: &'a Snapshot,
    name: &str,
    family: Option<Family>,
) -> Result<&'a Entry, Reason> {
    let Some(entry) = catalog.entry(name) else {
        return Err(unknown("policy.unknown-entry", "entry", name));
    };
    if let Some(reason) = &entry.unbootable {
        return Err(reason.clone());
    }
    match family {
        Some(family) if !entry.boots(family) => Err(Reason {
            code: "policy.wrong-family",
            text: Cow::from(format!("`{}` does not boot on {family}", entry.id)),
        }),
        _ => Ok(entry),
    }
}

fn unknown(code: &'static str, kind: &str, name: &str) -> Reason {
    let text = format!("there is no {kind} `{}`", name.escape_debug());
    Reason {
        code,
        text: text.into(),
    }
}

fn menu(rules: &Rules, catalog: &Snapshot, family: Option<Family>, notice: Option<Reason>) -> Menu {
    let offered = |entry: &&Entry| {
        !entry.hidden
            && entry.unbootable.is_none()
            && family.is_none_or(|family| entry.boots(family))
    };
    let mut choices: Vec<Choice> = catalog
        .entries()
        .iter()
        .filter(offered)
        .map(|entry| choice(rules, catalog, entry, family))
        .collect();
    let default = rules.default.as_deref().filter(|d| !NO_ENTRIES.contains(d));
    let default = default.map(|name| bootable(catalog, name, family));
    let (default, missing) = match default {
        None => (None, None),
        Some(Ok(entry)) => {
            if !choices.iter().any(|c| c.entry.id == entry.id) {
                choices.push(choice(rules, catalog, entry, family));
            }
            (Some(entry.id.clone()), None)
        }
        Some(Err(reason)) => (None, Some(reason)),
    };
    Menu {
        choices,
        default,
        timeout: rules.menu_timeout,
        notice: notice.or(missing),
    }
}

fn choice(rules: &Rules, catalog: &Snapshot, entry: &Entry, family: Option<Family>) -> Choice {
    let is_iso = matches!(entry.kind, EntryKind::Iso { .. });
    let wants_memdisk = is_iso && family.is_none_or(|f| f == Family::Bios);
    let memdisk = || Some(catalog.tftp_file("memdisk").ok()?.path.to_string());
    let family = family.or_else(|| entry.families.first().copied());
    let signing = rules.windows.signing;
    let manager = family.and_then(|family| windows::program(catalog, entry, family, signing));
    let mut entry = entry.clone();
    if let EntryKind::Linux { initrds, .. } = &mut entry.kind {
        // iPXE of 2019 hangs on a BIOS when it is to start a kernel with an empty initrd.
        initrds.retain(|path| catalog.file(path).map_or(true, |file| !file.is_empty()));
    }
    Choice {
        entry,
        memdisk: wants_memdisk.then(memdisk).flatten(),
        peers: None,
        manager: manager.map(|file| file.path.to_string()),
    }
}
