//! How much is sent at once and how long an answer is waited for.
//!
//! A client that negotiated a window acknowledges only whole windows (RFC 7440, section 4), so a
//! server that sends less and waits would wait for the client's timer. What a lossy client gets is
//! therefore the same window in smaller bursts, with a pause of one round trip between them: after
//! each loss the burst is halved, and it grows back while nothing is lost.

use std::time::{Duration, Instant};

/// The shortest time before anything is sent again unasked.
const RTO_MIN: Duration = Duration::from_millis(200);
/// Before a round trip has been measured.
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// Backing off ends here.
const RTO_MAX: Duration = Duration::from_secs(5);
/// A pause shorter than this is not worth a timer.
const PAUSE_MIN: Duration = Duration::from_micros(500);
/// The pause when no round trip could be measured.
const PAUSE_UNMEASURED: Duration = Duration::from_millis(50);
/// Bursts of clean blocks after which the burst grows by one block.
const CLEAN_BURSTS: u64 = 6;

/// Smoothed round-trip time, computed as RFC 6298, section 2 does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    estimate: Option<(Duration, Duration)>,
    shortest: Option<Duration>,
    guessed: bool,
}

impl RoundTrip {
    pub(super) fn sample(&mut self, measured: Duration) {
        if std::mem::take(&mut self.guessed) {
            (self.estimate, self.shortest) = (None, None);
        }
        self.shortest = Some(self.shortest.map_or(measured, |known| known.min(measured)));
        self.estimate = Some(match self.estimate {
            None => (measured, measured / 2),
            Some((smoothed, variation)) => (
                smoothed * 7 / 8 + measured / 8,
                variation * 3 / 4 + smoothed.abs_diff(measured) / 4,
            ),
        });
    }

    /// Takes a time that is certainly not too short, until something has been measured: which of
    /// several copies was answered cannot be told (Karn's algorithm).
    pub(super) fn guess(&mut self, at_most: Duration) {
        if self.estimate.is_none() {
            self.sample(at_most);
            self.guessed = true;
        }
    }

    /// How long an answer may take before something must have been lost. `asked` is the client's
    /// own retransmission time: it replaces ours and is not backed off.
    pub(super) fn retransmission(&self, asked: Option<Duration>, tries: u32) -> Duration {
        if let Some(timeout) = asked {
            return timeout;
        }
        let base = self.estimate.map_or(RTO_INITIAL, |(smoothed, variation)| {
            (smoothed + (variation * 4).max(smoothed / 2)).max(RTO_MIN)
        });
        base.saturating_mul(1 << tries.min(5))
            .min(RTO_MAX.max(base))
    }

    /// How long the answer to what was just sent usually takes, with some room.
    pub(super) fn pause(&self) -> Duration {
        self.estimate
            .map_or(PAUSE_UNMEASURED, |(smoothed, variation)| {
                (smoothed + (variation * 2).max(smoothed / 4)).clamp(PAUSE_MIN, RTO_INITIAL)
            })
    }

    /// An answer cannot come sooner than this after what it answers.
    pub(super) fn soonest(&self) -> Option<Duration> {
        self.shortest.map(|shortest| shortest * 3 / 4)
    }
}

/// Which blocks have been sent and acknowledged, counted from 1 without rollover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// The last block of the file, which is shorter than the others.
    pub(super) total: u64,
    /// Every block up to this one has arrived.
    pub(super) acked: u64,
    /// The last block of the current flight.
    pub(super) sent: u64,
    /// The last block ever sent.
    pub(super) high: u64,
    window: u64,
    burst: u64,
    clean: u64,
}

impl Flow {
    pub(super) fn new(total: u64, window: u16) -> Self {
        let window = u64::from(window);
        Self {
            total,
            acked: 0,
            sent: 0,
            high: 0,
            window,
            burst: window,
            clean: 0,
        }
    }

    /// The last block that may be sent before something is acknowledged.
    pub(super) fn limit(&self) -> u64 {
        self.acked.saturating_add(self.window).min(self.total)
    }

    /// Takes at most `most` blocks for sending: the first, how many, and how many of them again.
    pub(super) fn take(&mut self, most: u64) -> (u64, u64, u64) {
        let count = self.limit().saturating_sub(self.sent).min(most);
        let first = self.sent + 1;
        self.sent += count;
        let again = (self.high.min(self.sent) + 1).saturating_sub(first);
        self.high = self.high.max(self.sent);
        (first, count, again)
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// Blocks up to `block` arrived; true when nothing of the flight is missing.
    pub(super) fn acknowledge(&mut self, block: u64) -> bool {
        let new = block.saturating_sub(self.acked);
        self.acked = block;
        if block < self.sent {
            return false;
        }
        self.sent = block;
        self.clean += new;
        while self.burst < self.window && self.clean >= CLEAN_BURSTS * self.burst {
            self.clean -= CLEAN_BURSTS * self.burst;
            self.burst += 1;
        }
        true
    }

    /// Goes back to the first block that is not acknowledged, with a smaller burst.
    pub(super) fn rewind(&mut self) {
        self.sent = self.acked;
        self.burst = (self.burst / 2).max(1);
        self.clean = 0;
    }
}

/// When the transfer has to be looked at again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wake {
    /// Nothing was heard: send again.
    pub(super) retransmit: Instant,
    /// The rest of a window is due.
    pub(super) burst: Option<Instant>,
    /// A repeated acknowledgement turned out to report a loss.
    pub(super) restart: Option<Instant>,
}

impl Wake {
    pub(super) fn next(&self) -> Instant {
        [self.burst, self.restart]
            .into_iter()
            .flatten()
            .fold(self.retransmit, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_network_is_waited_for_as_long_as_it_takes() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.retransmission(None, 0), Duration::from_secs(1));
        rtt.sample(Duration::from_micros(300));
        assert_eq!(rtt.retransmission(None, 0), RTO_MIN);
        assert_eq!(rtt.retransmission(None, 2), RTO_MIN * 4);
        assert_eq!(rtt.retransmission(None, 60), RTO_MAX);
        let mut slow = RoundTrip::default();
        slow.sample(Duration::from_secs(8));
        assert_eq!(slow.retransmission(None, 0), Duration::from_secs(24));
    }

    #[test]
    fn the_client_s_timeout_replaces_ours() {
        let mut rtt = RoundTrip::default();
        rtt.sample(Duration::from_secs(3));
        let asked = Some(Duration::from_secs(1));
        assert_eq!(rtt.retransmission(asked, 4), Duration::from_secs(1));
    }

    #[test]
    fn a_burst_is_halved_by_losses_and_grows_back() {
        let mut flow = Flow::new(100_000, 64);
        flow.take(64);
        assert!(!flow.acknowledge(10));
        flow.rewind();
        assert_eq!((flow.burst(), flow.sent), (32, 10));
        for _ in 0..10 {
            flow.rewind();
        }
        assert_eq!(flow.burst(), 1);
        for _ in 0..1000 {
            flow.take(64);
            assert!(flow.acknowledge(flow.sent));
        }
        assert_eq!(flow.burst(), 64);
    }
}
