//! Timers in a wheel: setting one costs the same however many run, and each key has at most one.

use std::time::{Duration, Instant};

/// The wheel's grain: a timer goes off at most this much late, never early.
const TICK: Duration = Duration::from_millis(1);
/// Ticks of one turn. Timers further ahead are looked at once a turn.
const TICKS: u64 = 1024;
const NONE: u32 = u32::MAX;

/// Timers of the keys 0, 1, 2...
#[derive(Debug)]
pub(crate) struct Wheel {
    origin: Instant,
    /// Everything before this tick has gone off.
    done: u64,
    heads: Box<[u32]>,
    /// One bit for each place that is not empty.
    filled: [u64; (TICKS / 64) as usize],
    timers: Vec<Timer>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    /// When, in ticks; `None` while it does not run.
    due: Option<u64>,
    /// The place that it hangs at.
    place: u64,
    next: u32,
    previous: u32,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            done: 0,
            heads: vec![NONE; TICKS as usize].into(),
            filled: [0; (TICKS / 64) as usize],
            timers: Vec::new(),
        }
    }

    /// Sets the timer of `key`, or stops it.
    pub(crate) fn set(&mut self, key: u32, at: Option<Instant>) {
        let index = key as usize;
        if index >= self.timers.len() {
            let stopped = Timer {
                due: None,
                place: 0,
                next: NONE,
                previous: NONE,
            };
            self.timers.resize(index + 1, stopped);
        }
        let due = at.map(|at| self.ticks_up(at).max(self.done));
        if self.timers[index].due == due {
            return;
        }
        self.unlink(key);
        if let Some(due) = due {
            self.link(key, due);
        }
    }

    /// When [`Wheel::expire`] is to be called next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = self.next_filled()?;
        Some(self.origin + TICK * u32::try_from(tick).unwrap_or(u32::MAX))
    }

    /// Takes a key whose time has come; call it until there is none.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<u32> {
        let current = self.ticks_down(now);
        while let Some(tick) = self.next_filled().filter(|&tick| tick <= current) {
            self.done = tick;
            let key = self.heads[(tick % TICKS) as usize];
            let due = self.timers[key as usize].due.unwrap_or(tick);
            self.unlink(key);
            if due <= current {
                return Some(key);
            }
            // Further ahead than a turn: hang it where it is seen again in time.
            self.link(key, due);
        }
        self.done = self.done.max(current);
        None
    }

    fn link(&mut self, key: u32, due: u64) {
        let tick = due.min(self.done + TICKS - 1);
        let place = tick % TICKS;
        let head = self.heads[place as usize];
        self.timers[key as usize] = Timer {
            due: Some(due),
            place,
            next: head,
            previous: NONE,
        };
        if let Some(next) = self.timers.get_mut(head as usize) {
            next.previous = key;
        }
        self.heads[place as usize] = key;
        self.filled[(place / 64) as usize] |= 1 << (place % 64);
    }

    fn unlink(&mut self, key: u32) {
        let timer = self.timers[key as usize];
        if timer.due.is_none() {
            return;
        }
        self.timers[key as usize].due = None;
        if let Some(next) = self.timers.get_mut(timer.next as usize) {
            next.previous = timer.previous;
        }
        match self.timers.get_mut(timer.previous as usize) {
            Some(previous) => previous.next = timer.next,
            None => {
                self.heads[timer.place as usize] = timer.next;
                if timer.next == NONE {
                    self.filled[(timer.place / 64) as usize] &= !(1 << (timer.place % 64));
                }
            }
        }
    }

    /// The first tick from `done` on, within a turn, whose place is not empty.
    fn next_filled(&self) -> Option<u64> {
        let words = TICKS / 64;
        let start = self.done % TICKS;
        let turn = self.done - start;
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.filled[word as usize];
            let beyond = start / 64 + step >= words;
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let place = word * 64 + u64::from(bits.trailing_zeros());
                return Some(turn + place + if beyond { TICKS } else { 0 });
            }
        }
        None
    }

    fn ticks_down(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
    }

    fn ticks_up(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expired(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut keys: Vec<u32> = std::iter::from_fn(|| wheel.expire(now)).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_timer_far_ahead_goes_off_once_and_in_time() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(3, Some(start + Duration::from_secs(255)));
        let mut now = start;
        let mut looks = 0;
        loop {
            now = wheel.next().unwrap().max(now);
            looks += 1;
            if let Some(key) = wheel.expire(now) {
                assert_eq!(key, 3);
                break;
            }
        }
        assert_eq!(now, start + Duration::from_secs(255));
        assert!(looks < 300, "{looks}");
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_timer_in_the_past_goes_off_at_once() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let now = start + Duration::from_secs(10);
        assert_eq!(wheel.expire(now), None);
        wheel.set(0, Some(start));
        assert!(wheel.next().unwrap() <= now);
        assert_eq!(expired(&mut wheel, now), [0]);
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_a_sorted_list_does(
            steps in proptest::collection::vec((0u32..20, proptest::option::of(0u64..5000), 0u64..1500), 1..200),
        ) {
            let start = Instant::now();
            let mut wheel = Wheel::new(start);
            let mut list: [Option<u64>; 20] = [None; 20];
            let mut now = 0;
            for (key, delay, pass) in steps {
                let due = delay.map(|d| now + d);
                wheel.set(key, due.map(|d| start + Duration::from_millis(d)));
                list[key as usize] = due;
                let earliest = list.iter().flatten().min();
                match (wheel.next(), earliest) {
                    (None, None) => {}
                    (Some(next), Some(&earliest)) => {
                        let earliest = start + Duration::from_millis(earliest.max(now));
                        prop_assert!(next <= earliest);
                    }
                    (next, earliest) => prop_assert!(false, "{next:?} {earliest:?}"),
                }
                now += pass;
                let keys = expired(&mut wheel, start + Duration::from_millis(now));
                let wanted: Vec<u32> = (0..20).filter(|&k| list[k as usize].is_some_and(|d| d <= now)).collect();
                prop_assert_eq!(&keys, &wanted);
                for key in wanted {
                    list[key as usize] = None;
                }
            }
        }
    }
}
