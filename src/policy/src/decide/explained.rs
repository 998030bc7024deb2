//! What the policy tells of its decisions.

use std::time::SystemTime;

use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_telemetry::event::Reason;

use super::{Judged, Policy};
use crate::chain::Run;
use crate::decision::Decision;
use crate::explain::{parts, script, to_disk};
use crate::providers::Query;
use crate::told::{Decided, Teller};
use crate::{BootPlan, Explanation, Facts, Reply, Rules};

impl Policy {
    /// A policy that tells what it decides, and where that comes out.
    #[must_use]
    pub fn telling(self) -> (Self, Decided) {
        let (teller, decided) = Teller::new();
        let teller = Some(teller);
        (Self { teller, ..self }, decided)
    }

    /// Why a DHCP client is answered what it is answered at this moment. Asks nobody.
    pub fn explain_dhcp(&self, client: &ClientFacts, now: SystemTime) -> Explanation {
        let rules = self.rules.load();
        let facts = self.named(Facts::from(client));
        let judged = self.judge(&rules, &facts, now);
        let answer = match &judged.run {
            Run::Decided(decision) => self.offer(&rules, client, &judged, decision, now),
            Run::Waits(_) => Answer::Later,
        };
        self.explanation(&rules, facts, judged, Reply::Dhcp(answer), now)
    }

    /// Why a machine gets the script that it gets at this moment. Asks nobody.
    pub fn explain(&self, facts: Facts, now: SystemTime) -> Explanation {
        let rules = self.rules.load();
        let facts = self.named(facts);
        let judged = self.judge(&rules, &facts, now);
        let reply = Reply::Script(script(&self.boot(&facts)));
        self.explanation(&rules, facts, judged, reply, now)
    }

    /// Tells that a machine was handed this script.
    pub fn tell_script(&self, facts: &Facts, decision: &Decision, plan: &BootPlan) {
        self.tell_reply(facts, decision, || Reply::Script(script(plan)));
    }

    /// Tells that a machine was sent to its own disk, whatever was decided.
    pub fn tell_disk(&self, facts: &Facts, decision: &Decision, reason: &Reason) {
        self.tell_reply(facts, decision, || to_disk(reason));
    }

    pub(super) fn tell_answer(
        &self,
        rules: &Rules,
        facts: Facts,
        judged: Judged,
        answer: &Answer,
        now: SystemTime,
    ) {
        let Some(teller) = &self.teller else { return };
        let is_known = judged.machine.as_ref().is_some_and(|m| m.known);
        teller.tell(is_known, now, || {
            self.explanation(rules, facts, judged, Reply::Dhcp(answer.clone()), now)
        });
    }

    fn tell_reply(&self, facts: &Facts, decision: &Decision, reply: impl FnOnce() -> Reply) {
        let Some(teller) = &self.teller else { return };
        let now = SystemTime::now();
        teller.tell(decision.known, now, || {
            let rules = self.rules.load();
            let facts = self.named(facts.clone());
            let judged = Judged {
                run: Run::Decided(decision.clone()),
                ..self.judge(&rules, &facts, now)
            };
            self.explanation(&rules, facts, judged, reply(), now)
        });
    }

    fn explanation(
        &self,
        rules: &Rules,
        facts: Facts,
        judged: Judged,
        reply: Reply,
        now: SystemTime,
    ) -> Explanation {
        let Judged {
            identity,
            machine,
            place,
            run,
        } = judged;
        let (parts, outcome) = match run {
            Run::Decided(decision) => {
                let parts = parts(rules.chain.names(), decision.steps, std::iter::empty());
                (parts, Some(decision.outcome))
            }
            Run::Waits(_) => {
                let standing = self.approvals.find(&identity, now);
                let query = Query {
                    facts: &facts,
                    identity: &identity,
                    machine: machine.as_ref(),
                    standing: standing.as_ref(),
                    now,
                };
                (rules.chain.parts(&query, &self.answers), None)
            }
        };
        let from = place.by.and_then(|index| rules.policy.places.get(index));
        Explanation {
            at: now,
            from: from.map(|place| place.from.clone()),
            facts,
            identity,
            machine,
            place,
            parts,
            outcome,
            reply,
        }
    }
}
