//! How much is sent at once and how long an answer is waited for.
//!
//! A client that negotiated a window acknowledges only whole windows (RFC 7440, section 4), so a
//! server that sends less and waits would wait for the client's timer. What a lossy client gets is
//! therefore the same window in smaller bursts, with a pause of one round trip between them: every
//! block of a burst behind a lost one is thrown away, and the pause lets the client tell.
//!
//! Bursts are a fixed share of the blocks from one loss to the next, so that what is thrown away is a
//! fixed share of what arrives. A short queue shows itself otherwise: bursts are cut short behind the
//! same number of blocks, time after time, and then no burst is larger.

use std::time::{Duration, Instant};

/// The shortest time before anything is sent again unasked.
const RTO_MIN: Duration = Duration::from_millis(200);
/// Before a round trip has been measured.
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// Backing off ends here.
const RTO_MAX: Duration = Duration::from_secs(5);
/// A pause shorter than this is not worth a timer.
pub(super) const PAUSE_MIN: Duration = Duration::from_micros(200);
/// The pause when no round trip could be measured.
const PAUSE_UNMEASURED: Duration = Duration::from_millis(50);
/// A round trip from which on waiting costs more than sending some blocks in vain.
const FAR: Duration = Duration::from_millis(1);
/// Blocks from one loss to the next, for each block of a burst: a loss throws half a burst away, so
/// that 2.5 % of what arrives is wasted nearby and 7 % far away.
const NEAR_SHARE: u64 = 20;
const FAR_SHARE: u64 = 7;
/// Smaller bursts save little.
const BURST_MIN: u64 = 2;
/// Clean blocks after which a short queue is tried with one block more; twice as many after each
/// failure.
const PROBE_AFTER: u64 = 1 << 10;
const PROBE_AFTER_MAX: u64 = 1 << 16;

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

    pub(super) fn is_far(&self) -> bool {
        self.estimate
            .is_some_and(|(smoothed, _)| !self.guessed && smoothed >= FAR)
    }

    /// How long the answer to what was just sent usually takes, with some room.
    pub(super) fn pause(&self) -> Duration {
        self.estimate
            .map_or(PAUSE_UNMEASURED, |(smoothed, variation)| {
                (smoothed + (variation * 2).max(smoothed / 4)).clamp(PAUSE_MIN, RTO_MAX)
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
    /// The client answers a burst, and not only a whole window.
    pub(super) answers_bursts: bool,
    window: u64,
    burst: u64,
    /// Blocks that arrived since the last loss.
    clean: u64,
    /// Blocks from one loss to the next, smoothed; `None` before the first loss.
    run: Option<u64>,
    /// Blocks of a burst that arrived before one was missing.
    taken: u64,
    queue: Queue,
}

/// What is known of a client's queue.
#[derive(Clone, Copy, Debug)]
struct Queue {
    /// Where the last burst was cut short, and how often in a row it was there before.
    taken: u64,
    proofs: u64,
    /// Blocks that it takes, once that is certain.
    room: Option<u64>,
    probe_after: u64,
}

impl Flow {
    pub(super) fn new(total: u64, window: u16) -> Self {
        let window = u64::from(window);
        Self {
            total,
            acked: 0,
            sent: 0,
            high: 0,
            answers_bursts: false,
            window,
            burst: window,
            clean: 0,
            run: None,
            taken: 0,
            queue: Queue {
                taken: 0,
                proofs: 0,
                room: None,
                probe_after: PROBE_AFTER,
            },
        }
    }

    /// The last block that may be sent before something is acknowledged.
    pub(super) fn limit(&self) -> u64 {
        let most = if self.answers_bursts {
            self.burst
        } else {
            self.window
        };
        self.acked.saturating_add(most).min(self.total)
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

    /// Blocks to send at once. It is chosen where a flight begins, and stays for all of it.
    pub(super) fn burst(&mut self, far: bool) -> u64 {
        if self.sent == self.acked {
            self.choose_burst(far);
        }
        self.burst
    }

    /// Blocks up to `block` arrived; true when nothing of the flight is missing.
    pub(super) fn acknowledge(&mut self, block: u64) -> bool {
        let new = block.saturating_sub(self.acked);
        self.acked = block;
        self.clean = self.clean.saturating_add(new);
        let missing = block < self.high;
        self.taken = if missing { new % self.burst } else { 0 };
        if block < self.sent {
            return false;
        }
        self.sent = block;
        true
    }

    /// Goes back to the first block that is not acknowledged.
    pub(super) fn rewind(&mut self) {
        self.sent = self.acked;
    }

    /// Takes note that the block behind the last acknowledged one was lost.
    pub(super) fn lost(&mut self) {
        // More than what allows whole windows would only be forgotten too slowly.
        let clean = std::mem::take(&mut self.clean).min(NEAR_SHARE * self.window);
        self.run = Some(self.run.map_or(clean, |run| run - run / 8 + clean / 8));
        self.queue.lost(self.taken, self.burst);
    }

    /// Nothing of what seemed to be lost was: all that was sent is on its way.
    pub(super) fn forget_losses(&mut self) {
        self.run = None;
        self.clean = 0;
        self.burst = self.window;
        self.sent = self.high;
    }

    fn choose_burst(&mut self, far: bool) {
        let Some(run) = self.run else {
            return;
        };
        let share = if far { FAR_SHARE } else { NEAR_SHARE };
        let most = run.max(run.midpoint(self.clean)) / share;
        let most = most.clamp(BURST_MIN, self.window.max(BURST_MIN));
        // Equal bursts: a window is not worth another pause for less than a quarter of one.
        let bursts = (4 * self.window - most.min(self.window)).div_ceil(4 * most);
        let by_loss = self.window.div_ceil(bursts);
        let room = self.queue.room(self.clean).unwrap_or(self.window);
        self.burst = by_loss.min(room);
    }
}

impl Queue {
    /// A burst was cut short behind the blocks that were `taken` of it.
    fn lost(&mut self, taken: u64, burst: u64) {
        let again = taken > 0 && taken == self.taken;
        self.proofs = if again { self.proofs + 1 } else { 0 };
        self.taken = taken;
        match self.room {
            Some(room) if taken > room => self.room = Some(taken),
            Some(room) if taken == room && burst > room => {
                self.probe_after = (self.probe_after * 2).min(PROBE_AFTER_MAX);
            }
            // By chance alone this happens once in a thousand losses or less.
            _ if self.proofs > 1 + 16 / burst => {
                self.room = Some(taken);
                self.proofs = 0;
            }
            _ => {}
        }
    }

    /// Blocks that it takes, and some more when it is time to try.
    fn room(&self, clean: u64) -> Option<u64> {
        self.room.map(|room| room + clean / self.probe_after)
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

    /// Sends bursts through a network that takes a block if `takes` says so of its number and of
    /// its place in the burst, and tells the bursts that were sent and the blocks lost.
    fn bursts(flow: &mut Flow, takes: impl Fn(u64, u64) -> bool) -> (Vec<u64>, u64) {
        let (mut seen, mut lost) = (Vec::new(), 0);
        for _ in 0..20_000 {
            let most = flow.burst(false);
            let (first, count, _) = flow.take(most);
            let arrived = (0..count).take_while(|at| takes(first + at, *at)).count() as u64;
            seen.push(count);
            flow.acknowledge(flow.acked + arrived);
            if arrived < count {
                lost += 1;
                flow.lost();
                flow.rewind();
            }
        }
        (seen, lost)
    }

    fn flow() -> Flow {
        Flow {
            answers_bursts: true,
            ..Flow::new(u64::MAX, 64)
        }
    }

    #[test]
    fn bursts_follow_the_loss_and_grow_back() {
        let mut flow = flow();
        assert_eq!(flow.burst(false), 64);
        let state = std::cell::Cell::new(1_u64);
        let one_of_a_hundred_is_lost = |_: u64, _: u64| {
            let next = state.get().wrapping_mul(6_364_136_223_846_793_005);
            state.set(next.wrapping_add(1));
            !(state.get() >> 33).is_multiple_of(100)
        };
        let (seen, _) = bursts(&mut flow, one_of_a_hundred_is_lost);
        let mean = seen[1000..].iter().sum::<u64>() / 19_000;
        assert!((4..=6).contains(&mean), "{mean}");
        let (seen, _) = bursts(&mut flow, |_, _| true);
        assert_eq!(seen.last(), Some(&64));
    }

    #[test]
    fn a_full_queue_is_not_filled_again_and_again() {
        for room in [2, 4, 8, 20, 40] {
            let mut flow = flow();
            let (seen, lost) = bursts(&mut flow, |_, at| at < room);
            let typical = seen[5000..].iter().filter(|burst| **burst == room).count();
            assert!(typical > 14_000, "{room}: {typical} {:?}", &seen[..50]);
            assert!(lost < 40, "{room}: {lost}");
        }
    }
}
