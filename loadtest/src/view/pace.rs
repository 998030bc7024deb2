//! How fast a storm goes at the moment, from one look to the next.

use std::collections::VecDeque;

use crate::report::{Counts, Snapshot};

/// What is remembered of one look.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: f64,
    bytes: Counts,
    own_cpu: f64,
    server_cpu: Option<f64>,
}

/// Remembers looks at a storm.
#[derive(Debug)]
pub(super) struct Pace {
    looks: VecDeque<Look>,
    /// Seconds of a rate.
    window: f64,
    /// Bytes a second, for each whole second so far; the last ones.
    history: VecDeque<u64>,
    second: Look,
}

/// A storm's rates over the last moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Bytes of files a second.
    pub(super) bytes: f64,
    /// The same by TFTP.
    pub(super) tftp: f64,
    /// The same by HTTP.
    pub(super) http: f64,
    /// The same by HTTPS.
    pub(super) https: f64,
    /// The share of a core that this program takes.
    pub(super) own: f64,
    /// The cores that the server takes.
    pub(super) server: Option<f64>,
}

/// Seconds of history.
const HISTORY: usize = 240;

impl Pace {
    /// For rates over so many seconds.
    pub(super) fn over(window: f64) -> Self {
        Self {
            looks: VecDeque::new(),
            window,
            history: VecDeque::new(),
            second: Look::default(),
        }
    }

    /// Takes another look.
    pub(super) fn see(&mut self, snapshot: &Snapshot) -> Rates {
        let look = Look {
            at: snapshot.elapsed,
            bytes: snapshot.bytes,
            own_cpu: snapshot.own_cpu,
            server_cpu: snapshot.server_cpu,
        };
        let since = look.at - self.second.at;
        if since >= 1.0 {
            let moved = look.bytes.sum() - self.second.bytes.sum();
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((moved as f64 / since) as u64);
            self.second = look;
        }
        self.looks.push_back(look);
        while self
            .looks
            .get(1)
            .is_some_and(|next| look.at - next.at >= self.window)
        {
            self.looks.pop_front();
        }
        let first = self.looks.front().copied().unwrap_or_default();
        look.rates(if self.looks.len() > 1 {
            first
        } else {
            Look::default()
        })
    }

    /// Bytes a second of each second so far, oldest first.
    pub(super) const fn history(&self) -> &VecDeque<u64> {
        &self.history
    }
}

impl Look {
    fn rates(self, before: Self) -> Rates {
        let time = self.at - before.at;
        if time <= 0.0 {
            return Rates::default();
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / time;
        let servers = self.server_cpu.zip(before.server_cpu);
        Rates {
            bytes: rate(self.bytes.sum(), before.bytes.sum()),
            tftp: rate(self.bytes.tftp, before.bytes.tftp),
            http: rate(self.bytes.http, before.bytes.http),
            https: rate(self.bytes.https, before.bytes.https),
            own: (self.own_cpu - before.own_cpu) / time,
            server: servers.map(|(now, then)| (now - then).max(0.0) / time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_moment() {
        let mut pace = Pace::over(1.0);
        let mut last = Rates::default();
        for quarter in 0..=40_u32 {
            let elapsed = f64::from(quarter) / 4.0;
            // Nothing for 5 s, then 1 MB in each quarter of a second.
            let http = u64::from(quarter.saturating_sub(20)) * 1_000_000;
            last = pace.see(&Snapshot {
                elapsed,
                bytes: Counts {
                    http,
                    ..Counts::default()
                },
                own_cpu: elapsed / 2.0,
                server_cpu: Some(elapsed),
                ..Snapshot::default()
            });
        }
        assert_eq!((last.bytes, last.http, last.tftp), (4e6, 4e6, 0.0));
        assert_eq!((last.own, last.server), (0.5, Some(1.0)));
        let history: Vec<u64> = pace.history().iter().copied().collect();
        assert_eq!(history[..5], [0; 5]);
        assert_eq!(history[5..], [4_000_000; 5]);
    }

    #[test]
    fn the_first_look_counts_from_the_beginning() {
        let mut pace = Pace::over(1.0);
        assert_eq!(pace.see(&Snapshot::default()), Rates::default());
        let mut pace = Pace::over(1.0);
        let rates = pace.see(&Snapshot {
            elapsed: 2.0,
            bytes: Counts {
                tftp: 10,
                ..Counts::default()
            },
            ..Snapshot::default()
        });
        assert_eq!(rates.tftp, 5.0);
    }
}
