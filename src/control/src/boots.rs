//! Boots under way: who got which plan, and who keeps coming back for it.
//!
//! What nobody is asked about first must not run twice by accident. A machine that says it is done,
//! or that comes for the same plan again and again, goes to its own disk. What is decided here is in
//! memory; [`History`](crate::History) writes it down, and [`Boots::resume`] reads it back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::{Boot, Plan};
use bootstorm_policy::{BootId, Identity, Machine};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_store::BootRecord;
use bootstorm_telemetry::event::Reason;

use crate::numbers::Numbers;

/// Machines that are remembered; beyond, those make room that began longest ago, and first those
/// with nothing that must not run twice.
pub(crate) const MACHINES_MAX: usize = 50_000;

/// A machine that asks again within this time and has loaded nothing did not get its script: it is
/// the same boot.
const SAME_BOOT: Duration = Duration::from_secs(60);

/// A machine that comes for the same plan again within this time repeats it.
pub(crate) const WINDOW: Duration = Duration::from_secs(3600);

/// The boots under way; clones share them.
#[derive(Clone, Debug)]
pub struct Boots {
    table: Arc<Mutex<Table>>,
    numbers: Arc<Numbers>,
}

/// Which machine it is, by all that is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    /// Its number in the store.
    pub(crate) machine: Option<i64>,
    pub(crate) guid: Option<MachineGuid>,
    pub(crate) mac: Option<MacAddress>,
}

/// A machine that comes for its script.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) who: Who,
    /// What the policy says.
    pub(crate) plan: &'a Arc<Plan>,
    /// It is a one-shot, taken just now.
    pub(crate) once: bool,
    /// The task that it has reported done.
    pub(crate) done: Option<&'a str>,
    /// Whether it has loaded anything in a boot whose script it got at this time.
    pub(crate) has_loaded: &'a dyn Fn(SystemTime) -> bool,
    pub(crate) now: SystemTime,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It boots this.
    Boots(Arc<Plan>, Number),
    /// It waits or goes elsewhere: that is no boot.
    Passes,
    /// It goes to its own disk.
    Disk(Reason),
}

/// Which boot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A new one.
    New(BootId),
    /// The same as before.
    Same(BootId),
}

impl Boots {
    /// `repeats`: how often a machine may come for a plan within an hour; 0 for always.
    #[must_use]
    pub fn new(repeats: u32) -> Self {
        let table = Table {
            repeats,
            ..Table::default()
        };
        Self {
            table: Arc::new(Mutex::new(table)),
            numbers: Arc::default(),
        }
    }

    /// Changes how often a machine may come for a plan within an hour.
    pub fn set_repeats(&self, repeats: u32) {
        self.table().repeats = repeats;
    }

    /// Takes in what an earlier run of the server has written down, oldest first.
    pub(crate) fn resume(&self, records: impl IntoIterator<Item = BootRecord>) {
        let mut table = self.table();
        for record in records {
            table.resume(&record);
        }
    }

    /// What becomes of a machine that the policy gives this plan.
    pub(crate) fn turn(&self, arrival: Arrival<'_>) -> Turn {
        let number = self.number();
        self.table().turn(arrival, number)
    }

    /// A number for a boot, unlike any other's.
    pub(crate) fn number(&self) -> BootId {
        BootId(self.numbers.next())
    }

    /// It says that it is done; gives the boot.
    pub(crate) fn finished(&self, who: Who) -> Option<BootId> {
        let mut table = self.table();
        let boot = table.find(who)?;
        boot.finished = true;
        Some(boot.number)
    }

    /// People want it to boot anew.
    pub(crate) fn forget(&self, who: Who) {
        self.table().remove(who);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is sound between any two of its steps.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Who {
    /// `None` for a machine that nothing tells from others.
    pub(crate) fn of(identity: &Identity, machine: Option<&Machine>) -> Option<Self> {
        // Machines of the configuration have no number.
        let who = Self {
            machine: machine.map(|machine| machine.id).filter(|id| *id != 0),
            guid: identity.guid,
            mac: identity.mac,
        };
        (who != Self::default()).then_some(who)
    }

    /// What it may be known by, the surest first.
    fn keys(self) -> impl Iterator<Item = Key> {
        let (guid, mac) = (self.guid, self.mac);
        let sent = (guid.is_some() || mac.is_some()).then_some(Key::Sent(guid, mac));
        self.machine.map(Key::Machine).into_iter().chain(sent)
    }
}

/// What must not run twice by accident, in words that tell it from any other: what is booted, and
/// for which deployment. Not who decided it: a rule that is moved or renamed begins nothing anew.
pub(crate) fn task(plan: &Plan) -> String {
    let boot = plan.boot.name();
    match plan.values.get("deployment") {
        Some(deployment) => format!("{boot} of {deployment}"),
        None => boot.into_owned(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Machine(i64),
    /// What it sends. A GUID alone may turn out to be in two machines.
    Sent(Option<MachineGuid>, Option<MacAddress>),
}

#[derive(Debug, Default)]
struct Table {
    repeats: u32,
    boots: HashMap<Key, Progress>,
    /// Who began when: the first makes room, before all others one without a task.
    order: BTreeMap<(bool, u64), Key>,
    clock: u64,
}

#[derive(Debug)]
struct Progress {
    number: BootId,
    /// What it boots.
    boot: Boot,
    /// What must not run twice.
    task: Option<String>,
    once: bool,
    finished: bool,
    /// It is known to have loaded something; else whoever sees it load is asked.
    has_loaded: bool,
    /// When it came for the plan, within the last [`WINDOW`].
    began: VecDeque<SystemTime>,
    /// Its place in `order`.
    place: (bool, u64),
}

impl Table {
    fn turn(&mut self, arrival: Arrival<'_>, number: BootId) -> Turn {
        let Arrival { who, plan, now, .. } = arrival;
        let repeats = self.repeats as usize;
        if arrival.once {
            return self.begin(&arrival, number, true);
        }
        let of_plan = (plan.required && is_boot(plan)).then(|| task(plan));
        if of_plan.is_some() && of_plan.as_deref() == arrival.done {
            return Turn::Disk(done(&plan.by));
        }
        if !is_boot(plan) {
            return Turn::Passes;
        }
        let Some(boot) = self.find(who) else {
            return self.begin(&arrival, number, false);
        };
        boot.began.retain(|began| since(*began, now) < WINDOW);
        let last = boot.began.back().copied();
        let is_same = last.is_some_and(|last| {
            since(last, now) < SAME_BOOT && !boot.has_loaded && !(arrival.has_loaded)(last)
        });
        if boot.once {
            return match (is_same, last, &plan.boot) {
                (true, ..) => boot.again(plan),
                (false, Some(_), Boot::Usual) => Turn::Disk(done("what it was to boot once")),
                _ => self.begin(&arrival, number, false),
            };
        }
        if boot.task != of_plan || (of_plan.is_none() && boot.boot != plan.boot) {
            return self.begin(&arrival, number, false);
        }
        if of_plan.is_some() && boot.finished {
            return Turn::Disk(done(&plan.by));
        }
        if is_same {
            return Turn::Boots(Arc::clone(plan), Number::Same(boot.number));
        }
        if of_plan.is_some() && repeats > 0 && boot.began.len() >= repeats {
            return Turn::Disk(repeated(boot.began.len(), &plan.by));
        }
        let most = if of_plan.is_some() { repeats } else { 1 };
        boot.anew(number, now, most);
        Turn::Boots(Arc::clone(plan), Number::New(number))
    }

    /// A plan that the machine did not come for before.
    fn begin(&mut self, arrival: &Arrival<'_>, number: BootId, once: bool) -> Turn {
        let plan = arrival.plan;
        let progress = Progress {
            number,
            boot: plan.boot.clone(),
            task: (plan.required || once).then(|| task(plan)),
            once,
            finished: false,
            has_loaded: false,
            began: VecDeque::from([arrival.now]),
            place: (false, 0),
        };
        self.put(arrival.who, progress);
        Turn::Boots(Arc::clone(plan), Number::New(number))
    }

    fn resume(&mut self, record: &BootRecord) {
        let (Ok(number), Some(task)) = (u64::from_str_radix(&record.id, 16), &record.task) else {
            return;
        };
        let who = Who {
            machine: record.machine,
            guid: record.guid,
            mac: record.mac,
        };
        let mut began = VecDeque::new();
        if let Some(before) = self.find(who)
            && !record.once
            && before.task.as_ref() == Some(task)
        {
            began = std::mem::take(&mut before.began);
        }
        began.push_back(record.requested);
        let progress = Progress {
            number: BootId(number),
            boot: Boot::named(&record.entry),
            task: Some(task.clone()),
            once: record.once,
            finished: record.finished.is_some(),
            has_loaded: record.loading.is_some(),
            began,
            place: (false, 0),
        };
        self.put(who, progress);
    }

    fn put(&mut self, who: Who, mut progress: Progress) {
        self.remove(who);
        let Some(key) = who.keys().next() else { return };
        if self.boots.len() >= MACHINES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.boots.remove(&oldest);
        }
        self.clock += 1;
        progress.place = (progress.task.is_some(), self.clock);
        self.order.insert(progress.place, key);
        self.boots.insert(key, progress);
    }

    /// The store learns of a machine after its first boot: then it has a number as well.
    fn find(&mut self, who: Who) -> Option<&mut Progress> {
        let best = who.keys().next()?;
        let key = who.keys().find(|key| self.boots.contains_key(key))?;
        if key != best
            && let Some(boot) = self.boots.remove(&key)
        {
            self.order.insert(boot.place, best);
            self.boots.insert(best, boot);
        }
        self.boots.get_mut(&best)
    }

    fn remove(&mut self, who: Who) {
        for key in who.keys() {
            if let Some(boot) = self.boots.remove(&key) {
                self.order.remove(&boot.place);
            }
        }
    }
}

impl Progress {
    /// The answer to the same boot's request once more.
    fn again(&self, plan: &Plan) -> Turn {
        let plan = Plan {
            boot: self.boot.clone(),
            required: true,
            once: false,
            ..plan.clone()
        };
        Turn::Boots(Arc::new(plan), Number::Same(self.number))
    }

    /// Of when it came before no more is kept than counts.
    fn anew(&mut self, number: BootId, now: SystemTime, most: usize) {
        self.number = number;
        self.finished = false;
        self.has_loaded = false;
        self.began.push_back(now);
        while self.began.len() > most.max(1) {
            self.began.pop_front();
        }
    }
}

/// Whether the plan starts something, or lets people choose.
const fn is_boot(plan: &Plan) -> bool {
    match plan.boot {
        Boot::Usual | Boot::Menu(_) | Boot::Entry(_) | Boot::Script(_) => true,
        Boot::Local | Boot::Wait(_) | Boot::Admission(_) | Boot::Refer(_) | Boot::Refuse(_) => {
            false
        }
    }
}

/// A clock that was set back counts as no time.
fn since(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

fn done(what: &str) -> Reason {
    Reason {
        code: "boot.done",
        text: format!("This machine has booted {what}; its own disk follows.").into(),
    }
}

fn repeated(times: usize, by: &str) -> Reason {
    Reason {
        code: "boot.loop",
        text: format!(
            "This machine came {times} times within an hour for what {by} says, and never \
             reported that it was done; its own disk follows."
        )
        .into(),
    }
}

#[cfg(test)]
mod tests;
