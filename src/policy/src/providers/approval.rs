//! Machines that people have not let in wait for them.

use std::sync::Arc;
use std::time::Duration;

use bootstorm_config::ApprovalConfig;
use bootstorm_telemetry::event::Reason;

use super::{Provider, Query, pass};
use crate::decision::{Boot, Plan, Terms, Verdict, Wait};
use crate::{Stage, Standing};

/// Lets machines on that people let in; all others wait until somebody does.
#[derive(Debug)]
pub struct Approval {
    name: Arc<str>,
    every: Duration,
    expire: Duration,
    message: Arc<str>,
}

impl Approval {
    /// A provider of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, config: &ApprovalConfig) -> Self {
        let message = config.message.as_deref();
        let message =
            message.unwrap_or("This machine is not known here: somebody has to let it in.");
        Self {
            name: name.into(),
            every: config.poll,
            expire: config.expire,
            message: message.into(),
        }
    }

    fn boot(&self, query: &Query<'_>) -> Boot {
        match query.standing {
            Some(Standing::Pending { code }) => Boot::Wait(Wait {
                reason: reason("approval.pending", self.message.as_ref()),
                every: self.every,
                request: Some(code.to_string()),
            }),
            Some(Standing::PutOff(why)) => Boot::Wait(Wait {
                reason: why.clone(),
                every: self.every,
                request: None,
            }),
            Some(Standing::Denied { code, reason: why }) => {
                let why = why.as_deref().map(|why| format!(": {why}"));
                let text = format!("The request {code} was denied{}", why.unwrap_or_default());
                Boot::Refuse(reason("approval.denied", &text))
            }
            Some(Standing::Expired { code }) if query.facts.request() == Some(code) => {
                let text = format!("Nobody answered the request {code} in time.");
                Boot::Refuse(reason("approval.expired", &text))
            }
            Some(Standing::Expired { .. }) | None if can_ask(query) => Boot::Admission(Terms {
                every: self.every,
                expire: self.expire,
            }),
            Some(Standing::Expired { .. }) | None => Boot::Refuse(reason(
                "approval.nobody",
                "Nothing tells this machine from others, so nobody can let it in.",
            )),
        }
    }
}

impl Provider for Approval {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, query: &Query<'_>) -> Verdict {
        if query.machine.is_some_and(|machine| machine.admitted) {
            return pass("provider.let-in", "people let it in");
        }
        Verdict::Serve(Arc::new(Plan {
            boot: self.boot(query),
            by: self.name.to_string(),
            ..Plan::default()
        }))
    }
}

/// A script that comes without the machine's data is told to come with them.
fn can_ask(query: &Query<'_>) -> bool {
    let is_to_tell = query.facts.stage == Stage::Script && !query.facts.asked;
    !query.identity.is_unknown() || is_to_tell
}

fn reason(code: &'static str, text: &str) -> Reason {
    Reason {
        code,
        text: text.to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Facts, Identity, Machine};

    fn boot(standing: Option<Standing>, facts: &Facts) -> Boot {
        let config = ApprovalConfig {
            poll: Duration::from_secs(10),
            message: Some("Call 4411.".to_owned()),
            expire: Duration::from_secs(21_600),
            keep: Duration::ZERO,
        };
        let query = Query {
            facts,
            identity: &Identity {
                mac: facts.mac,
                ..Identity::default()
            },
            machine: None,
            standing: standing.as_ref(),
            now: SystemTime::UNIX_EPOCH,
        };
        match Approval::new("approval", &config).decide(&query) {
            Verdict::Serve(plan) => plan.boot.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn facts(request: &str) -> Facts {
        Facts {
            mac: "52:54:00:99:00:01".parse().ok(),
            other: vec![("request".to_owned(), request.to_owned())],
            ..Facts::default()
        }
    }

    fn code() -> Arc<str> {
        "7F3K".into()
    }

    #[test]
    fn wds_08_a_machine_waits_is_refused_or_asks_as_its_request_stands() {
        let facts = facts("7F3K");
        let Boot::Wait(wait) = boot(Some(Standing::Pending { code: code() }), &facts) else {
            panic!("it does not wait");
        };
        assert_eq!(wait.request.as_deref(), Some("7F3K"));
        assert_eq!(wait.reason.text, "Call 4411.");
        assert_eq!(wait.every.as_secs(), 10);
        let reason = Some("wrong room".into());
        let code = code();
        let Boot::Refuse(refused) = boot(Some(Standing::Denied { code, reason }), &facts) else {
            panic!("it is not refused");
        };
        assert_eq!(refused.code, "approval.denied");
        assert_eq!(refused.text, "The request 7F3K was denied: wrong room");
        assert!(matches!(boot(None, &facts), Boot::Admission(_)));
    }

    #[test]
    fn wds_08_a_machine_whose_request_expired_leaves_and_asks_anew_at_its_next_boot() {
        let expired = || Some(Standing::Expired { code: code() });
        let waits = boot(expired(), &facts("7F3K"));
        assert!(matches!(waits, Boot::Refuse(why) if why.code == "approval.expired"));
        let Boot::Admission(terms) = boot(expired(), &facts("other")) else {
            panic!("it does not ask");
        };
        assert_eq!(terms.expire.as_secs() / terms.every.as_secs(), 2160);
    }

    #[test]
    fn a_machine_that_nothing_identifies_tells_who_it_is_or_leaves() {
        let mut nobody = Facts::default();
        assert!(matches!(boot(None, &nobody), Boot::Admission(_)));
        nobody.asked = true;
        assert!(matches!(boot(None, &nobody), Boot::Refuse(why) if why.code == "approval.nobody"));
    }

    #[test]
    fn a_machine_that_only_booted_here_waits_and_one_that_people_named_does_not() {
        let verdict = |admitted| {
            let machine = Arc::new(Machine {
                known: true,
                admitted,
                ..Machine::default()
            });
            let query = Query {
                facts: &facts(""),
                identity: &Identity::default(),
                machine: Some(&machine),
                standing: None,
                now: SystemTime::UNIX_EPOCH,
            };
            let config = ApprovalConfig {
                poll: Duration::from_secs(1),
                message: None,
                expire: Duration::from_secs(60),
                keep: Duration::ZERO,
            };
            Approval::new("approval", &config).decide(&query)
        };
        assert!(matches!(verdict(true), Verdict::Pass(why) if why.code == "provider.let-in"));
        assert!(matches!(verdict(false), Verdict::Serve(_)));
    }
}
