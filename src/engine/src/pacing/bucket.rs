//! How much of a body may leave now.

use std::time::{Duration, Instant};

/// What leaves at once takes this long at the client's rate, where a block does not take longer.
const BURST: Duration = Duration::from_millis(10);
/// What leaves at once is never more: one send with UDP segmentation.
const BURST_BYTES: u64 = 64 << 10;

/// A token bucket, kept as the time up to which everything has been paid for.
///
/// It begins empty and holds two bursts, so that over any time a client gets at most what its rate
/// gives, and two bursts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    paid: Instant,
}

impl Bucket {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Units of `unit` bytes that may leave now at `rate` bytes a second, and when the next burst
    /// may when all of them do.
    pub(crate) fn allowance(&mut self, rate: u64, unit: u64, now: Instant) -> (u64, Instant) {
        let (rate, unit) = (rate.max(1), unit.max(1));
        let burst = burst(rate, unit);
        if let Some(earliest) = now.checked_sub(time(2 * burst, rate)) {
            self.paid = self.paid.max(earliest);
        }
        let unspent = now.saturating_duration_since(self.paid).as_nanos();
        let bytes = unspent * u128::from(rate) / NANOS;
        let units = u64::try_from(bytes / u128::from(unit)).unwrap_or(u64::MAX);
        let next = self.paid + time(units.saturating_mul(unit).saturating_add(burst), rate);
        (units, next)
    }

    /// So many bytes left. More than was allowed is paid back before anything else leaves.
    pub(crate) fn take(&mut self, bytes: u64, rate: u64) {
        self.paid += time(bytes, rate.max(1));
    }
}

/// What leaves at once at this rate: whole units, at least one.
fn burst(rate: u64, unit: u64) -> u64 {
    let bytes = (rate / (1000 / BURST.as_millis() as u64)).min(BURST_BYTES);
    (bytes / unit).max(1) * unit
}

const NANOS: u128 = 1_000_000_000;

/// How long bytes take, rounded up; never more than an hour.
fn time(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * NANOS).div_ceil(u128::from(rate));
    let hour = Duration::from_secs(3600);
    u64::try_from(nanos).map_or(hour, |n| Duration::from_nanos(n).min(hour))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slow_client_gets_single_blocks_and_a_fast_one_whole_sends() {
        assert_eq!(burst(16_000, 1468), 1468);
        assert_eq!(burst(1_000_000, 1468), 8808);
        assert_eq!(burst(125_000_000, 1468), 44 * 1468);
        assert_eq!(burst(16_000, 65_464), 65_464);
    }

    #[test]
    fn what_was_sent_too_much_is_paid_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.take(50_000, 100_000);
        let (units, next) = bucket.allowance(100_000, 1000, start);
        assert_eq!(units, 0);
        assert_eq!(next, start + Duration::from_millis(510));
        let (units, _) = bucket.allowance(100_000, 1000, next);
        assert_eq!(units, 1);
    }

    proptest! {
        /// A client that takes whatever it is given, at whatever times it asks, gets its rate: no
        /// more than two bursts beyond it over any time, and all of it when it asks in time.
        #[test]
        fn over_any_time_no_more_than_the_rate_and_two_bursts(
            rate in 16_000u64..200_000_000,
            unit in 8u64..9000,
            pauses in proptest::collection::vec(proptest::option::of(0u64..30_000_000), 1..300),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(start);
            let mut now = start;
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            let mut punctual = true;
            for pause in pauses {
                let (units, next) = bucket.allowance(rate, unit, now);
                prop_assert!(next > now || units > 0);
                bucket.take(units * unit, rate);
                sent.push((now, units * unit));
                punctual &= pause.is_none();
                now = pause.map_or(next.max(now), |nanos| now + Duration::from_nanos(nanos));
            }
            let slack = 2 * burst(rate, unit) + unit;
            for first in 0..sent.len() {
                let mut bytes = 0;
                for (at, more) in &sent[first..] {
                    bytes += more;
                    let lasted = at.duration_since(sent[first].0).as_secs_f64();
                    let most = lasted * rate as f64 + slack as f64;
                    prop_assert!(bytes as f64 <= most + 1.0, "{bytes} > {most}");
                }
            }
            if punctual {
                let bytes: u64 = sent.iter().map(|(_, bytes)| bytes).sum();
                let lasted = sent[sent.len() - 1].0.duration_since(start).as_secs_f64();
                prop_assert!(bytes as f64 >= lasted * rate as f64 - slack as f64);
            }
        }
    }
}
