//! How a decision comes about, in words: who was asked, and what each said.

use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::{Boot, Step, Verdict};
use bootstorm_policy::{Asked, Facts, Policy};
use bootstorm_telemetry::event::Reason;

/// A line for each provider, as far as the machine comes.
pub(super) fn steps(policy: &Policy, facts: &Facts) -> Vec<String> {
    match policy.decide(facts, SystemTime::now()) {
        Asked::Decided(decision) => decision.steps.iter().map(step).collect(),
        Asked::Waits { links, .. } => {
            let asked = |name: &str| format!("{name} would be asked; `explain` asks nobody");
            links.iter().map(|link| asked(&link.name)).collect()
        }
    }
}

fn step(step: &Step) -> String {
    let said = match &step.verdict {
        Verdict::Serve(plan) => format!("serves {} ({})", boot(&plan.boot), plan.by),
        Verdict::Ignore(reason) => format!("ignores it: {}", words(reason)),
        Verdict::Pass(reason) => format!("passes: {}", words(reason)),
    };
    let took = match step.took {
        Duration::ZERO => String::new(),
        took => format!(", after {} ms", took.as_millis()),
    };
    let line = format!("{} {said}{took}", step.provider);
    // Names and reasons may be a machine's or a program's own words.
    line.chars().filter(|c| !c.is_control()).collect()
}

fn boot(boot: &Boot) -> String {
    match boot {
        Boot::Usual => "the menu".to_owned(),
        Boot::Menu(name) => format!("menu:{name}"),
        Boot::Entry(id) => id.clone(),
        Boot::Script(file) => format!("script:{file}"),
        Boot::Local => "its local disk".to_owned(),
        Boot::Wait(wait) => format!("nothing yet: {}", words(&wait.reason)),
        Boot::Admission(_) => "nothing yet: it asks to be let in".to_owned(),
        Boot::Refer(referral) => format!("another server's boot: {}", referral.url),
        Boot::Refuse(reason) => format!("nothing: {}", words(reason)),
    }
}

fn words(reason: &Reason) -> String {
    format!("{} [{}]", reason.text, reason.code)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bootstorm_policy::decision::Plan;

    use super::*;

    fn said(verdict: Verdict, took: u64) -> String {
        step(&Step {
            provider: "rooms".into(),
            verdict,
            took: Duration::from_millis(took),
        })
    }

    #[test]
    fn each_provider_has_a_line_with_its_answer_and_its_time() {
        let reason = Reason {
            code: "provider.timeout",
            text: "no answer\u{1b}[31m".into(),
        };
        assert_eq!(
            said(Verdict::Pass(reason), 1000),
            "rooms passes: no answer[31m [provider.timeout], after 1000 ms"
        );
        let plan = Plan {
            boot: Boot::Entry("debian-13".to_owned()),
            by: "rooms[3]".to_owned(),
            ..Plan::default()
        };
        assert_eq!(
            said(Verdict::Serve(Arc::new(plan)), 0),
            "rooms serves debian-13 (rooms[3])"
        );
    }
}
