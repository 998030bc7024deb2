//! What the gates of all workers share: rules that user space changes at any time, and what they
//! counted.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use bootstorm_ebpf_shared::{COUNTERS, Count, Guid, Mac, Table};

use super::buckets::Buckets;
use crate::limits;

/// Machines that are treated apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Pay out of their own bucket alone.
    pub known: Vec<Mac>,
    /// Boot nothing.
    pub banned_macs: Vec<Mac>,
    /// Boot nothing either.
    pub banned_guids: Vec<Guid>,
}

/// The rules of every worker's gate, and its counters.
#[derive(Debug)]
pub struct GateSettings {
    rules: Arc<ArcSwap<Rules>>,
    ledgers: Box<[Arc<Ledger>]>,
    origin: Instant,
}

/// What a packet is judged by.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) table: Table,
    pub(super) machines: Arc<Machines>,
}

/// A [`Roster`], ready to be looked up.
#[derive(Debug, Default)]
pub(super) struct Machines {
    pub(super) known: HashSet<Mac>,
    pub(super) banned_macs: HashSet<Mac>,
    pub(super) banned_guids: HashSet<Guid>,
}

/// What one worker writes down: anybody may look at any time.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) machines: Buckets,
    pub(super) known: Buckets,
    pub(super) relays: Buckets,
    pub(super) classes: Buckets,
    counters: Box<[Counter]>,
}

#[derive(Debug, Default)]
struct Counter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl GateSettings {
    /// The usual table and no machines, for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            rules: Arc::default(),
            ledgers: (0..workers)
                .map(|worker| Arc::new(Ledger::new(worker < limits::DHCP_WORKERS)))
                .collect(),
            origin: Instant::now(),
        }
    }

    /// Rates and rules from the next packet on.
    pub fn set_table(&self, table: Table) {
        self.change(|rules| rules.table = table);
    }

    /// Known and banned machines from the next packet on.
    pub fn set_roster(&self, roster: Roster) {
        let machines = Arc::new(Machines {
            known: roster.known.into_iter().collect(),
            banned_macs: roster.banned_macs.into_iter().collect(),
            banned_guids: roster.banned_guids.into_iter().collect(),
        });
        self.change(|rules| rules.machines = Arc::clone(&machines));
    }

    /// What was judged here, by [`counter`](bootstorm_ebpf_shared::counter).
    #[must_use]
    pub fn counts(&self) -> [Count; COUNTERS] {
        let mut sum = [Count::default(); COUNTERS];
        for ledger in &self.ledgers {
            for (count, counter) in sum.iter_mut().zip(&ledger.counters) {
                count.packets += counter.packets.load(Relaxed);
                count.bytes += counter.bytes.load(Relaxed);
            }
        }
        sum
    }

    /// Packets of this machine that were refused because it asked too often, as far as it is
    /// remembered.
    #[must_use]
    pub fn refused(&self, mac: &Mac) -> u64 {
        let key = super::mac_key(mac);
        let tables =
            |ledger: &Arc<Ledger>| ledger.machines.refused(key) + ledger.known.refused(key);
        self.ledgers.iter().map(tables).sum()
    }

    pub(super) fn rules(&self) -> Arc<ArcSwap<Rules>> {
        Arc::clone(&self.rules)
    }

    /// A worker's own; an empty one for a worker that nobody counted on.
    pub(super) fn ledger(&self, worker: usize) -> Arc<Ledger> {
        let own = self.ledgers.get(worker).cloned();
        own.unwrap_or_else(|| Arc::new(Ledger::new(false)))
    }

    /// Workers among which rates are divided.
    pub(super) fn workers(&self) -> u32 {
        self.ledgers.len() as u32
    }

    /// Nanoseconds on the clock of all buckets.
    pub(super) fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_nanos() as u64
    }

    #[cfg(test)]
    pub(super) const fn origin(&self) -> Instant {
        self.origin
    }

    /// Buckets that there is room for.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        let tables = |l: &Arc<Ledger>| {
            l.machines.slots() + l.known.slots() + l.relays.slots() + l.classes.slots()
        };
        self.ledgers.iter().map(tables).sum()
    }

    fn change(&self, change: impl Fn(&mut Rules)) {
        self.rules.rcu(|rules| {
            let mut rules = Rules::clone(rules);
            change(&mut rules);
            rules
        });
    }
}

impl Rules {
    pub(super) fn knows(&self, mac: Option<&Mac>) -> bool {
        mac.is_some_and(|mac| self.machines.known.contains(mac))
    }
}

impl Ledger {
    fn new(dhcp: bool) -> Self {
        let seed = RandomState::new().hash_one(0);
        let size = |entries| if dhcp { entries } else { 1 };
        Self {
            machines: Buckets::new(size(limits::DHCP_MACHINES), seed),
            known: Buckets::new(size(limits::DHCP_KNOWN), seed),
            relays: Buckets::new(size(limits::DHCP_RELAYS), seed),
            classes: Buckets::new(limits::RATED_CLASSES, seed),
            counters: (0..COUNTERS).map(|_| Counter::default()).collect(),
        }
    }

    /// Counts a packet. Only the worker that owns the ledger does.
    pub(super) fn count(&self, counter: u32, bytes: usize) {
        if let Some(counter) = self.counters.get(counter as usize) {
            add(&counter.packets, 1);
            add(&counter.bytes, bytes as u64);
        }
    }
}

/// Cheaper than an atomic addition, and as good where nobody else writes.
fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Relaxed).wrapping_add(more), Relaxed);
}
