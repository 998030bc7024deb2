//! How often one machine is answered.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

/// Machines that are remembered at a time.
const MACHINES: usize = 4096;
/// Requests in a row that are answered.
const BURST: u8 = 10;
/// One more every so often.
const REFILL: Duration = Duration::from_millis(250);

/// A token bucket for each machine, in a table of fixed size: a flood of invented machines takes
/// places from others, which then begin with full buckets, and never grows.
pub(crate) struct Limiter {
    hasher: RandomState,
    table: Box<[Bucket]>,
}

#[derive(Clone, Copy)]
struct Bucket {
    who: u64,
    tokens: u8,
    filled: Option<Instant>,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        let empty = Bucket {
            who: 0,
            tokens: BURST,
            filled: None,
        };
        Self {
            hasher: RandomState::new(),
            table: vec![empty; MACHINES].into(),
        }
    }

    /// Takes a token of `who`; `false` when it has none left.
    pub(crate) fn admit(&mut self, who: impl Hash, now: Instant) -> bool {
        let who = self.hasher.hash_one(who);
        let bucket = &mut self.table[who as usize % MACHINES];
        match bucket.filled {
            Some(filled) if bucket.who == who => {
                let passed = now.saturating_duration_since(filled).as_millis();
                let more = passed / REFILL.as_millis();
                if more > 0 {
                    let more = u8::try_from(more).unwrap_or(BURST);
                    bucket.tokens = bucket.tokens.saturating_add(more).min(BURST);
                    bucket.filled = Some(now);
                }
            }
            _ => {
                *bucket = Bucket {
                    who,
                    tokens: BURST,
                    filled: Some(now),
                };
            }
        }
        let admitted = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_a_flood_is_not_and_patience_helps() {
        let mut limiter = Limiter::new();
        let now = Instant::now();
        let admitted = (0..1000).filter(|_| limiter.admit(7u8, now)).count();
        assert_eq!(admitted, usize::from(BURST));
        assert!(limiter.admit(8u8, now));
        assert!(limiter.admit(7u8, now + REFILL));
        assert!(!limiter.admit(7u8, now + REFILL));
        let later = now + Duration::from_secs(3600);
        let admitted = (0..1000).filter(|_| limiter.admit(7u8, later)).count();
        assert_eq!(admitted, usize::from(BURST));
    }
}
