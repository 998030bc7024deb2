//! Which machines are fed, and in which order the others follow.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::limits;

/// What a machine is told that wants to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is its turn.
    Now,
    /// Others are before it.
    Later(Place),
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub number: usize,
    /// Machines that wait, this one included.
    pub of: usize,
    /// How long it will probably take, once enough machines have been fed to tell.
    pub about: Option<Duration>,
}

/// Machines that are fed and machines that wait, by address.
#[derive(Debug, Default)]
pub(super) struct Queue {
    most: Option<NonZeroU32>,
    fed: HashMap<IpAddr, Fed>,
    waiting: BTreeMap<u64, Waiting>,
    numbers: HashMap<IpAddr, u64>,
    next_number: u64,
    tidied: Option<Instant>,
    meter: Meter,
}

#[derive(Debug)]
struct Fed {
    bodies: u32,
    /// When it was admitted or its last body ended.
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    machine: IpAddr,
    since: Instant,
    asked: Instant,
}

/// How often a machine of the queue is admitted.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    admissions: u32,
    last: Option<Instant>,
    interval: Duration,
}

impl Queue {
    pub(super) fn limit(&mut self, most: Option<NonZeroU32>) {
        self.most = most;
        if most.is_none() {
            self.waiting.clear();
            self.numbers.clear();
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// A machine wants to be fed. One whose turn has come has its place from now on; the others are
    /// to ask again within [`limits::QUEUE_FORGETS`] or are forgotten. The second value is how long
    /// a machine waited that is admitted now.
    pub(super) fn ask(&mut self, machine: IpAddr, now: Instant) -> (Turn, Option<Duration>) {
        self.tidy(now);
        let Some(most) = self.most else {
            return (Turn::Now, None);
        };
        if let Some(fed) = self.fed.get_mut(&machine) {
            fed.since = fed.since.max(now);
            return (Turn::Now, None);
        }
        let number = self.numbers.get(&machine).copied();
        let before = match number {
            Some(number) => self.waiting.range(..number).count(),
            None => self.waiting.len(),
        };
        let free = (most.get() as usize).saturating_sub(self.fed.len());
        if before < free {
            let waited = self.admit(machine, number, now);
            return (Turn::Now, waited);
        }
        self.wait(machine, number, now);
        let place = Place {
            number: before + 1,
            of: self.waiting.len().max(before + 1),
            about: self.meter.estimate(before + 1 - free),
        };
        (Turn::Later(place), None)
    }

    /// A body begins, asked for or not.
    pub(super) fn begin(&mut self, machine: IpAddr, now: Instant) {
        if let Some(number) = self.numbers.remove(&machine) {
            self.waiting.remove(&number);
        }
        let fed = self.fed.entry(machine).or_insert(Fed {
            bodies: 0,
            since: now,
        });
        fed.bodies += 1;
    }

    /// A body ended; the machine keeps its place for a while, for the next.
    pub(super) fn end(&mut self, machine: IpAddr, now: Instant) {
        if let Some(fed) = self.fed.get_mut(&machine) {
            fed.bodies = fed.bodies.saturating_sub(1);
            fed.since = fed.since.max(now);
        }
    }

    pub(super) fn fed(&self) -> usize {
        self.fed.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn admit(&mut self, machine: IpAddr, number: Option<u64>, now: Instant) -> Option<Duration> {
        let fed = Fed {
            bodies: 0,
            since: now,
        };
        self.fed.insert(machine, fed);
        self.numbers.remove(&machine);
        let waiting = self.waiting.remove(&number?)?;
        self.meter.admitted(now);
        if self.waiting.is_empty() {
            self.meter.last = None;
        }
        Some(now.saturating_duration_since(waiting.since))
    }

    fn wait(&mut self, machine: IpAddr, number: Option<u64>, now: Instant) {
        if let Some(number) = number {
            if let Some(waiting) = self.waiting.get_mut(&number) {
                waiting.asked = now;
            }
        } else if self.waiting.len() < limits::QUEUE {
            let waiting = Waiting {
                machine,
                since: now,
                asked: now,
            };
            self.waiting.insert(self.next_number, waiting);
            self.numbers.insert(machine, self.next_number);
            self.next_number += 1;
        }
    }

    /// Forgets who is gone; looks only now and then, because it looks at everyone.
    fn tidy(&mut self, now: Instant) {
        let since = |at: Instant| now.saturating_duration_since(at);
        if self
            .tidied
            .is_some_and(|at| since(at) < limits::QUEUE_TIDIES)
        {
            return;
        }
        self.tidied = Some(now);
        self.fed
            .retain(|_, fed| fed.bodies > 0 || since(fed.since) < limits::PLACE_KEPT);
        let numbers = &mut self.numbers;
        self.waiting.retain(|_, waiting| {
            let stays = since(waiting.asked) < limits::QUEUE_FORGETS;
            if !stays {
                numbers.remove(&waiting.machine);
            }
            stays
        });
    }
}

impl Meter {
    /// Admissions that it takes to tell.
    const ENOUGH: u32 = 8;

    fn admitted(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let interval = now.saturating_duration_since(last);
            self.interval = match self.admissions {
                0 => interval,
                _ => self.interval * 7 / 8 + interval / 8,
            };
            self.admissions = self.admissions.saturating_add(1);
        }
        self.last = Some(now);
    }

    fn estimate(&self, before: usize) -> Option<Duration> {
        let before = u32::try_from(before).ok()?;
        (self.admissions >= Self::ENOUGH).then(|| self.interval.saturating_mul(before))
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
