//! How often it is said that something is away.

use std::time::{Duration, Instant};

/// How long nothing more is said of it.
const SILENCE: Duration = Duration::from_secs(60);

/// Something that may be away: said at once, each minute, and when it is back.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// It is away. Whether to say so.
    pub(crate) fn fails(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let is_due = self
            .said
            .is_none_or(|said| now.saturating_duration_since(said) >= SILENCE);
        if is_due {
            self.said = Some(now);
        }
        is_due
    }

    /// It works. How long it was away, if that was said.
    pub(crate) fn works(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        let is_said = self.said.is_some_and(|said| said >= since);
        is_said.then(|| now.saturating_duration_since(since))
    }

    /// It was away when it was last needed.
    pub(crate) const fn lasts(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_each_minute_and_in_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        assert_eq!(outage.works(at(0)), None);
        let said: Vec<_> = (10..200).filter(|s| outage.fails(at(*s))).collect();
        assert_eq!(said, [10, 70, 130, 190]);
        assert!(outage.lasts());
        assert_eq!(outage.works(at(200)), Some(Duration::from_secs(190)));
        assert_eq!(outage.works(at(201)), None);
        // What comes and goes is said once a minute, and its end not alone.
        assert!(!outage.fails(at(202)));
        assert_eq!(outage.works(at(203)), None);
        assert!(outage.fails(at(250)));
        assert_eq!(outage.works(at(251)), Some(Duration::from_secs(1)));
    }
}
