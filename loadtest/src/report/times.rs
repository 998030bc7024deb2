//! Percentiles and fairness.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long something took, over many machines; in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// How many machines.
    pub(crate) machines: u32,
    /// Half of them took no longer.
    pub(crate) p50: f64,
    /// 90 % of them took no longer.
    pub(crate) p90: f64,
    /// 99 % of them took no longer.
    pub(crate) p99: f64,
    /// The slowest.
    pub(crate) max: f64,
}

impl Times {
    /// Of times in milliseconds; `None` where there are none. Percentiles are nearest ranks, so
    /// each is a time that a machine really had.
    pub(crate) fn of(mut millis: Vec<u32>) -> Option<Self> {
        millis.sort_unstable();
        let max = *millis.last()?;
        let rank = |percent: usize| {
            let place = (millis.len() * percent).div_ceil(100).saturating_sub(1);
            seconds(millis.get(place).copied().unwrap_or(max))
        };
        Some(Self {
            machines: u32::try_from(millis.len()).unwrap_or(u32::MAX),
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: seconds(max),
        })
    }
}

/// Jain's fairness index: 1 when all have the same, 1/n when one has everything; `None` for
/// nobody or nothing.
pub(crate) fn jain(rates: &[f64]) -> Option<f64> {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    (squares > 0.0).then(|| rounded(sum * sum / (rates.len() as f64 * squares), 1e6))
}

/// A time in whole milliseconds, so that a report's figures are short and survive its file.
pub(super) fn seconds_of(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 1e3)
}

/// To so many parts of one.
pub(super) fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

fn seconds(millis: u32) -> f64 {
    f64::from(millis) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_a_machine_had() {
        let times = Times::of((1..=1000).rev().collect()).unwrap();
        assert_eq!(times.machines, 1000);
        assert_eq!(
            [times.p50, times.p90, times.p99, times.max],
            [0.5, 0.9, 0.99, 1.0]
        );
        let one = Times::of(vec![250]).unwrap();
        assert_eq!([one.p50, one.p99, one.max], [0.25; 3]);
        assert_eq!(Times::of(Vec::new()), None);
    }

    #[test]
    fn fairness_goes_from_all_to_one() {
        assert!((jain(&[3.0; 10]).unwrap() - 1.0).abs() < 1e-12);
        assert!((jain(&[5.0, 0.0, 0.0, 0.0]).unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(jain(&[]), None);
        assert_eq!(jain(&[0.0]), None);
    }
}
