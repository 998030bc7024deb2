//! What is written down of boots: when each began and how far it got, and what happened meanwhile.
//!
//! Everything goes through the spool, so the database may be away; every note has a name of its own,
//! so that one that arrives twice is there once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::Plan;
use bootstorm_policy::{BootId, Facts, Identity};
use bootstorm_store::{BootBegin, BootStep, Event, Hardware, Note, Reached, Sighting, Spool};

use crate::boots::{self, Who};
use crate::clients::{Happened, Hear, Phase};
use crate::numbers::Numbers;

/// Notes of boots and events that are written down in a row; more come at [`RATE`]. A plan that must
/// not run twice is always written down.
const BURST: u64 = 20_000;

/// Notes a second beyond the burst: 500 a second fill the history in half an hour, which a flood of
/// made-up requests can then do, and no faster.
const RATE: u64 = 500;

/// Writes down what machines do; clones share it.
#[derive(Clone, Debug)]
pub struct History {
    spool: Arc<Spool>,
    numbers: Arc<Numbers>,
    allowance: Arc<Mutex<Allowance>>,
}

impl History {
    /// Notes go into `spool`, from where somebody else delivers them.
    #[must_use]
    pub fn new(spool: Arc<Spool>) -> Self {
        Self {
            spool,
            numbers: Arc::default(),
            allowance: Arc::new(Mutex::new(Allowance::new(SystemTime::now()))),
        }
    }

    /// A machine gets the script of this boot. When it returns, a kill of the server does not lose
    /// that.
    pub(crate) fn began(&self, boot: BootId, who: Who, seen: Sighting, plan: &Plan, once: bool) {
        let task = (plan.required || once).then(|| boots::task(plan));
        if task.is_none() && !self.allows(2, seen.at) {
            return;
        }
        let began = BootBegin {
            id: name(boot.0),
            machine: who.machine,
            mac: seen.mac,
            guid: seen.guid,
            serial: seen.hardware.serial.clone(),
            entry: plan.boot.name().into_owned(),
            decider: plan.by.clone(),
            task,
            once,
            at: seen.at,
        };
        self.spool.put(&[Note::Seen(seen), Note::Began(began)]);
    }

    /// The machine reports that this boot is done. When it returns, a kill of the server does not
    /// lose that.
    pub(crate) fn finished(&self, boot: BootId, at: SystemTime) {
        self.spool
            .put(&[stepped(boot.0, Reached::Finished, None, at)]);
    }

    fn allows(&self, notes: u64, now: SystemTime) -> bool {
        let allowance = self.allowance.lock();
        let is_allowed = allowance
            .unwrap_or_else(PoisonError::into_inner)
            .take(notes, now);
        if !is_allowed {
            self.spool.give_up(notes);
        }
        is_allowed
    }
}

/// What a machine that asks for its script tells of itself.
pub(crate) fn sighting(facts: &Facts, identity: &Identity, at: SystemTime) -> Sighting {
    Sighting {
        mac: identity.mac,
        guid: identity.guid,
        arch: facts.arch(),
        hardware: Hardware {
            serial: identity.serial.clone(),
            asset: facts.asset.clone(),
            manufacturer: facts.manufacturer.clone(),
            product: facts.product.clone(),
        },
        phase: Phase::Script.name().to_owned(),
        has_booted: true,
        at,
    }
}

impl Hear for History {
    /// Writes down what happens to machines that something was sent to. Those that only ask may be
    /// made up, by the thousand.
    fn hear(&self, happened: &[Happened]) {
        let kept = happened.iter().filter(|it| it.is_of_boot());
        let mut notes = Vec::new();
        for it in kept {
            if !self.allows(1, it.at) {
                continue;
            }
            let boot = it.boot.map(name);
            if let (Some(boot), Some(reached)) = (it.boot, reached(it)) {
                notes.push(stepped(boot, reached, Some(it.bytes), it.at));
            }
            notes.push(Note::Happened(Event {
                id: name(self.numbers.next()),
                at: it.at,
                mac: it.mac,
                machine: None,
                boot,
                kind: it.kind.to_owned(),
                code: it.code.map(str::to_owned),
                text: it.text.clone(),
            }));
        }
        if !notes.is_empty() {
            self.spool.put(&notes);
        }
    }
}

/// How far that brings its boot.
fn reached(happened: &Happened) -> Option<Reached> {
    match (happened.kind, happened.phase) {
        ("started", Phase::Loading) => Some(Reached::Loading),
        ("booted", _) => Some(Reached::Loaded),
        ("done", _) => Some(Reached::Finished),
        ("broken" | "refused" | "failed", Phase::Failed) => Some(Reached::Failed {
            code: happened.code.unwrap_or_default().to_owned(),
            text: happened.text.clone(),
        }),
        _ => None,
    }
}

fn stepped(boot: u64, reached: Reached, bytes: Option<u64>, at: SystemTime) -> Note {
    Note::Stepped(BootStep {
        id: name(boot),
        reached,
        bytes,
        at,
    })
}

/// A boot's number, as the store and the API have it.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}")
}

/// A bucket that fills up by [`RATE`] a second to at most [`BURST`].
#[derive(Debug)]
struct Allowance {
    left: u64,
    filled: SystemTime,
}

impl Allowance {
    const fn new(now: SystemTime) -> Self {
        Self {
            left: BURST,
            filled: now,
        }
    }

    fn take(&mut self, notes: u64, now: SystemTime) -> bool {
        // A clock that was set back fills nothing until it has caught up.
        let passed = now.duration_since(self.filled).unwrap_or(Duration::ZERO);
        let filled = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let filled = filled.saturating_mul(RATE) / 1000;
        if filled > 0 {
            self.left = self.left.saturating_add(filled).min(BURST);
            self.filled = now;
        }
        let is_enough = self.left >= notes;
        if is_enough {
            self.left -= notes;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests;
