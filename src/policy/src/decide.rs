//! The decisions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bootstorm_catalog::Catalog;
use bootstorm_config::Banned;
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::cache::Versions;
use crate::chain::{Chain, Remote, Run};
use crate::decision::{Decision, Outcome, Wait};
use crate::offer::Offer;
use crate::providers::Query;
use crate::{Answers, BootPlan, Facts, Identity, Machine, MachineTable, Ports, Rules, resolve};

/// How soon a script asks again whose remote providers have not answered.
const UNDECIDED: Duration = Duration::from_secs(2);

/// Who is answered, with what.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    ports: ArcSwap<Ports>,
    catalog: Arc<Catalog>,
    machines: MachineTable,
    answers: Answers,
    versions: Arc<Versions>,
}

/// What comes of asking for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Asked {
    /// The decision.
    Decided(Decision),
    /// It takes the answers of these remote providers, in order. Give what they say to
    /// [`Policy::answers`] and ask again.
    Waits {
        /// What identifies the machine; answers are kept under it.
        identity: Identity,
        /// What the store knows of it; the providers are told.
        machine: Option<Arc<Machine>>,
        /// Whose answers are missing.
        links: Vec<Arc<Remote>>,
    },
}

/// What was found out about a machine and came of it.
struct Judged {
    identity: Identity,
    machine: Option<Arc<Machine>>,
    run: Run,
}

impl Policy {
    /// A policy that knows no machine but those of the configuration.
    #[must_use]
    pub fn new(rules: Rules, ports: Ports, catalog: Arc<Catalog>) -> Self {
        let versions = Arc::<Versions>::default();
        rules.templates.refresh();
        Self {
            rules: ArcSwap::from_pointee(rules),
            ports: ArcSwap::from_pointee(ports),
            catalog,
            machines: MachineTable::new(Arc::clone(&versions)),
            answers: Answers::new(Arc::clone(&versions)),
            versions,
        }
    }

    /// Replaces the rules, as after SIGHUP. What remote providers said is asked anew.
    pub fn set_rules(&self, mut rules: Rules) {
        let before = self.rules.load();
        if before.templates.folder() == rules.templates.folder() {
            // One that is broken at this moment stays what it was.
            rules.templates = Arc::clone(&before.templates);
        }
        rules.templates.refresh();
        self.rules.store(Arc::new(rules));
        self.answers.clear();
    }

    /// Tells which ports were really bound.
    pub fn set_ports(&self, ports: Ports) {
        self.ports.store(Arc::new(ports));
        self.versions.raise_all();
    }

    /// What the store knows of machines: whoever reads the store keeps it up to date.
    #[must_use]
    pub const fn machines(&self) -> &MachineTable {
        &self.machines
    }

    /// What remote providers said: whoever asks them puts it in.
    #[must_use]
    pub const fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The providers and their times.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.rules.load().chain.clone()
    }

    /// What a DHCP client boots. Called on the packet path: reads memory only.
    #[must_use]
    pub fn dhcp(&self, client: &ClientFacts) -> Answer {
        let rules = self.rules.load();
        let facts = Facts::from(client);
        let judged = self.judge(&rules, &facts, SystemTime::now());
        let Run::Decided(decision) = judged.run else {
            return Answer::Later;
        };
        let catalog = self.catalog.snapshot();
        let offer = Offer {
            rules: &rules,
            ports: **self.ports.load(),
            catalog: &catalog,
            client,
        };
        let is_known = judged.machine.is_some_and(|machine| machine.known);
        offer.answer(&decision, if is_known { 0 } else { rules.response_delay })
    }

    /// What a machine boots, or who has to be asked first. Reads memory only.
    pub fn decide(&self, facts: &Facts, now: SystemTime) -> Asked {
        let judged = self.judge(&self.rules.load(), facts, now);
        match judged.run {
            Run::Decided(decision) => Asked::Decided(decision),
            Run::Waits(links) => Asked::Waits {
                identity: judged.identity,
                machine: judged.machine,
                links,
            },
        }
    }

    /// What the script of a machine does that this was decided for: its names become entries of the
    /// catalog.
    #[must_use]
    pub fn plan(&self, decision: &Decision, facts: &Facts) -> BootPlan {
        let rules = self.rules.load();
        let catalog = self.catalog.snapshot();
        let identity = Identity::of(facts);
        let machine = self.machine(&rules, &identity);
        let known = || facts.to_json(&identity, machine.as_deref());
        let plan = resolve::plan(&rules, &catalog, &decision.outcome, facts, known);
        let is_known = machine.is_some_and(|machine| machine.known);
        let is_required = matches!(&decision.outcome, Outcome::Serve(plan) if plan.required);
        plan.asked_first(&rules.prompt, is_known, is_required)
    }

    /// What the script of a machine does by what is known at this moment. While remote providers
    /// have to be asked, it waits.
    #[must_use]
    pub fn boot(&self, facts: &Facts) -> BootPlan {
        match self.decide(facts, SystemTime::now()) {
            Asked::Decided(decision) => self.plan(&decision, facts),
            Asked::Waits { links, .. } => BootPlan::Wait(Wait {
                reason: undecided(&links),
                every: UNDECIDED,
                request: None,
            }),
        }
    }

    fn judge(&self, rules: &Rules, facts: &Facts, now: SystemTime) -> Judged {
        let identity = Identity::of(facts);
        let machine = self.machine(rules, &identity);
        let run = match banned(rules, facts.mac, facts.guid) {
            Some(reason) => Run::Decided(Decision::silent(reason)),
            None => {
                let query = Query {
                    facts,
                    identity: &identity,
                    machine: machine.as_ref(),
                    now,
                };
                rules.chain.run(&query, &self.answers)
            }
        };
        Judged {
            identity,
            machine,
            run,
        }
    }

    /// What the store says of a machine; one that the configuration lists is known as well.
    fn machine(&self, rules: &Rules, identity: &Identity) -> Option<Arc<Machine>> {
        let stored = self.machines.find(identity);
        let Some(listed) = rules.machines.find(identity) else {
            return stored;
        };
        let mut machine = stored.map_or_else(Machine::default, Arc::unwrap_or_clone);
        machine.known = true;
        if machine.name.is_none() {
            machine.name.clone_from(&listed.name);
        }
        Some(Arc::new(machine))
    }
}

fn undecided(links: &[Arc<Remote>]) -> Reason {
    let names: Vec<&str> = links.iter().map(|remote| &*remote.name).collect();
    Reason {
        code: "policy.undecided",
        text: format!("No answer yet from {}.", names.join(", ")).into(),
    }
}

/// The classifier drops what such a machine asks before anybody reads it. This one holds for DHCPv6
/// and for scripts too, and tells people who ask what would be.
fn banned(rules: &Rules, mac: Option<MacAddress>, guid: Option<MachineGuid>) -> Option<Reason> {
    let is_banned = |identity| rules.banned.contains(&identity);
    if let Some(mac) = mac.filter(|mac| is_banned(Banned::Mac(*mac))) {
        return Some(Reason {
            code: "classifier.banned-mac",
            text: format!("{mac} is banned (classifier.banned)").into(),
        });
    }
    let guid = guid.filter(|guid| is_banned(Banned::Guid(*guid)))?;
    Some(Reason {
        code: "classifier.banned-guid",
        text: format!("machine GUID {guid} is banned (classifier.banned)").into(),
    })
}

#[cfg(test)]
mod tests;
