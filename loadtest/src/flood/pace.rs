//! A steady rate.

use std::time::Duration;

/// Frames that may be sent by now.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u64,
    /// Frames that the clock has granted and that were sent or forfeited.
    spent: u64,
}

impl Pace {
    /// `rate` frames a second.
    pub(super) const fn new(rate: u64) -> Self {
        Self { rate, spent: 0 }
    }

    /// Frames of a batch: a hundredth of a second's, but no more than `most`.
    pub(super) fn batch(&self, most: usize) -> usize {
        usize::try_from(self.rate / 100)
            .unwrap_or(most)
            .clamp(1, most)
    }

    /// Takes `frames` at `elapsed` after the start, or says how much too early it is.
    ///
    /// Whoever comes late may catch up a tenth of a second and no more: the rest would arrive as one
    /// burst that no flood of this rate has.
    pub(super) fn take(&mut self, frames: u64, elapsed: Duration) -> Result<(), Duration> {
        let granted =
            u64::try_from(elapsed.as_nanos() * u128::from(self.rate) / NANOS).unwrap_or(u64::MAX);
        let made_up = (self.rate / 10).max(frames);
        self.spent = self.spent.max(granted.saturating_sub(made_up));
        let after = self.spent + frames;
        if after > granted {
            let missing = u128::from(after - granted) * NANOS / u128::from(self.rate);
            return Err(Duration::from_nanos(
                u64::try_from(missing).unwrap_or(u64::MAX),
            ));
        }
        self.spent = after;
        Ok(())
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_lost_time_only_partly_made_up_for() {
        let mut pace = Pace::new(64_000);
        let second = Duration::from_secs(1);
        assert_eq!(pace.take(64, Duration::ZERO), Err(Duration::from_millis(1)));
        for batch in 1..=1000 {
            assert_eq!(pace.take(64, Duration::from_millis(batch)), Ok(()));
        }
        assert!(pace.take(64, second).is_err());
        // A whole second was slept away: 6,400 frames of it are made up for.
        let batches = (0..)
            .take_while(|_| pace.take(64, second * 2).is_ok())
            .count();
        assert_eq!(batches, 100);
    }

    #[test]
    fn slow_rates_are_kept_too() {
        for rate in [1, 9, 64, 99, 500, 639, 640, 6400] {
            let mut pace = Pace::new(rate);
            let batch = pace.batch(64);
            assert!(batch as u64 <= rate.div_ceil(100), "{rate}: {batch}");
            let (mut now, mut sent) = (Duration::ZERO, 0);
            while now < Duration::from_secs(10) {
                match pace.take(batch as u64, now) {
                    Ok(()) => sent += batch as u64,
                    // Whoever sleeps wakes up a little late.
                    Err(early) => now += early + Duration::from_micros(60),
                }
            }
            let wanted = rate * 10;
            assert!(sent <= wanted + rate / 100, "{rate}: {sent}");
            assert!(sent * 100 >= wanted * 99 - 100, "{rate}: {sent}");
        }
    }
}
