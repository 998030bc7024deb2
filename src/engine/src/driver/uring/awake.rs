//! Staying awake for an answer that comes sooner than a thread falls asleep and wakes up.
//!
//! A client without windows answers every block, and each answer is waited for. Where it is as near
//! as another core, most of that time goes into sleeping and waking. On a network, or on a machine
//! whose cores are all busy, waiting awake helps nobody: a few misses end it.

/// Whether staying awake has been worth it lately.
#[derive(Debug)]
pub(super) struct Awake {
    luck: u8,
    /// Waits since the last attempt, while there is no luck.
    slept: u8,
}

const LUCK_MAX: u8 = 32;
/// What one miss takes of it.
const MISS: u8 = 8;

impl Awake {
    pub(super) const fn new() -> Self {
        Self {
            luck: LUCK_MAX,
            slept: 0,
        }
    }

    /// Whether to stay awake this time. Without luck it is tried at every 256th wait.
    pub(super) const fn is_worth_it(&mut self) -> bool {
        if self.luck > 0 {
            return true;
        }
        self.slept = self.slept.wrapping_add(1);
        self.slept == 0
    }

    /// Something came in time, or nothing did.
    pub(super) fn note(&mut self, answered: bool) {
        self.luck = if answered {
            LUCK_MAX.min(self.luck + 1)
        } else {
            self.luck.saturating_sub(MISS)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_misses_end_it_and_it_is_tried_again_later() {
        let mut awake = Awake::new();
        for _ in 0..LUCK_MAX / MISS {
            assert!(awake.is_worth_it());
            awake.note(false);
        }
        let attempts: Vec<usize> = (0..1024).filter(|_| awake.is_worth_it()).collect();
        assert_eq!(attempts.len(), 4);
        awake.note(true);
        assert!(awake.is_worth_it());
    }

    #[test]
    fn answers_that_come_mostly_in_time_keep_it_going() {
        let mut awake = Awake::new();
        for turn in 0..10_000 {
            awake.note(turn % 10 != 0);
            assert!(awake.is_worth_it());
        }
    }
}
