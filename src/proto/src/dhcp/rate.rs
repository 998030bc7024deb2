//! A limit on requests per machine, in bounded memory.

use std::time::{Duration, Instant};

use crate::types::HardwareAddress;

/// How often one machine may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests at once, from a machine that was quiet.
    pub burst: u16,
    /// Requests a second in the long run; at least 1 is taken.
    pub per_second: u16,
}

impl Rate {
    /// Firmware and iPXE of one machine send some twenty packets in a boot of ten seconds, over
    /// three rounds; a machine in a loop sends hundreds.
    pub const PER_MACHINE: Self = Self {
        burst: 16,
        per_second: 4,
    };
}

/// One bucket for each machine, in a table of fixed size. A machine that finds its row taken by
/// others displaces the one that has been quiet for longest, so that a flood of made-up addresses
/// costs no memory and shuts nobody out.
#[derive(Debug)]
pub struct RateLimit {
    rows: Box<[[Option<Bucket>; ROW]]>,
    every: Duration,
    ahead: Duration,
    seed: u64,
}

/// Buckets that share a row of the table.
const ROW: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    key: u64,
    /// When the machine will have paid for all that it asked (the GCRA's theoretical arrival time).
    paid: Instant,
}

impl RateLimit {
    /// A table for about `machines` machines. `seed` should differ from start to start, so that
    /// nobody can choose addresses that share a row.
    #[must_use]
    pub fn new(machines: usize, rate: Rate, seed: u64) -> Self {
        let rows = (machines / ROW).max(1).next_power_of_two();
        let every = Duration::from_secs(1) / u32::from(rate.per_second.max(1));
        Self {
            rows: vec![[None; ROW]; rows].into_boxed_slice(),
            every,
            ahead: every * u32::from(rate.burst.max(1)),
            seed,
        }
    }

    /// One request of this machine, now: `false` when it asks too often.
    #[must_use]
    pub fn allow(&mut self, machine: &HardwareAddress, now: Instant) -> bool {
        let key = self.key(machine);
        let at = usize::try_from(key).unwrap_or_default() & (self.rows.len() - 1);
        let Some(row) = self.rows.get_mut(at) else {
            return true;
        };
        let bucket = find(row, key, now);
        let paid = bucket.paid.max(now);
        let Some(next) = paid.checked_add(self.every) else {
            return false;
        };
        let allowed = next.duration_since(now) <= self.ahead;
        if allowed {
            bucket.paid = next;
        }
        allowed
    }

    fn key(&self, machine: &HardwareAddress) -> u64 {
        let bytes = machine.bytes().iter().copied().chain([machine.htype()]);
        let mixed = bytes.fold(self.seed ^ FNV_OFFSET, |hash, byte| {
            (hash ^ u64::from(byte))
                .wrapping_mul(FNV_PRIME)
                .rotate_left(29)
        });
        // The rows go by the low bits, which multiplication mixes least.
        mixed ^ (mixed >> 32)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn find(row: &mut [Option<Bucket>; ROW], key: u64, now: Instant) -> &mut Bucket {
    let known = row
        .iter()
        .position(|slot| slot.is_some_and(|bucket| bucket.key == key));
    let fresh = Bucket { key, paid: now };
    if let Some(at) = known {
        return row[at].get_or_insert(fresh);
    }
    let (at, _) = row
        .iter()
        .enumerate()
        .min_by_key(|(_, slot)| slot.map(|bucket| bucket.paid))
        .unwrap_or((0, &None));
    row[at].insert(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddress;

    fn machine(number: u32) -> HardwareAddress {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddress::new([2, 0, a, b, c, d]).into()
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no other way to an Instant"
    )]
    fn a_flood_of_addresses_takes_no_memory_and_shuts_nobody_out() {
        let start = Instant::now();
        let mut limit = RateLimit::new(256, Rate::PER_MACHINE, 1);
        for number in 0..100_000 {
            assert!(limit.allow(&machine(number), start));
        }
        assert_eq!(limit.rows.len(), 64);
        assert!(limit.allow(&machine(7), start + Duration::from_secs(1)));
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no other way to an Instant"
    )]
    fn rows_fill_evenly() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1024, Rate::PER_MACHINE, 99);
        for number in 0..512 {
            assert!(limit.allow(&machine(number), start));
        }
        let full = limit
            .rows
            .iter()
            .filter(|row| row.iter().all(Option::is_some));
        assert!(full.count() < 80, "of 256 rows, half of the places taken");
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no other way to an Instant"
    )]
    fn time_that_goes_back_neither_panics_nor_opens_the_gate() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        let mut limit = RateLimit::new(4, Rate::PER_MACHINE, 0);
        for _ in 0..16 {
            assert!(limit.allow(&machine(1), later));
        }
        assert!(!limit.allow(&machine(1), later));
        assert!(!limit.allow(&machine(1), start));
    }
}
