//! Buckets by key in a table of fixed size. One worker writes it, anybody may look.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bootstorm_ebpf_shared::{Bucket, Rate};

/// A key that finds its row taken by others displaces the one that has been quiet for longest, so
/// that a flood of made-up keys costs no memory and shuts nobody out.
#[derive(Debug)]
pub(super) struct Buckets {
    rows: Box<[[Slot; ROW]]>,
    seed: u64,
}

/// Buckets that share a row.
const ROW: usize = 4;

/// A bucket and whose it is; key 0 is nobody's. Only ever written by the worker that owns the
/// table: nobody else depends on the order of the three.
#[derive(Debug, Default)]
struct Slot {
    key: AtomicU64,
    paid: AtomicU64,
    refused: AtomicU64,
}

impl Buckets {
    /// A table for `entries` keys, rounded up to a power of two. `seed` should differ from start to
    /// start, so that nobody can choose keys that share a row.
    pub(super) fn new(entries: usize, seed: u64) -> Self {
        let rows = (entries / ROW).max(1).next_power_of_two();
        Self {
            rows: (0..rows).map(|_| Default::default()).collect(),
            seed,
        }
    }

    /// Takes a packet out of a bucket, which is made when it is first needed.
    pub(super) fn take(&self, key: u64, rate: Rate, now: u64) -> bool {
        let Some(row) = self.row(key) else {
            return true;
        };
        let (slot, mut bucket) = match row.iter().find(|slot| slot.is(key)) {
            Some(slot) => (slot, slot.bucket()),
            None => (quietest(row), Bucket::default()),
        };
        let passes = bucket.take(rate, now);
        slot.key.store(key, Relaxed);
        slot.paid.store(bucket.paid, Relaxed);
        slot.refused.store(bucket.refused, Relaxed);
        passes
    }

    /// Packets of a key that found its bucket empty, for as long as it is remembered.
    pub(super) fn refused(&self, key: u64) -> u64 {
        let slot = self.row(key).and_then(|row| row.iter().find(|s| s.is(key)));
        slot.map_or(0, |slot| slot.refused.load(Relaxed))
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.rows.len() * ROW
    }

    fn row(&self, key: u64) -> Option<&[Slot; ROW]> {
        // Rows go by the upper half: the low bits of a product depend on the low bits alone.
        let mixed = (key ^ self.seed).wrapping_mul(GOLDEN);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(GOLDEN) >> 32;
        self.rows.get(mixed as usize & (self.rows.len() - 1))
    }
}

impl Slot {
    fn is(&self, key: u64) -> bool {
        self.key.load(Relaxed) == key
    }

    fn bucket(&self) -> Bucket {
        Bucket {
            paid: self.paid.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

fn quietest(row: &[Slot; ROW]) -> &Slot {
    let [first, others @ ..] = row;
    others.iter().fold(first, |quietest, slot| {
        if slot.paid.load(Relaxed) < quietest.paid.load(Relaxed) {
            slot
        } else {
            quietest
        }
    })
}

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(4, 16);
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_flood_of_keys_takes_no_memory_and_shuts_nobody_out() {
        let buckets = Buckets::new(256, 1);
        for key in 1..=100_000 {
            assert!(buckets.take(key, RATE, SECOND));
        }
        assert_eq!(buckets.rows.len(), 64);
        assert!(buckets.take(7, RATE, 2 * SECOND));
    }

    #[test]
    fn whoever_keeps_asking_is_remembered_among_those_who_ask_once() {
        let buckets = Buckets::new(256, 1);
        while buckets.take(7, RATE, SECOND) {}
        for key in 1_000..2_000 {
            assert!(buckets.take(key, RATE, SECOND));
            assert!(!buckets.take(7, RATE, SECOND));
        }
        assert_eq!(buckets.refused(7), 1001);
        assert_eq!(buckets.refused(8), 0);
    }

    #[test]
    fn rows_fill_evenly() {
        for seed in [0, 99, u64::MAX] {
            let buckets = Buckets::new(1024, seed);
            for key in 1..=512 {
                assert!(buckets.take(key << 20, RATE, SECOND));
            }
            let full = |row: &&[Slot; ROW]| row.iter().all(|slot| !slot.is(0));
            let full = buckets.rows.iter().filter(full).count();
            assert!(full < 80, "of 256 rows, half of the places taken: {full}");
        }
    }

    #[test]
    fn time_that_goes_back_neither_panics_nor_opens_the_gate() {
        let buckets = Buckets::new(4, 0);
        while buckets.take(1, RATE, 60 * SECOND) {}
        assert!(!buckets.take(1, RATE, 60 * SECOND));
        // What is owed is cut to one burst: the clock was wrong before.
        assert!(!buckets.take(1, RATE, SECOND));
    }
}
