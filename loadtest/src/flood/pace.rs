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

    /// Takes `frames` at `elapsed` after the start, or says how much too early it is.
    ///
    /// Whoever comes late may catch up a tenth of a second and no more: the rest would arrive as one
    /// burst that no flood of this rate has.
    pub(super) fn take(&mut self, frames: u64, elapsed: Duration) -> Result<(), Duration> {
        let granted =
            u64::try_from(elapsed.as_nanos() * u128::from(self.rate) / NANOS).unwrap_or(u64::MAX);
        self.spent = self.spent.max(granted.saturating_sub(self.rate / 10));
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
    fn a_slow_rate_waits_for_its_whole_batch() {
        let mut pace = Pace::new(1);
        let first = pace.take(64, Duration::ZERO);
        assert_eq!(first, Err(Duration::from_secs(64)));
    }
}
