//! Token buckets in sixteen bytes, as the generic cell rate algorithm counts them (ITU-T I.371,
//! annex A): when everything taken so far will have been paid for.

/// How much may pass, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rate {
    /// Time that one packet pays for; 0 sets no limit.
    pub every: u64,
    /// Time that may be used up at once.
    pub ahead: u64,
}

/// What one machine, relay or class has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// When everything taken will have been paid for, on the clock of `now`.
    pub paid: u64,
    /// Packets that found it empty.
    pub refused: u64,
}

impl Rate {
    /// Everything passes.
    pub const UNLIMITED: Self = Self { every: 0, ahead: 0 };

    /// Nothing passes.
    pub const NOTHING: Self = Self {
        every: u64::MAX,
        ahead: 0,
    };

    /// So many packets a second in the long run, and `burst` at once after a quiet time; at least 1
    /// of each is taken.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let every = match SECOND.checked_div(per_second as u64) {
            Some(every) => every,
            None => SECOND,
        };
        let burst = if burst == 0 { 1 } else { burst as u64 };
        Self {
            every,
            ahead: every.saturating_mul(burst),
        }
    }

    /// What is owed at `now` when everything so far is paid for at `paid`. A rate that was slower a
    /// moment ago leaves no debt beyond the new one's.
    #[must_use]
    #[inline]
    pub const fn owed(self, paid: u64, now: u64) -> u64 {
        let most = now.saturating_add(self.ahead);
        if paid < now {
            now
        } else if paid > most {
            most
        } else {
            paid
        }
    }

    /// Whether one more packet at `now` may pass, on top of what is [`owed`](Self::owed).
    #[must_use]
    #[inline]
    pub const fn admits(self, owed: u64, now: u64) -> bool {
        owed.saturating_add(self.every).saturating_sub(now) <= self.ahead
    }

    /// The share of one of `parts` that enforce the rate independently.
    #[must_use]
    pub const fn shared_by(self, parts: u32) -> Self {
        let parts = if parts == 0 { 1 } else { parts as u64 };
        let every = self.every.saturating_mul(parts);
        Self {
            every,
            ahead: if self.ahead < every {
                every
            } else {
                self.ahead
            },
        }
    }
}

impl Bucket {
    /// Takes one packet at `now`, in nanoseconds of any clock that does not go back; `false` when
    /// the bucket is empty.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: u64) -> bool {
        if rate.every == 0 {
            return true;
        }
        self.paid = rate.owed(self.paid, now);
        if !rate.admits(self.paid, now) {
            self.refused = self.refused.wrapping_add(1);
            return false;
        }
        self.paid = self.paid.saturating_add(rate.every);
        true
    }
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(4, 16);
        let mut bucket = Bucket::default();
        let passed =
            |bucket: &mut Bucket, now, tries| (0..tries).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(passed(&mut bucket, 10 * SECOND, 100), 16);
        assert_eq!(bucket.refused, 84);
        assert_eq!(passed(&mut bucket, 11 * SECOND, 100), 4);
        assert_eq!(passed(&mut bucket, 12 * SECOND, 3), 3);
        assert_eq!(passed(&mut bucket, 3600 * SECOND, 100), 16);
    }

    #[test]
    fn a_rate_of_nothing_is_taken_for_one_a_second() {
        assert_eq!(Rate::new(0, 0), Rate::new(1, 1));
        let mut bucket = Bucket::default();
        assert!(bucket.take(Rate::new(0, 0), SECOND));
        assert!(!bucket.take(Rate::new(0, 0), SECOND));
        assert!(bucket.take(Rate::new(0, 0), 2 * SECOND));
    }

    #[test]
    fn without_a_limit_everything_passes_whatever_was_owed() {
        let mut bucket = Bucket {
            paid: u64::MAX,
            refused: 0,
        };
        assert!(bucket.take(Rate::UNLIMITED, 0));
    }

    #[test]
    fn nothing_is_nothing_at_any_time() {
        let mut bucket = Bucket::default();
        for now in [1, SECOND, u64::MAX - 1] {
            assert!(!bucket.take(Rate::NOTHING, now));
        }
    }

    #[test]
    fn a_faster_rate_forgives_what_the_slower_one_left() {
        let mut bucket = Bucket::default();
        while bucket.take(Rate::new(1, 1000), 0) {}
        let fast = Rate::new(1000, 1000);
        assert!(!bucket.take(fast, 0));
        assert!(bucket.take(fast, SECOND));
    }

    #[test]
    fn the_ends_of_the_clock_do_not_overflow() {
        let mut bucket = Bucket::default();
        let rate = Rate::new(1, u32::MAX);
        for now in [0, 1, u64::MAX - 1, u64::MAX] {
            let _ = bucket.take(rate, now);
        }
    }

    #[test]
    fn shares_add_up_to_the_rate() {
        let share = Rate::new(20_000, 40_000).shared_by(4);
        let mut bucket = Bucket::default();
        let mut passed = 0;
        for micros in 0..10_000_000_u64 {
            passed += u64::from(micros % 5 == 0 && bucket.take(share, micros * 1000));
        }
        assert!((59_000..=61_000).contains(&passed), "{passed}");
    }
}
