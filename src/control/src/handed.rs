//! What scripts of late were made from, so that the files that they name are made from the same.
//!
//! Between a script and its files a one-shot is taken, and iPXE tells what it knows of the machine
//! with its script alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bootstorm_policy::decision::Decision;
use bootstorm_policy::{BootId, Facts};

/// Bytes of what machines have told that are kept; beyond, the oldest make room.
const BYTES_MAX: usize = 32 << 20;

/// Of each, besides what it has told.
const EACH: usize = 2048;

/// What the scripts of late were made from, by boot; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed {
    table: Arc<Mutex<Table>>,
}

/// What one script was made from.
#[derive(Debug)]
pub(crate) struct Makings {
    pub(crate) facts: Facts,
    pub(crate) decision: Decision,
}

impl Handed {
    /// The script of a boot was made from this.
    pub(crate) fn put(&self, boot: BootId, makings: Makings) {
        self.table().put(boot, makings);
    }

    /// What the script of a boot was made from; `None` when that was too long ago.
    pub(crate) fn get(&self, boot: BootId) -> Option<Arc<Makings>> {
        self.table().of_boot.get(&boot).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is sound between any two of its steps.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Table {
    of_boot: HashMap<BootId, Arc<Makings>>,
    /// In the order in which they came.
    order: VecDeque<BootId>,
    bytes: usize,
}

impl Table {
    fn put(&mut self, boot: BootId, makings: Makings) {
        self.bytes += size(&makings);
        match self.of_boot.insert(boot, Arc::new(makings)) {
            Some(before) => self.bytes -= size(&before),
            None => self.order.push_back(boot),
        }
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            let removed = self.of_boot.remove(&oldest);
            self.bytes -= removed.map_or(0, |removed| size(&removed));
        }
    }
}

fn size(makings: &Makings) -> usize {
    let told = makings.facts.other.iter();
    EACH + told
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use bootstorm_policy::decision::{Outcome, Plan};

    use super::*;

    fn makings(told: usize) -> Makings {
        Makings {
            facts: Facts {
                other: vec![(String::new(), "x".repeat(told))],
                ..Facts::default()
            },
            decision: Decision {
                outcome: Outcome::Serve(Arc::new(Plan::default())),
                steps: Vec::new(),
                until: None,
                known: false,
            },
        }
    }

    #[test]
    fn the_oldest_make_room_and_the_same_boot_takes_its_own() {
        let handed = Handed::default();
        let fits = (BYTES_MAX / (EACH + 65536)) as u64;
        for boot in 0..fits {
            handed.put(BootId(boot), makings(65536));
        }
        assert!(handed.get(BootId(0)).is_some());
        handed.put(BootId(fits - 1), makings(65536));
        assert!(handed.get(BootId(0)).is_some(), "the same boot once more");
        handed.put(BootId(fits), makings(65536));
        assert!(handed.get(BootId(0)).is_none());
        assert!(handed.get(BootId(1)).is_some());
        assert!(handed.get(BootId(fits)).is_some());
        let table = handed.table();
        assert_eq!(table.order.len(), table.of_boot.len());
        let bytes: usize = table.of_boot.values().map(|makings| size(makings)).sum();
        assert_eq!(table.bytes, bytes);
    }
}
