//! The decisions.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bootstorm_catalog::{Catalog, Snapshot};
use bootstorm_config::{Banned, LocalBoot};
use bootstorm_proto::dhcp::{Answer, Asker, ClientFacts};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::cache::Versions;
use crate::chain::{Chain, Remote, Run};
use crate::decided::{Basis, DecidedAnswers};
use crate::decision::{Decision, Outcome, Wait};
use crate::elsewhere::Elsewhere;
use crate::identity::{Duplicates, SharedMacs};
use crate::offer::Offer;
use crate::places::{self, InterfaceNames};
use crate::providers::Query;
use crate::told::Teller;
use crate::{
    Answers, ApprovalTable, BootPlan, Duplicate, Evidence, Facts, Identity, Machine, MachineTable,
    Place, Ports, Rules, Tokens, resolve,
};
pub use windows::WindowsContent;

mod explained;
mod made;
mod windows;

/// How soon a script asks again whose remote providers have not answered.
const UNDECIDED: Duration = Duration::from_secs(2);

/// Who is answered, with what.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    ports: ArcSwap<Ports>,
    catalog: Arc<Catalog>,
    interfaces: ArcSwap<InterfaceNames>,
    machines: MachineTable,
    answers: Answers,
    approvals: ApprovalTable,
    duplicates: Duplicates,
    elsewhere: Elsewhere,
    decided: DecidedAnswers,
    versions: Arc<Versions>,
    teller: Option<Teller>,
    /// Seals the names of files that are made for one machine.
    tokens: Option<Tokens>,
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
    place: Place,
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
            interfaces: ArcSwap::default(),
            machines: MachineTable::new(Arc::clone(&versions)),
            answers: Answers::new(Arc::clone(&versions)),
            approvals: ApprovalTable::new(Arc::clone(&versions)),
            duplicates: Duplicates::new(Arc::clone(&versions)),
            elsewhere: Elsewhere::new(),
            decided: DecidedAnswers::new(),
            versions,
            teller: None,
            tokens: None,
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
        rules.menus = Arc::new(rules.menus.after(&before.menus));
        rules.identity.after(&before.identity);
        self.rules.store(Arc::new(rules));
        self.answers.clear();
    }

    /// Tells which ports were really bound.
    pub fn set_ports(&self, ports: Ports) {
        self.ports.store(Arc::new(ports));
        self.versions.raise_all();
    }

    /// The ports that were really bound.
    #[must_use]
    pub fn ports(&self) -> Ports {
        **self.ports.load()
    }

    /// Tells the names of interfaces by their index.
    pub fn set_interfaces(&self, names: impl IntoIterator<Item = (u32, String)>) {
        let names = names.into_iter().map(|(index, name)| (index, name.into()));
        let names: InterfaceNames = names.collect();
        if **self.interfaces.load() != names {
            self.interfaces.store(Arc::new(names));
            self.versions.raise_all();
        }
    }

    /// Reads files of the configuration again that have changed, and forgets what is old. To be
    /// called every few seconds.
    ///
    /// # Errors
    /// Which file cannot be used; what was read of it before still holds.
    pub fn refresh(&self, now: SystemTime) -> Result<(), Reason> {
        self.duplicates.forget_old(now);
        let rules = self.rules.load();
        let file = rules.identity.shared_macs_file();
        if file.map_or(Ok(false), SharedMacs::refresh)? {
            self.versions.raise_all();
        }
        if rules
            .variables
            .as_ref()
            .is_some_and(|folder| folder.refresh())
        {
            self.versions.raise_all();
        }
        Ok(())
    }

    /// What of the facts identifies the machine.
    #[must_use]
    pub fn identify(&self, facts: &Facts) -> Identity {
        let rules = self.rules.load();
        rules.identity.identify(facts, &self.duplicates)
    }

    /// Machine GUIDs that more than one machine turned out to have.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Arc<Duplicate>> {
        self.duplicates.list()
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

    /// How iPXE leaves for the next boot device.
    #[must_use]
    pub fn local_boot(&self) -> LocalBoot {
        self.rules.load().local
    }

    /// How the requests of machines to be let in stand: whoever asks the store keeps it up to date.
    #[must_use]
    pub const fn approvals(&self) -> &ApprovalTable {
        &self.approvals
    }

    /// The providers and their times.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.rules.load().chain.clone()
    }

    /// What a DHCP client boots. Called on the packet path: reads memory only. [`Answer::Later`]
    /// when a remote provider has to be asked first.
    #[must_use]
    pub fn dhcp(&self, client: &ClientFacts) -> Answer {
        let now = SystemTime::now();
        let rules = self.rules.load();
        self.tell_apart(&rules, client, now);
        let basis = Basis {
            version: self.versions.of(client.hardware.mac(), client.guid),
            published: self.catalog.published(),
        };
        let question = self.decided.question(client, rules.looks_at_secs);
        if let Some(answer) = self.decided.get(&question, basis, now) {
            return answer;
        }
        let (answer, until) = self.answer(&rules, client, now);
        if let Some(until) = until {
            self.decided.put(question, basis, until, answer.clone());
        }
        answer
    }

    /// The facts with the name of our interface that the machine is at.
    #[must_use]
    pub fn completed<'a>(&self, facts: &'a Facts) -> Cow<'a, Facts> {
        match self.interface_name(facts) {
            None => Cow::Borrowed(facts),
            name => Cow::Owned(Facts {
                interface_name: name,
                ..facts.clone()
            }),
        }
    }

    /// The same for facts of one's own.
    fn named(&self, facts: Facts) -> Facts {
        Facts {
            interface_name: self.interface_name(&facts).or(facts.interface_name.clone()),
            ..facts
        }
    }

    /// `None` where it has one, or none is known.
    fn interface_name(&self, facts: &Facts) -> Option<Arc<str>> {
        let index = facts.interface.filter(|_| facts.interface_name.is_none())?;
        self.interfaces.load().get(&index).map(Arc::clone)
    }

    /// What a machine boots, or who has to be asked first. Reads memory only.
    pub fn decide(&self, facts: &Facts, now: SystemTime) -> Asked {
        let judged = self.judge(&self.rules.load(), &self.completed(facts), now);
        match judged.run {
            Run::Decided(decision) => Asked::Decided(decision),
            Run::Waits(links) => Asked::Waits {
                identity: judged.identity,
                machine: judged.machine,
                links,
            },
        }
    }

    /// Whether iPXE is to tell what it knows of the machine before anything is decided.
    #[must_use]
    pub fn asks(&self, facts: &Facts) -> bool {
        let is_ipxe = facts.asker == Some(Asker::Ipxe);
        let would_tell = is_ipxe && !facts.asked && !facts.tells_of_ipxe();
        would_tell && (self.rules.load().asks_machines || self.makes_files())
    }

    /// What the script of a machine does that this was decided for: its names become entries of the
    /// catalog.
    #[must_use]
    pub fn plan(&self, decision: &Decision, facts: &Facts) -> BootPlan {
        self.query(facts, |rules, query| {
            let catalog = self.catalog.snapshot();
            self.planned(rules, &catalog, decision, query)
        })
    }

    /// What a machine's query to providers and to the catalog is made of.
    fn query<T>(&self, facts: &Facts, use_it: impl FnOnce(&Rules, &Query<'_>) -> T) -> T {
        let facts = &*self.completed(facts);
        let rules = self.rules.load();
        let mut identity = rules.identity.identify(facts, &self.duplicates);
        let now = SystemTime::now();
        let machine = self.machine(&rules, &mut identity, now);
        let standing = self.approvals.find(&identity, now);
        let query = Query {
            facts,
            identity: &identity,
            machine: machine.as_ref(),
            standing: standing.as_ref(),
            now,
        };
        use_it(&rules, &query)
    }

    fn planned(
        &self,
        rules: &Rules,
        catalog: &Snapshot,
        decision: &Decision,
        query: &Query<'_>,
    ) -> BootPlan {
        let mut plan = resolve::plan(rules, catalog, &decision.outcome, query);
        if let Some(peers) = places::peers(&rules.policy, &self.interfaces.load(), query.facts) {
            plan.share(peers);
        }
        let is_required = matches!(&decision.outcome, Outcome::Serve(plan) if plan.required);
        plan.asked_first(&rules.policy.prompt, decision.known, is_required)
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

    /// The answer, and until when the same packet may get it again without a look at the rules.
    fn answer(
        &self,
        rules: &Rules,
        client: &ClientFacts,
        now: SystemTime,
    ) -> (Answer, Option<SystemTime>) {
        let facts = self.named(Facts::from(client));
        let judged = self.judge(rules, &facts, now);
        let Run::Decided(decision) = &judged.run else {
            return (Answer::Later, None);
        };
        // What holds then depends on when the machine asks.
        let is_put_off = !decision.known && judged.place.delay > 0;
        if is_put_off {
            self.elsewhere.hear(client, judged.place.delay, now);
        }
        let answer = self.offer(rules, client, &judged, decision, now);
        let mut ends = now + rules.policy.decision_ttl;
        if matches!(
            &answer,
            Answer::Boot {
                windows: Some(_),
                ..
            }
        ) {
            // The names in it are good for longer than a machine needs to use them.
            ends = ends.min(now + crate::windows::VALID / 2);
        }
        let until = decision.until.map_or(ends, |until| until.min(ends));
        self.tell_answer(rules, facts, judged, &answer, now);
        (answer, (!is_put_off).then_some(until))
    }

    fn offer(
        &self,
        rules: &Rules,
        client: &ClientFacts,
        judged: &Judged,
        decision: &Decision,
        now: SystemTime,
    ) -> Answer {
        let delay = match judged.place.delay {
            delay if decision.known || delay == 0 => 0,
            delay => match self.elsewhere.delay(client, delay, now) {
                Ok(delay) => delay,
                Err(Reason { code, text }) => {
                    let text = text.into();
                    return Answer::Silent { code, text };
                }
            },
        };
        let catalog = self.catalog.snapshot();
        let offer = Offer {
            rules,
            ports: **self.ports.load(),
            catalog: &catalog,
            client,
        };
        let mut answer = offer.answer(decision, delay);
        if client.asker == Asker::Firmware
            && let Answer::Boot { file, windows, .. } = &mut answer
        {
            *windows = self.files_of(rules, client, &judged.identity, decision, file, now);
        }
        answer
    }

    /// Notes when the packet shows that two machines have its GUID. Those that are known to be in
    /// many tell nothing new.
    fn tell_apart(&self, rules: &Rules, client: &ClientFacts, now: SystemTime) {
        if let Some(macs) = self.duplicates.heard(client, now)
            && let Some(guid) = client.guid
            && rules.identity.guid_problem(guid).is_none()
        {
            let evidence = Evidence::AskedTogether;
            self.duplicates.found(guid, &macs, evidence, now);
        }
    }

    fn judge(&self, rules: &Rules, facts: &Facts, now: SystemTime) -> Judged {
        let mut identity = rules.identity.identify(facts, &self.duplicates);
        let machine = self.machine(rules, &mut identity, now);
        let place = Place::of(&rules.policy, &self.interfaces.load(), facts);
        let is_known = machine.as_ref().is_some_and(|machine| machine.known);
        let refusal = banned(rules, facts.mac, facts.guid).or_else(|| place.refusal(is_known));
        let run = match refusal {
            Some(reason) => Run::Decided(Decision::silent(reason, is_known)),
            None => {
                let standing = self.approvals.find(&identity, now);
                let query = Query {
                    facts,
                    identity: &identity,
                    machine: machine.as_ref(),
                    standing: standing.as_ref(),
                    now,
                };
                rules.chain.run(&query, &self.answers)
            }
        };
        Judged {
            identity,
            machine,
            place,
            run,
        }
    }

    /// What the store says of a machine; one that the configuration lists is known as well.
    fn machine(
        &self,
        rules: &Rules,
        identity: &mut Identity,
        now: SystemTime,
    ) -> Option<Arc<Machine>> {
        let found = self.machines.look_up(identity);
        if let Some(other) = found.other {
            self.is_another(&other, identity, now);
        }
        let Some(listed) = rules.machines.find(identity) else {
            return found.machine;
        };
        let mut machine = found
            .machine
            .map_or_else(Machine::default, Arc::unwrap_or_clone);
        machine.admitted = true;
        machine.known = true;
        if machine.name.is_none() {
            machine.name.clone_from(&listed.name);
        }
        Some(Arc::new(machine))
    }

    /// The machine has the GUID or the MAC of one in the store, whose serial number is another.
    fn is_another(&self, stored: &Machine, identity: &mut Identity, now: SystemTime) {
        let name = stored.name.as_deref().unwrap_or("a machine of the store");
        let serial = stored.serial.as_deref().unwrap_or_default();
        identity.stripped.push(Reason {
            code: "identity.other-machine",
            text: format!("{name} answers to this, but its serial number is {serial}").into(),
        });
        if let Some(guid) = identity.guid.filter(|guid| stored.guid == Some(*guid)) {
            let macs: Vec<_> = identity.mac.iter().chain(&stored.macs).copied().collect();
            self.duplicates.found(guid, &macs, Evidence::Serials, now);
        }
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
    let by = |whole: Banned, mac, guid| {
        if rules.banned.contains(&whole) {
            return Some(String::new());
        }
        let mut beginnings = rules.banned_beginnings.iter();
        let found = beginnings.find(|beginning| beginning.matches(mac, guid))?;
        Some(format!(": {found}"))
    };
    if let Some(own) = mac
        && let Some(by) = by(Banned::Mac(own), mac, None)
    {
        return Some(Reason {
            code: "classifier.banned-mac",
            text: format!("{own} is banned (classifier.banned{by})").into(),
        });
    }
    let own = guid?;
    let by = by(Banned::Guid(own), None, guid)?;
    Some(Reason {
        code: "classifier.banned-guid",
        text: format!("machine GUID {own} is banned (classifier.banned{by})").into(),
    })
}

#[cfg(test)]
mod tests;
