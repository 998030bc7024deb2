//! What the configuration says: single machines first, then rules.

use std::sync::Arc;
use std::time::Duration;

use bootstorm_config::{BootChoice, PlanConfig};
use bootstorm_telemetry::event::Reason;

use super::{Provider, Query, pass};
use crate::MachineTable;
use crate::decision::{Boot, Plan, Verdict, Wait};
use crate::matcher::{BadExpression, Matcher, Subject};

/// How often a machine asks again that a rule makes wait.
const ASKS_AGAIN: Duration = Duration::from_secs(10);

/// Serves what the `[[machine]]` tables assign, and what the first `[[rule]]` says that fits.
#[derive(Debug)]
pub struct Fixed {
    name: Arc<str>,
    machines: Arc<MachineTable>,
    rules: Arc<[Rule]>,
}

/// One `[[rule]]`.
#[derive(Debug)]
pub struct Rule {
    label: String,
    when: Option<Matcher>,
    verdict: Verdict,
}

impl Rule {
    /// Reads the rule with this index.
    ///
    /// # Errors
    /// Where its expression is none.
    pub fn new(config: &bootstorm_config::Rule, index: usize) -> Result<Self, BadExpression> {
        let label = config.label(index);
        let by = format!("static: {label}");
        let verdict = match &config.ignore {
            Some(text) => Verdict::Ignore(Reason {
                code: "policy.ignored",
                text: format!("{text} ({label})").into(),
            }),
            None => Verdict::Serve(Arc::new(plan(&config.plan, by))),
        };
        let when = config.when.as_deref().map(Matcher::compile).transpose()?;
        Ok(Self {
            label,
            when,
            verdict,
        })
    }
}

impl Fixed {
    /// A provider of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, machines: Arc<MachineTable>, rules: Arc<[Rule]>) -> Self {
        Self {
            name: name.into(),
            machines,
            rules,
        }
    }

    /// What the first rule says that fits. One that fails does not fit.
    fn by_rule(&self, query: &Query<'_>, failures: &mut Vec<Reason>) -> Option<Verdict> {
        let mut subject = None;
        let rule = self.rules.iter().find(|rule| {
            let Some(when) = &rule.when else { return true };
            let subject = subject.get_or_insert_with(|| {
                let machine = query.machine.map(Arc::as_ref);
                Subject::new(query.facts.to_json(query.identity, machine))
            });
            when.holds(subject, &rule.label).unwrap_or_else(|failure| {
                failures.push(failure);
                false
            })
        });
        rule.map(|rule| rule.verdict.clone())
    }
}

impl Provider for Fixed {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, query: &Query<'_>) -> Verdict {
        self.decide_noting(query, &mut Vec::new())
    }

    fn decide_noting(&self, query: &Query<'_>, failures: &mut Vec<Reason>) -> Verdict {
        let machine = self.machines.find(query.identity);
        if let Some(boot) = machine.and_then(|machine| machine.boot.clone()) {
            return Verdict::Serve(Arc::new(Plan {
                boot: Boot::named(&boot),
                by: format!("{}: machine", self.name),
                ..Plan::default()
            }));
        }
        self.by_rule(query, failures).unwrap_or_else(|| {
            pass(
                "provider.no-rule",
                "the configuration assigns it nothing and no rule fits",
            )
        })
    }
}

fn plan(config: &PlanConfig, by: String) -> Plan {
    let reason = |code, usual: &'static str| Reason {
        code,
        text: config.reason.clone().map_or(usual.into(), Into::into),
    };
    let boot = match &config.boot {
        None => Boot::Usual,
        Some(BootChoice::Entry(name)) => Boot::Entry(name.clone()),
        Some(BootChoice::Local) => Boot::Local,
        Some(BootChoice::Menu) => Boot::named("menu"),
        Some(BootChoice::NamedMenu(name)) => Boot::Menu(name.clone()),
        Some(BootChoice::Script(file)) => Boot::Script(file.clone()),
        Some(BootChoice::Wait) => Boot::Wait(Wait {
            reason: reason("policy.told-to-wait", "This machine has to wait."),
            every: ASKS_AGAIN,
            request: None,
        }),
        Some(BootChoice::Refuse) => Boot::Refuse(reason(
            "policy.refused",
            "This machine may not boot from here.",
        )),
    };
    Plan {
        boot,
        nbp: config.nbp.clone(),
        arguments: config.arguments.clone(),
        values: config.values.clone(),
        variables: None,
        required: config.required,
        once: false,
        by,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Facts, Identity};

    fn rule(when: Option<&str>, ignore: Option<&str>, boot: &str) -> Rule {
        let config = bootstorm_config::Rule {
            when: when.map(str::to_owned),
            ignore: ignore.map(str::to_owned),
            plan: PlanConfig {
                boot: boot.parse().ok(),
                ..PlanConfig::default()
            },
            ..bootstorm_config::Rule::default()
        };
        Rule::new(&config, 3).unwrap()
    }

    fn decide(rules: Vec<Rule>, product: Option<&str>) -> String {
        let facts = Facts {
            product: product.map(str::to_owned),
            ..Facts::default()
        };
        let query = Query {
            facts: &facts,
            identity: &Identity::default(),
            machine: None,
            standing: None,
            now: SystemTime::UNIX_EPOCH,
        };
        match Fixed::new("static", Arc::default(), rules.into()).decide(&query) {
            Verdict::Serve(plan) => format!("{:?} by {}", plan.boot, plan.by),
            Verdict::Ignore(reason) => format!("{}: {}", reason.code, reason.text),
            Verdict::Pass(reason) => reason.code.to_owned(),
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = || {
            vec![
                rule(Some("smbios.product.startsWith('X')"), None, "debian"),
                rule(Some("smbios.product == 'Printer'"), Some("it prints"), ""),
            ]
        };
        assert_eq!(
            decide(rules(), Some("X1")),
            "Entry(\"debian\") by static: rule[3]"
        );
        assert_eq!(
            decide(rules(), Some("Printer")),
            "policy.ignored: it prints (rule[3])"
        );
        assert_eq!(decide(rules(), Some("Y")), "provider.no-rule");
        assert_eq!(
            decide(rules(), None),
            "provider.no-rule",
            "null fits nothing"
        );
        assert_eq!(
            decide(vec![rule(None, None, "local")], None),
            "Local by static: rule[3]"
        );
    }
}
