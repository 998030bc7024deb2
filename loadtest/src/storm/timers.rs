//! When which machine wants to be woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of wake-up times. A machine whose deadline moves back with each packet keeps its earlier
/// entry and is looked at then: entries are made far more seldom than deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Of each machine the entry that counts.
    armed: Vec<Option<Instant>>,
}

impl Timers {
    /// For so many machines.
    pub(super) fn new(machines: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(machines),
            armed: vec![None; machines],
        }
    }

    /// Machine `index` is to be woken no later than at `deadline`.
    pub(super) fn arm(&mut self, index: u32, deadline: Instant) {
        let Some(armed) = self.armed.get_mut(index as usize) else {
            return;
        };
        if armed.is_none_or(|earlier| deadline < earlier) {
            *armed = Some(deadline);
            self.heap.push(Reverse((deadline, index)));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A machine that is due; whether its deadline has really come it knows itself.
    pub(super) fn pop(&mut self, now: Instant) -> Option<u32> {
        while let Some(Reverse((at, index))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if let Some(armed) = self.armed.get_mut(index as usize)
                && *armed == Some(at)
            {
                *armed = None;
                return Some(index);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_deadline_of_each_machine_wakes_it_once() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut timers = Timers::new(2);
        timers.arm(0, at(5));
        timers.arm(1, at(3));
        timers.arm(0, at(2));
        timers.arm(0, at(9));
        timers.arm(7, at(1));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.pop(at(1)), None);
        assert_eq!(timers.pop(at(4)), Some(0));
        assert_eq!(timers.pop(at(4)), Some(1));
        assert_eq!(timers.pop(at(4)), None);
        // The entry for 5 s was overtaken by the one for 2 s.
        assert_eq!(timers.pop(at(10)), None);
        assert_eq!(timers.next(), None);
    }
}
