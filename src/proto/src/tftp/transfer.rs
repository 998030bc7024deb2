//! One file on its way to one client.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use arrayvec::{ArrayString, ArrayVec};

use super::flow::{Flow, PAUSE_MIN, RoundTrip, Wake};
use super::options::{Limits, Oack, Rollover, Terms, negotiate};
use super::outcome::Outcome;
use super::packet::{
    self, Packet, ReadRequest, error_code, error_packet, fingerprint, opcode, word,
};

/// Retransmissions without an answer before a client may be given up.
const TRIES: u32 = 5;
/// A client is given up when it has also been silent for this long.
const SILENCE: Duration = Duration::from_secs(15);
/// Restarts on repeated acknowledgements, without any progress, before only the timer counts.
const RESTARTS: u8 = 3;
/// Acknowledgements that prove the client answers every block rather than every window.
const EAGER_PROOFS: u8 = 3;

/// A file being sent to one client. Holds no heap memory.
#[derive(Debug)]
pub struct Transfer {
    len: u64,
    terms: Terms,
    rollover: Rollover,
    fingerprint: u64,
    oack: Oack,
    /// The OACK has not been acknowledged.
    opening: bool,
    finished: bool,
    flow: Flow,
    rtt: RoundTrip,
    wake: Wake,
    sent_at: Instant,
    /// When the first blocks behind the last acknowledged one were sent.
    flight_at: Instant,
    progress_at: Instant,
    /// When the flight was last restarted, and up to where it had been sent before.
    rewound: Option<(Instant, u64)>,
    tries: u32,
    restarts: u8,
    eager: u8,
    resent: u64,
    allowance: Option<Allowance>,
}

/// What may leave now, for a client that is sent to at a limited rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Blocks that may leave at once; 0 holds everything back.
    pub blocks: u16,
    /// When more may leave.
    pub next: Instant,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the client waits for it"]
pub enum Output {
    /// Nothing until the next packet or timeout.
    Nothing,
    /// Send this packet.
    Packet(Packet),
    /// Send these blocks.
    Window(Window),
    /// The transfer is over.
    Done(Outcome),
    /// Send this packet; the transfer is over.
    PacketThenDone(Packet, Outcome),
}

/// Consecutive DATA packets of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Block number of the first packet.
    pub first_number: u16,
    /// Where its data begins in the file.
    pub offset: u64,
    /// How many packets, at least 1.
    pub blocks: u16,
    /// Bytes of data in each packet but the last.
    pub block_size: u16,
    /// Bytes of data in the last packet: less than the block size, down to 0, at the end of file.
    pub last_len: u16,
    /// What follows number 65535.
    pub rollover: Rollover,
}

impl Window {
    /// Number and file range of each packet, in the order to send.
    pub fn blocks(&self) -> impl Iterator<Item = (u16, Range<u64>)> + use<> {
        let this = *self;
        (0..this.blocks).map(move |index| {
            let start = this.offset + u64::from(index) * u64::from(this.block_size);
            let len = if index + 1 == this.blocks {
                this.last_len
            } else {
                this.block_size
            };
            (this.number(index), start..start + u64::from(len))
        })
    }

    /// Block number of packet `index`, counted from 0.
    #[must_use]
    pub fn number(&self, index: u16) -> u16 {
        let number = self.first_number.wrapping_add(index);
        let wrapped = number < self.first_number;
        match self.rollover {
            Rollover::One if wrapped => number.wrapping_add(1),
            _ => number,
        }
    }

    /// Bytes of file data in all packets.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        u64::from(self.blocks - 1) * u64::from(self.block_size) + u64::from(self.last_len)
    }

    /// The four bytes in front of the data of packet `index`.
    #[must_use]
    pub fn header(&self, index: u16) -> [u8; 4] {
        let [high, low] = self.number(index).to_be_bytes();
        let [data_high, data_low] = packet::DATA.to_be_bytes();
        [data_high, data_low, high, low]
    }
}

impl Transfer {
    /// Begins to send a file of `file_len` bytes.
    pub fn start(
        request: &ReadRequest<'_>,
        file_len: u64,
        limits: &Limits,
        now: Instant,
    ) -> (Self, Output) {
        let (terms, oack) = negotiate(request, file_len, limits);
        let total = file_len / u64::from(terms.block.get()) + 1;
        let mut transfer = Self {
            len: file_len,
            terms,
            rollover: limits.rollover,
            fingerprint: request.fingerprint,
            opening: !oack.is_empty(),
            oack,
            finished: false,
            flow: Flow::new(total, terms.window.get()),
            rtt: RoundTrip::default(),
            wake: Wake {
                retransmit: now,
                burst: None,
                restart: None,
            },
            sent_at: now,
            flight_at: now,
            progress_at: now,
            rewound: None,
            tries: 0,
            restarts: 0,
            eager: 0,
            resent: 0,
            allowance: None,
        };
        let output = transfer.open(now);
        (transfer, output)
    }

    /// Limits what the next calls of [`Self::handle`] and [`Self::handle_timeout`] send, until it
    /// is set anew; `None`, as at the start, sets no limit. The rest of a window is due when `next`
    /// has come, and the time until then does not count as the client's silence: a window that
    /// leaves slowly is not sent twice.
    pub fn allow(&mut self, allowance: Option<Allowance>) {
        self.allowance = allowance;
    }

    /// Takes a packet that came from the client's address and port.
    pub fn handle(&mut self, packet: &[u8], now: Instant) -> Output {
        if self.finished {
            return Output::Nothing;
        }
        match (opcode(packet), word(packet, 2)) {
            (Some(packet::ACK), Some(number)) => self.handle_ack(number, now),
            (Some(packet::ERROR), code) => {
                let code = code.unwrap_or(error_code::UNDEFINED);
                self.handle_error(code, packet.get(4..).unwrap_or_default())
            }
            (Some(packet::RRQ), _) => self.handle_request(packet, now),
            _ => Output::Nothing,
        }
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) -> Output {
        if self.finished {
            return Output::Nothing;
        }
        if self.wake.restart.is_some_and(|at| at <= now) {
            self.restarts += 1;
            return self.restart(now);
        }
        if self.wake.burst.is_some_and(|at| at <= now) {
            return self.send_burst(now);
        }
        if self.wake.retransmit > now {
            return Output::Nothing;
        }
        self.retransmit(now)
    }

    /// When [`Self::handle_timeout`] is due; `None` once the transfer is over.
    #[must_use]
    pub fn timeout(&self) -> Option<Instant> {
        (!self.finished).then(|| self.wake.next())
    }

    /// Ends the transfer because the file is no longer what it was: the client is told so, and
    /// never sees a mixture of two files.
    pub fn file_changed(&mut self) -> Output {
        if self.finished {
            return Output::Nothing;
        }
        self.finished = true;
        let text = "the file changed while it was being sent: start again";
        let packet = error_packet(error_code::UNDEFINED, text);
        Output::PacketThenDone(packet, Outcome::FileChanged)
    }

    /// The last window left so much later than it was given out, since the server itself was not
    /// ready: the time between is not the client's silence, and no part of a round trip.
    pub fn delayed(&mut self, by: Duration) {
        let Wake {
            retransmit,
            burst,
            restart,
        } = &mut self.wake;
        for at in [burst, restart].into_iter().flatten() {
            *at += by;
        }
        *retransmit += by;
        self.sent_at += by;
        self.flight_at += by;
        self.progress_at += by;
        if let Some((at, _)) = &mut self.rewound {
            *at += by;
        }
    }

    /// Length of the file.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Bytes that the client has for certain.
    #[must_use]
    pub fn acked_bytes(&self) -> u64 {
        (self.flow.acked.saturating_mul(self.block_len())).min(self.len)
    }

    /// Bytes of file data that were sent more than once.
    #[must_use]
    pub fn resent_bytes(&self) -> u64 {
        self.resent
    }

    /// The negotiated block and window size.
    #[must_use]
    pub fn sizes(&self) -> (crate::types::BlockSize, crate::types::WindowSize) {
        (self.terms.block, self.terms.window)
    }

    fn open(&mut self, now: Instant) -> Output {
        if !self.opening {
            return self.send_burst(now);
        }
        self.sent_at = now;
        self.wake.retransmit = now + self.patience();
        let mut packet = Packet::new();
        // An OACK is far shorter than a packet's capacity.
        let _ = packet.write_all(&self.oack);
        Output::Packet(packet)
    }

    fn handle_ack(&mut self, number: u16, now: Instant) -> Output {
        if self.opening {
            if number != 0 {
                return Output::Nothing;
            }
            if self.tries == 0 {
                self.rtt.sample(now.saturating_duration_since(self.sent_at));
            } else {
                let since_start = now.saturating_duration_since(self.progress_at);
                self.rtt.guess(since_start);
            }
            self.opening = false;
            self.tries = 0;
            self.progress_at = now;
            return self.send_burst(now);
        }
        match self.block_numbered(number) {
            Some(block) if block > self.flow.acked => self.advance(block, now),
            Some(_) => self.handle_repeated_ack(now),
            None => Output::Nothing,
        }
    }

    /// The client has everything up to `block`.
    fn advance(&mut self, block: u64, now: Instant) -> Output {
        let early = self.is_early(block, now);
        let answers_every_block = self.notice_habit(block, early);
        let asked_again = self.tries > 0;
        let first_try = !asked_again && self.rewound.is_none();
        if first_try && block == self.flow.sent {
            self.rtt.sample(now.saturating_duration_since(self.sent_at));
        }
        let clean = self.flow.acknowledge(block);
        self.tries = 0;
        self.restarts = 0;
        self.progress_at = now;
        self.wake.restart = None;
        self.wake.burst = None;
        if self.flow.acked >= self.flow.total {
            self.finished = true;
            return Output::Done(Outcome::Complete);
        }
        if self.rewound.is_some_and(|(_, high)| block >= high) {
            self.rewound = None;
        }
        if asked_again && block < self.flow.high {
            self.flow.lost();
        }
        if early && !answers_every_block {
            // The restart is under way: whatever is missing behind this block is in it already.
            let rest = self.sent_at + self.rtt.pause();
            self.wake.burst = Some(rest);
            self.wake.retransmit = rest.max(now) + self.patience();
            return Output::Nothing;
        }
        if clean {
            return self.send_burst(now);
        }
        if answers_every_block {
            // The next answer is on its way, unless its block was lost.
            let due = (self.sent_at + self.rtt.pause()).max(now + PAUSE_MIN);
            self.wake.restart = Some(due);
            self.wake.retransmit = now + self.patience();
            return Output::Nothing;
        }
        self.restart(now)
    }

    /// Whether the client answers every block, whatever window was agreed, which shows when its
    /// answers go on one by one too early to report a loss.
    fn notice_habit(&mut self, block: u64, early: bool) -> bool {
        let flow = &mut self.flow;
        let step = block - flow.acked;
        if step == 1 && (early || flow.answers_bursts && block < flow.sent) {
            self.eager = (self.eager + 1).min(2 * EAGER_PROOFS);
        } else if step > u64::from(EAGER_PROOFS) {
            self.eager = 0;
        }
        let known = std::mem::replace(&mut flow.answers_bursts, self.eager >= EAGER_PROOFS);
        if flow.answers_bursts && !known {
            flow.forget_losses();
        }
        flow.answers_bursts
    }

    /// The block behind the last acknowledged one was lost.
    fn restart(&mut self, now: Instant) -> Output {
        self.flow.lost();
        self.rewound = Some((now, self.flow.high));
        self.flow.rewind();
        self.send_burst(now)
    }

    /// An acknowledgement that brings nothing new is either a copy of the last one, and then must
    /// not cause anything to be sent (the Sorcerer's Apprentice), or reports that the first block
    /// of the flight was lost. The flight's own answer decides: if it stays away, it was a loss.
    fn handle_repeated_ack(&mut self, now: Instant) -> Output {
        let Some(soonest) = self.rtt.soonest() else {
            return Output::Nothing;
        };
        let early = now.saturating_duration_since(self.flight_at) < soonest;
        let nothing_sent = self.flow.sent == self.flow.acked;
        if early || nothing_sent || self.restarts >= RESTARTS || self.wake.restart.is_some() {
            return Output::Nothing;
        }
        self.wake.restart = Some(self.sent_at + self.rtt.pause());
        self.handle_timeout(now)
    }

    /// The acknowledgement comes sooner than the restart can have arrived: it is an answer to what
    /// was sent before. Clients that acknowledge every block of a window, and so seem to report a
    /// loss each time, give themselves away by it.
    fn is_early(&self, block: u64, now: Instant) -> bool {
        let (Some((at, high)), Some(soonest)) = (self.rewound, self.rtt.soonest()) else {
            return false;
        };
        block <= high && now.saturating_duration_since(at) < soonest
    }

    fn handle_error(&mut self, code: u16, text: &[u8]) -> Output {
        self.finished = true;
        if self.opening && code == error_code::OPTIONS {
            return Output::Done(Outcome::Probe);
        }
        let text = text
            .iter()
            .take_while(|b| **b != 0)
            .map(|b| {
                if (0x20..0x7f).contains(b) {
                    char::from(*b)
                } else {
                    '?'
                }
            })
            .take(96)
            .collect::<ArrayVec<char, 96>>();
        let mut shown = ArrayString::new();
        for c in text {
            shown.push(c);
        }
        Output::Done(Outcome::Aborted { code, text: shown })
    }

    /// The same request again means that our first answer was lost, unless the client has already
    /// taken data: then it began anew, or the network delivered an old packet late. Once the last
    /// block is on its way the former is true: the acknowledgement only comes behind the request,
    /// for they meet different sockets of the server.
    fn handle_request(&mut self, packet: &[u8], now: Instant) -> Output {
        let same = fingerprint(packet) == self.fingerprint;
        if same && self.opening {
            return self.open(now);
        }
        if same && self.flow.acked == 0 {
            self.flow.sent = 0;
            return self.send(1, now);
        }
        let quiet = now.saturating_duration_since(self.progress_at);
        let under_way = self.flow.high < self.flow.total && quiet < self.patience();
        if same && under_way {
            return Output::Nothing;
        }
        self.finished = true;
        Output::Done(Outcome::Restarted)
    }

    fn retransmit(&mut self, now: Instant) -> Output {
        let quiet = now.saturating_duration_since(self.progress_at);
        if self.tries >= TRIES && quiet >= SILENCE {
            self.finished = true;
            return Output::Done(self.silence());
        }
        self.tries += 1;
        if self.opening {
            return self.open(now);
        }
        self.flow.rewind();
        // Whoever waits for a whole window answers no burst of it.
        self.eager = 0;
        self.flow.answers_bursts = false;
        // One block tells whether the data or the acknowledgement was lost.
        self.send(1, now)
    }

    /// What it means that a client no longer answers.
    fn silence(&self) -> Outcome {
        let was_there = self.flow.acked > 0 || !(self.opening || self.oack.is_empty());
        if was_there && self.flow.high == self.flow.total {
            Outcome::Unconfirmed
        } else {
            Outcome::TimedOut
        }
    }

    fn send_burst(&mut self, now: Instant) -> Output {
        let burst = self.flow.burst(self.rtt.is_far());
        self.send(burst, now)
    }

    /// Sends at most `most` of the blocks that the window still allows.
    fn send(&mut self, most: u64, now: Instant) -> Output {
        let allowed = self.allowance.map_or(most, |a| most.min(a.blocks.into()));
        let (first, count, again) = self.flow.take(allowed);
        self.wake.restart = None;
        self.wake.burst = None;
        if self.flow.sent < self.flow.limit() {
            let rest = (allowed == most).then(|| now + self.rtt.pause());
            self.wake.burst = rest.max(self.allowance.map(|a| a.next));
        }
        // No answer is due before the whole window has been sent.
        self.wake.retransmit = self.wake.burst.unwrap_or(now) + self.patience();
        let Ok(blocks @ 1..) = u16::try_from(count) else {
            return Output::Nothing;
        };
        self.sent_at = now;
        if first == self.flow.acked + 1 {
            self.flight_at = now;
        }
        let size = self.terms.block.get();
        let offset = (first - 1) * self.block_len();
        let end = (offset + count * self.block_len()).min(self.len);
        self.resent += (offset + again * self.block_len()).min(self.len) - offset;
        let last = end - (offset + (count - 1) * self.block_len());
        Output::Window(Window {
            first_number: self.number_of(first),
            offset,
            blocks,
            block_size: size,
            last_len: u16::try_from(last).unwrap_or(size),
            rollover: self.rollover,
        })
    }

    fn patience(&self) -> Duration {
        self.rtt.retransmission(self.terms.timeout, self.tries)
    }

    fn block_len(&self) -> u64 {
        u64::from(self.terms.block.get())
    }

    /// The number that block `block`, counted from 1, has on the wire.
    fn number_of(&self, block: u64) -> u16 {
        let number = match self.rollover {
            Rollover::Zero => block % 65_536,
            Rollover::One if block == 0 => 0,
            Rollover::One => (block - 1) % 65_535 + 1,
        };
        u16::try_from(number).unwrap_or_default()
    }

    /// The block that an acknowledgement of `number` can mean: the last one acknowledged, or one
    /// that has been sent since.
    fn block_numbered(&self, number: u16) -> Option<u64> {
        let acked = self.number_of(self.flow.acked);
        let ahead = match self.rollover {
            Rollover::Zero => u64::from(number.wrapping_sub(acked)),
            Rollover::One if number == 0 => (acked == 0).then_some(0)?,
            Rollover::One if number >= acked => u64::from(number - acked),
            Rollover::One => u64::from(number) + 65_535 - u64::from(acked),
        };
        let block = self.flow.acked + ahead;
        (block <= self.flow.high).then_some(block)
    }
}
