//! The form in which explanations are documented: docs/reference/decisions.md.

use bootstorm_config::{AnswerTo, RequestFrom};
use bootstorm_proto::dhcp::{Answer, WdsAction};
use bootstorm_telemetry::event::Reason;
use serde_json::{Value, json};

use super::{Explanation, Part, Reply, does};
use crate::decision::{Outcome, Step, Verdict};
use crate::{BootPlan, Identity};

/// Entries of a menu that are named; it says how many there are.
const NAMED_MAX: usize = 32;

impl Explanation {
    /// As docs/reference/decisions.md lists it, but for the time.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let facts = self.facts.to_json(&self.identity, self.machine.as_deref());
        json!({
            "facts": facts,
            "identity": identity(&self.identity),
            "policy": self.policy(),
            "providers": self.parts.iter().map(part).collect::<Vec<_>>(),
            "outcome": self.outcome.as_ref().map(outcome),
            "reply": match &self.reply {
                Reply::Dhcp(answer) => answered(answer),
                Reply::Script(plan) => plan.clone(),
            },
        })
    }

    fn policy(&self) -> Value {
        let place = self.place.by.zip(self.from.as_ref());
        json!({
            "answer": match self.place.answer {
                AnswerTo::All => "all",
                AnswerTo::Known => "known",
                AnswerTo::None => "none",
            },
            "delay": self.place.delay,
            "where": place.map(|(index, from)| {
                let (kind, value) = match from {
                    RequestFrom::Interface(name) => ("interface", name.clone()),
                    RequestFrom::Relay(address) => ("relay", address.to_string()),
                    RequestFrom::Subnet(subnet) => ("subnet", subnet.to_string()),
                };
                json!({ "index": index, kind: value })
            }),
        })
    }
}

fn identity(identity: &Identity) -> Value {
    let by = match (identity.guid, identity.mac) {
        (Some(_), _) => Some("guid"),
        (None, Some(_)) => Some("mac"),
        (None, None) => None,
    };
    let stripped: Vec<Value> = identity.stripped.iter().map(reason).collect();
    json!({ "by": by, "stripped": stripped })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Said(step) => said(step),
        Part::Unanswered(name) => json!({ "provider": **name, "answer": "unanswered" }),
        Part::NotReached(name) => json!({ "provider": **name, "answer": "not-reached" }),
    }
}

fn said(step: &Step) -> Value {
    let mut said = match &step.verdict {
        Verdict::Serve(plan) => json!({ "boot": plan.boot.name(), "by": plan.by }),
        Verdict::Ignore(why) | Verdict::Pass(why) => reason(why),
    };
    said["provider"] = (*step.provider).into();
    said["answer"] = step.verdict.name().into();
    said["took_ms"] = u64::try_from(step.took.as_millis())
        .unwrap_or(u64::MAX)
        .into();
    said
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Serve(plan) => json!({
            "answer": "serve",
            "boot": plan.boot.name(),
            "nbp": plan.nbp,
            "by": plan.by,
            "required": plan.required,
            "once": plan.once,
        }),
        Outcome::Silent(why) => {
            let mut silent = reason(why);
            silent["answer"] = "ignore".into();
            silent
        }
    }
}

fn answered(answer: &Answer) -> Value {
    let mut json = match answer {
        Answer::Boot {
            file,
            server,
            delay,
            // Who knows the names can ask for the files.
            windows: _,
        } => json!({
            "boots": **file,
            "server": server.map(|server| server.to_string()),
            "delay": delay,
        }),
        Answer::Wds(WdsAction::Wait { every, message, .. }) => {
            json!({ "text": message, "retry": every.as_secs() })
        }
        Answer::Wds(WdsAction::Refer(server)) => json!({ "server": server.to_string() }),
        Answer::Wds(WdsAction::Abort { message }) => json!({ "text": message }),
        Answer::Later => json!({}),
        Answer::Silent { code, text } => json!({ "code": code, "text": **text }),
    };
    json["does"] = does(answer).into();
    json
}

/// What a script does.
pub(crate) fn script(plan: &BootPlan) -> Value {
    match plan {
        BootPlan::Menu(menu) => {
            let named = menu.choices.iter().take(NAMED_MAX);
            let entries: Vec<&str> = named.map(|choice| choice.entry.id.as_str()).collect();
            let mut json = json!({
                "does": "menu",
                "entries": entries,
                "of": menu.choices.len(),
                "default": menu.default.as_deref().unwrap_or("local"),
                "timeout": menu.timeout.as_secs(),
            });
            if let Some(notice) = &menu.notice {
                because(&mut json, notice);
            }
            json
        }
        BootPlan::Pages(pages) => {
            let first = pages.pages.first();
            let mut json = json!({
                "does": "menu",
                "menu": first.map(|page| page.name.as_str()),
                "of": first.map(|page| page.items.len()),
                "timeout": first.map(|page| page.timeout.as_secs()),
            });
            if let Some(notice) = &pages.notice {
                because(&mut json, notice);
            }
            json
        }
        BootPlan::Entry(choice) => json!({
            "does": "boot",
            "boots": choice.entry.id,
            "title": choice.entry.title,
            "file": choice.entry.kind.main_file(),
        }),
        BootPlan::Script(call) => json!({ "does": "script", "boots": call.name() }),
        BootPlan::Local => json!({ "does": "local" }),
        BootPlan::Wait(wait) => {
            let mut json = json!({
                "does": "wait",
                "retry": wait.every.as_secs(),
                "request": wait.request,
            });
            because(&mut json, &wait.reason);
            json
        }
        BootPlan::Refer(referral) => json!({ "does": "referral", "url": referral.url }),
        BootPlan::Ask(question, plan) => {
            let mut json = script(plan);
            json["asks"] = if question.opt_in { "opt-in" } else { "opt-out" }.into();
            json
        }
        BootPlan::Refuse(why) => {
            let mut json = json!({ "does": "refuse" });
            because(&mut json, why);
            json
        }
    }
}

pub(super) fn because(json: &mut Value, why: &Reason) {
    json["code"] = why.code.into();
    json["text"] = why.text.as_ref().into();
}

fn reason(why: &Reason) -> Value {
    json!({ "code": why.code, "text": why.text })
}
