//! What each body gets of its interface.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::limits;

/// The bodies of all machines at one interface.
#[derive(Debug, Default)]
pub(super) struct Link {
    terms: Arc<Terms>,
    machines: HashMap<IpAddr, Arc<AtomicU32>>,
}

/// What the bodies of an interface look at while they are sent; 0 bytes a second set no limit.
#[derive(Debug, Default)]
struct Terms {
    total: AtomicU64,
    per_machine: AtomicU64,
    machines: AtomicU32,
}

/// A body's part, which changes as others come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    terms: Arc<Terms>,
    /// Bodies of the same machine.
    bodies: Arc<AtomicU32>,
}

impl Link {
    /// Sets the limits in bytes a second.
    pub(super) fn limit(&self, total: Option<u64>, per_machine: Option<u64>) {
        let (total, per_machine) = (total.unwrap_or(0), per_machine.unwrap_or(0));
        self.terms.total.store(total, Ordering::Relaxed);
        self.terms.per_machine.store(per_machine, Ordering::Relaxed);
    }

    /// A body of `machine` begins.
    pub(super) fn begin(&mut self, machine: IpAddr) -> Share {
        let bodies = Arc::clone(self.machines.entry(machine).or_default());
        bodies.fetch_add(1, Ordering::Relaxed);
        self.count();
        Share {
            terms: Arc::clone(&self.terms),
            bodies,
        }
    }

    /// A body of `machine` ended.
    pub(super) fn end(&mut self, machine: IpAddr) {
        if let Some(bodies) = self.machines.get(&machine)
            && bodies.fetch_sub(1, Ordering::Relaxed) <= 1
        {
            self.machines.remove(&machine);
        }
        self.count();
    }

    fn count(&self) {
        let machines = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
        self.terms.machines.store(machines, Ordering::Relaxed);
    }
}

impl Share {
    /// Bytes a second for this body; `None` is as fast as it goes.
    pub(super) fn rate(&self) -> Option<u64> {
        let limit = |rate: &AtomicU64| Some(rate.load(Ordering::Relaxed)).filter(|&rate| rate > 0);
        let count = |number: &AtomicU32| u64::from(number.load(Ordering::Relaxed).max(1));
        let terms = &*self.terms;
        let even = limit(&terms.total).map(|total| total / count(&terms.machines));
        let own = match (even, limit(&terms.per_machine)) {
            (Some(even), Some(most)) => even.min(most),
            (even, most) => even.or(most)?,
        };
        Some((own / count(&self.bodies)).max(limits::SLOWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn the_total_is_divided_evenly_and_anew_when_a_machine_comes_or_goes() {
        let mut link = Link::default();
        link.limit(Some(12_000_000), None);
        let first = link.begin(machine(1));
        assert_eq!(first.rate(), Some(12_000_000));
        let second = link.begin(machine(2));
        let third = link.begin(machine(3));
        assert_eq!(first.rate(), Some(4_000_000));
        link.end(machine(2));
        drop(second);
        assert_eq!(
            (first.rate(), third.rate()),
            (Some(6_000_000), Some(6_000_000))
        );
        let again = link.begin(machine(3));
        assert_eq!(
            (first.rate(), again.rate()),
            (Some(6_000_000), Some(3_000_000))
        );
        link.end(machine(3));
        assert_eq!(third.rate(), Some(6_000_000));
    }

    #[test]
    fn the_lower_limit_counts_and_nobody_starves() {
        let mut link = Link::default();
        let share = link.begin(machine(1));
        assert_eq!(share.rate(), None);
        link.limit(None, Some(1_000_000));
        assert_eq!(share.rate(), Some(1_000_000));
        link.limit(Some(400_000), Some(1_000_000));
        assert_eq!(share.rate(), Some(400_000));
        for number in 2..200 {
            let _ = link.begin(machine(number));
        }
        assert_eq!(share.rate(), Some(limits::SLOWEST));
        link.limit(None, None);
        assert_eq!(share.rate(), None);
    }

    #[test]
    fn machines_that_are_gone_are_forgotten() {
        let mut link = Link::default();
        for number in 0..100 {
            let _ = link.begin(machine(number));
            let _ = link.begin(machine(number));
        }
        for number in 0..100 {
            link.end(machine(number));
            link.end(machine(number));
            link.end(machine(number));
        }
        assert!(link.machines.is_empty());
        assert_eq!(link.terms.machines.load(Ordering::Relaxed), 0);
    }
}
