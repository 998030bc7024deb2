//! Boots under way: who got which plan, and who keeps coming back for it.
//!
//! What nobody is asked about first must not run twice by accident. A machine that says it is done,
//! or that comes for the same plan again and again, goes to its own disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::{Boot, Plan};
use bootstorm_policy::{BootId, Identity, Machine};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

/// Machines that are remembered; beyond, those that began longest ago make room.
const MACHINES_MAX: usize = 50_000;

/// A machine that asks again within this time and has loaded nothing did not get its script: it is
/// the same boot.
const SAME_BOOT: Duration = Duration::from_secs(60);

/// A machine that comes for the same plan again within this time repeats it.
const WINDOW: Duration = Duration::from_secs(3600);

/// The boots of this run of the server; clones share them.
#[derive(Clone, Debug)]
pub struct Boots {
    table: Arc<Mutex<Table>>,
    numbers: Arc<AtomicU64>,
}

/// Which machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Its number in the store.
    Machine(i64),
    Guid(MachineGuid),
    Mac(MacAddress),
}

/// A machine that comes for its script.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) who: Who,
    /// What the policy says.
    pub(crate) plan: &'a Arc<Plan>,
    /// It is a one-shot, taken just now.
    pub(crate) once: bool,
    /// Whether it has loaded anything in a boot whose script it got at this time.
    pub(crate) has_loaded: &'a dyn Fn(SystemTime) -> bool,
    pub(crate) now: SystemTime,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Boots(Arc<Plan>),
    /// It goes to its own disk.
    Disk(Reason),
}

impl Boots {
    /// `repeats`: how often a machine may come for a plan within an hour; 0 for always.
    #[must_use]
    pub fn new(repeats: u32) -> Self {
        let table = Table {
            repeats,
            ..Table::default()
        };
        // No server hands out a script each microsecond.
        let now = since(SystemTime::UNIX_EPOCH, SystemTime::now()).as_micros();
        let first = u64::try_from(now).unwrap_or_default();
        Self {
            table: Arc::new(Mutex::new(table)),
            numbers: Arc::new(first.into()),
        }
    }

    /// Changes how often a machine may come for a plan within an hour.
    pub fn set_repeats(&self, repeats: u32) {
        self.table().repeats = repeats;
    }

    /// What becomes of a machine that the policy gives this plan.
    pub(crate) fn turn(&self, arrival: Arrival<'_>) -> Turn {
        self.table().turn(arrival)
    }

    /// A number for a boot, never given twice, also after a restart.
    pub(crate) fn number(&self) -> BootId {
        BootId(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// It says that it is done.
    pub(crate) fn finished(&self, who: Who) {
        if let Some(boot) = self.table().boots.get_mut(&who) {
            boot.finished = true;
        }
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
        let known = machine.map(|machine| machine.id).filter(|id| *id != 0);
        let known = known.map(Self::Machine);
        let guid = identity.guid.map(Self::Guid);
        known.or(guid).or(identity.mac.map(Self::Mac))
    }
}

#[derive(Debug, Default)]
struct Table {
    repeats: u32,
    boots: HashMap<Who, Progress>,
    /// Who began when: the first makes room.
    order: BTreeMap<u64, Who>,
    clock: u64,
}

#[derive(Debug)]
struct Progress {
    plan: Arc<Plan>,
    once: bool,
    finished: bool,
    /// When it came for the plan, within the last [`WINDOW`].
    began: VecDeque<SystemTime>,
    /// Its place in `order`.
    place: u64,
}

impl Table {
    fn turn(&mut self, arrival: Arrival<'_>) -> Turn {
        let Arrival { who, plan, now, .. } = arrival;
        if arrival.once {
            self.begin(who, plan, true, now);
            return Turn::Boots(Arc::clone(plan));
        }
        let repeats = self.repeats as usize;
        let Some(boot) = self.boots.get_mut(&who).filter(|_| is_boot(plan)) else {
            return self.first(who, plan, now);
        };
        boot.began.retain(|began| since(*began, now) < WINDOW);
        let last = boot.began.back().copied();
        let is_same =
            last.is_some_and(|last| since(last, now) < SAME_BOOT && !(arrival.has_loaded)(last));
        if boot.once {
            return match (is_same, last, &plan.boot) {
                (true, ..) => Turn::Boots(Arc::clone(&boot.plan)),
                (false, Some(_), Boot::Usual) => Turn::Disk(done("what it was to boot once")),
                _ => self.first(who, plan, now),
            };
        }
        if !boot.is_of(plan) || !plan.required {
            return self.first(who, plan, now);
        }
        if boot.finished {
            return Turn::Disk(done(&plan.by));
        }
        if !is_same {
            if repeats > 0 && boot.began.len() >= repeats {
                return Turn::Disk(repeated(boot.began.len(), &plan.by));
            }
            boot.began.push_back(now);
        }
        Turn::Boots(Arc::clone(plan))
    }

    /// A plan that the machine did not come for before.
    fn first(&mut self, who: Who, plan: &Arc<Plan>, now: SystemTime) -> Turn {
        if plan.required && is_boot(plan) {
            self.begin(who, plan, false, now);
        }
        Turn::Boots(Arc::clone(plan))
    }

    fn begin(&mut self, who: Who, plan: &Arc<Plan>, once: bool, now: SystemTime) {
        self.remove(who);
        if self.boots.len() >= MACHINES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.boots.remove(&oldest);
        }
        self.clock += 1;
        self.order.insert(self.clock, who);
        let progress = Progress {
            plan: Arc::clone(plan),
            once,
            finished: false,
            began: VecDeque::from([now]),
            place: self.clock,
        };
        self.boots.insert(who, progress);
    }

    fn remove(&mut self, who: Who) {
        if let Some(boot) = self.boots.remove(&who) {
            self.order.remove(&boot.place);
        }
    }
}

impl Progress {
    fn is_of(&self, plan: &Plan) -> bool {
        (&self.plan.boot, &self.plan.by) == (&plan.boot, &plan.by)
    }
}

/// Whether the plan starts something, or lets people choose.
const fn is_boot(plan: &Plan) -> bool {
    match plan.boot {
        Boot::Usual | Boot::Menu(_) | Boot::Entry(_) | Boot::Script(_) => true,
        Boot::Local | Boot::Wait(_) | Boot::Refer(_) | Boot::Refuse(_) => false,
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
