//! A storm's course over time, in bounded room.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::event::{Phase, Transport};

/// Stretches of time that are kept apart: 5 minutes at first, longer ones when those are full.
const BUCKETS_MAX: usize = 1_200;
/// How long a stretch is at first, in milliseconds.
const WIDTH: u64 = 250;

/// What happened in stretches of one length. When there are too many, two and two become one.
#[derive(Debug)]
pub(super) struct Series {
    width: u64,
    buckets: Vec<Bucket>,
}

/// What happened in one stretch. Machines are taken out of where they were when they are switched
/// on again, so numbers may be negative.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    pub(super) bytes: [u64; 4],
    pub(super) started: i32,
    pub(super) failed: i32,
    pub(super) reached: [i32; Phase::ALL.len()],
}

/// How a storm went. Each list has a number for each stretch of time; stretch `n` begins
/// `n * every_s` seconds after the storm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// How long a stretch is.
    pub(crate) every_s: f64,
    /// Bytes of files in each stretch, by what carried them; what carried none is left out.
    pub(crate) bytes: BTreeMap<Transport, Vec<u64>>,
    /// Machines that were switched on until then.
    pub(crate) started: Vec<u32>,
    /// Machines that had failed until then.
    pub(crate) failed: Vec<u32>,
    /// Machines that had reached each phase until then; phases that none reached are left out.
    pub(crate) reached: BTreeMap<Phase, Vec<u32>>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            width: WIDTH,
            buckets: Vec::new(),
        }
    }
}

impl Series {
    /// The stretch of a moment, counted from the storm's beginning.
    pub(super) fn at(&mut self, elapsed: Duration) -> &mut Bucket {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        while millis / self.width >= BUCKETS_MAX as u64 {
            self.widen();
        }
        let place = usize::try_from(millis / self.width).unwrap_or(BUCKETS_MAX - 1);
        if place >= self.buckets.len() {
            self.buckets.resize(place + 1, Bucket::default());
        }
        &mut self.buckets[place]
    }

    /// The whole course, up to the storm's end.
    pub(super) fn course(mut self, end: Duration) -> Course {
        self.at(end);
        let (buckets, transports) = (&self.buckets, Transport::ALL);
        let bytes = transports.into_iter().enumerate().map(|(place, over)| {
            let moved: Vec<u64> = buckets.iter().map(|bucket| bucket.bytes[place]).collect();
            (over, moved)
        });
        let reached = Phase::ALL.into_iter().enumerate().map(|(place, phase)| {
            let levels = levels(buckets, |bucket| bucket.reached[place]);
            (phase, levels)
        });
        Course {
            every_s: self.width as f64 / 1e3,
            bytes: bytes
                .filter(|(_, list)| list.iter().any(|count| *count > 0))
                .collect(),
            started: levels(buckets, |bucket| bucket.started),
            failed: levels(buckets, |bucket| bucket.failed),
            reached: reached
                .filter(|(_, list)| list.iter().any(|count| *count > 0))
                .collect(),
        }
    }

    fn widen(&mut self) {
        self.width *= 2;
        self.buckets = self.buckets.chunks(2).map(merged).collect();
    }
}

impl Bucket {
    pub(super) fn bytes(&mut self, over: Transport, count: u64) {
        self.bytes[over as usize] += count;
    }
}

fn merged(pair: &[Bucket]) -> Bucket {
    let mut sum = Bucket::default();
    for bucket in pair {
        for (into, from) in sum.bytes.iter_mut().zip(bucket.bytes) {
            *into += from;
        }
        for (into, from) in sum.reached.iter_mut().zip(bucket.reached) {
            *into += from;
        }
        sum.started += bucket.started;
        sum.failed += bucket.failed;
    }
    sum
}

/// How many there were at the end of each stretch, from how many came and went in each.
fn levels(buckets: &[Bucket], change: impl Fn(&Bucket) -> i32) -> Vec<u32> {
    let summed = buckets.iter().scan(0_i32, |sum, bucket| {
        *sum += change(bucket);
        Some(u32::try_from(*sum).unwrap_or(0))
    });
    summed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_storms_get_wider_stretches_and_lose_nothing() {
        let mut series = Series::default();
        for second in 0..7_200_u64 {
            let bucket = series.at(Duration::from_secs(second));
            bucket.bytes(Transport::Http, 10);
            bucket.started += 1;
        }
        let course = series.course(Duration::from_secs(7_200));
        let http = &course.bytes[&Transport::Http];
        assert!(http.len() <= BUCKETS_MAX);
        assert_eq!(course.every_s, 8.0);
        assert_eq!(http.iter().sum::<u64>(), 72_000);
        assert_eq!(course.started.last(), Some(&7_200));
        assert!(!course.bytes.contains_key(&Transport::Tftp));
        assert!(course.reached.is_empty());
    }

    #[test]
    fn a_moment_far_away_is_no_trouble() {
        let mut series = Series::default();
        series.at(Duration::from_secs(u64::MAX / 4)).failed += 1;
        assert!(series.buckets.len() <= BUCKETS_MAX);
    }

    #[test]
    fn a_machine_that_boots_again_is_counted_once() {
        let mut series = Series::default();
        series.at(Duration::ZERO).reached[0] += 1;
        series.at(Duration::from_millis(600)).reached[0] -= 1;
        series.at(Duration::from_millis(900)).reached[0] += 1;
        let course = series.course(Duration::from_millis(900));
        assert_eq!(course.reached[&Phase::Offered], [1, 1, 0, 1]);
    }
}
