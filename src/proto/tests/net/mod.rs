//! A simulated network with a TFTP client at its far end, on a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bootstorm_proto::tftp::{Limits, Outcome, Output, ReadRequest, Rollover, Transfer};
use bootstorm_proto::types::{BlockSize, WindowSize};

/// What the network does to packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    /// Makes the run repeatable.
    pub(crate) seed: u64,
    /// Packets lost, of ten thousand, each way.
    pub(crate) loss: u64,
    /// Copies of each packet of the client.
    pub(crate) copies: u32,
    /// Packets held back by one more delay, of ten thousand.
    pub(crate) reorder: u64,
    /// Time a packet takes.
    pub(crate) delay: Duration,
    /// Data packets that the client can take at once; the rest of a burst is lost.
    pub(crate) queue: Option<u64>,
    /// Time the client needs for a packet.
    pub(crate) work: Duration,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            seed: 1,
            loss: 0,
            copies: 1,
            reorder: 0,
            delay: Duration::from_micros(100),
            queue: None,
            work: Duration::from_micros(5),
        }
    }
}

/// How the client acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Whole windows, and the last good block for every packet that does not fit (EDK2).
    EveryGap,
    /// Whole windows, and the last good block once for each gap.
    OnceAGap,
    /// Every block, whatever window was agreed.
    EveryBlock,
}

/// What the client asks for and how it behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) block: u16,
    pub(crate) window: u16,
    pub(crate) habit: Habit,
    pub(crate) rollover: Rollover,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) received: u64,
    pub(crate) data_sent: u64,
    pub(crate) data_needed: u64,
    pub(crate) time: Duration,
}

impl Run {
    /// Data packets sent for each one needed.
    pub(crate) fn ratio(&self) -> f64 {
        self.data_sent as f64 / self.data_needed as f64
    }
}

enum Flying {
    ToClient(Answer),
    ToServer(Vec<u8>),
}

enum Answer {
    Oack,
    Data(u16, Range<u64>),
}

struct World<'f> {
    net: Net,
    client: Client,
    file: &'f [u8],
    random: u64,
    now: Instant,
    start: Instant,
    order: u64,
    flying: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    packets: Vec<Option<Flying>>,
    free: Vec<usize>,
    client_busy: Instant,
    received: u64,
    expected: u64,
    unacked: u16,
    gap_reported: bool,
    opened: bool,
    client_timer: Instant,
    data_sent: u64,
    done: bool,
}

/// Sends `file` through the network until the transfer ends.
pub(crate) fn run(net: Net, client: Client, file: &[u8]) -> Run {
    World::new(net, client, file).run()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a virtual clock has to begin somewhere, and there is no other moment to be had"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

impl<'f> World<'f> {
    fn new(net: Net, client: Client, file: &'f [u8]) -> Self {
        let start = epoch();
        Self {
            net,
            client,
            file,
            random: net.seed,
            now: start,
            start,
            order: 0,
            flying: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            client_busy: start,
            received: 0,
            expected: 1,
            unacked: 0,
            gap_reported: false,
            opened: false,
            client_timer: start + CLIENT_TIMEOUT,
            data_sent: 0,
            done: false,
        }
    }

    fn run(mut self) -> Run {
        let rrq = self.request();
        let request = ReadRequest::parse(&rrq).expect("a request");
        let limits = Limits {
            max_block: BlockSize::MAX,
            max_window: WindowSize::try_from(64).expect("in range"),
            rollover: self.client.rollover,
        };
        let len = self.file.len() as u64;
        let (mut transfer, output) = Transfer::start(&request, len, &limits, self.now);
        let mut outcome = self.execute(output);
        while outcome.is_none() {
            let timer = transfer
                .timeout()
                .expect("a transfer that is not over has a timer");
            let next_packet = self.flying.peek().map(|Reverse((at, ..))| *at);
            let client_timer = if self.done {
                timer + Duration::from_secs(3600)
            } else {
                self.client_timer
            };
            let next = [Some(timer), next_packet, Some(client_timer)];
            self.now = next
                .into_iter()
                .flatten()
                .min()
                .expect("a timer")
                .max(self.now);
            if next_packet.is_some_and(|at| at <= self.now) {
                outcome = self.deliver(&mut transfer);
            } else if timer <= self.now {
                let output = transfer.handle_timeout(self.now);
                outcome = self.execute(output);
            } else {
                self.client_gives_a_sign(&rrq);
            }
            assert!(
                self.now - self.start < Duration::from_secs(36_000),
                "the transfer hangs at block {} of {}",
                self.expected,
                len / u64::from(self.client.block) + 1
            );
        }
        Run {
            outcome: outcome.expect("the loop ends with one"),
            received: self.received,
            data_sent: self.data_sent,
            data_needed: len / u64::from(self.client.block) + 1,
            time: self.now - self.start,
        }
    }

    fn request(&self) -> Vec<u8> {
        let (block, window) = (self.client.block, self.client.window);
        let mut rrq = format!("\0\x01big.wim\0octet\0tsize\x000\0blksize\0{block}\0").into_bytes();
        if window > 1 {
            rrq.extend(format!("windowsize\0{window}\0").bytes());
        }
        rrq
    }

    fn deliver(&mut self, transfer: &mut Transfer) -> Option<Outcome> {
        let Reverse((_, _, slot)) = self.flying.pop()?;
        self.free.push(slot);
        match self.packets[slot].take()? {
            Flying::ToServer(packet) => {
                let output = transfer.handle(&packet, self.now);
                self.execute(output)
            }
            Flying::ToClient(answer) => {
                self.client_takes(answer);
                None
            }
        }
    }

    fn execute(&mut self, output: Output) -> Option<Outcome> {
        match output {
            Output::Nothing => None,
            Output::Packet(packet) => {
                assert_eq!(packet[..2], [0, 6]);
                self.send(Flying::ToClient(Answer::Oack), 0);
                None
            }
            Output::Window(window) => {
                assert!(window.blocks <= self.client.window.min(64));
                for (at, (number, range)) in window.blocks().enumerate() {
                    assert!(range.end <= self.file.len() as u64, "outside the file");
                    self.data_sent += 1;
                    if self.net.queue.is_some_and(|room| at as u64 >= room) {
                        continue;
                    }
                    self.send(Flying::ToClient(Answer::Data(number, range)), at as u32);
                }
                None
            }
            Output::Done(outcome) | Output::PacketThenDone(_, outcome) => Some(outcome),
        }
    }

    fn client_takes(&mut self, answer: Answer) {
        if self.done {
            return;
        }
        self.client_timer = self.now + CLIENT_TIMEOUT;
        match answer {
            Answer::Oack => {
                if self.expected == 1 {
                    self.opened = true;
                    self.acknowledge();
                }
            }
            Answer::Data(number, range) if number == self.number(self.expected) => {
                self.take_block(&range);
            }
            Answer::Data(..) => {
                if self.client.habit != Habit::OnceAGap || !self.gap_reported {
                    self.gap_reported = true;
                    self.unacked = 0;
                    self.acknowledge();
                }
            }
        }
    }

    fn take_block(&mut self, range: &Range<u64>) {
        let len = range.end - range.start;
        let sent = &self.file[range.start as usize..range.end as usize];
        let wanted = &self.file[self.received as usize..(self.received + len) as usize];
        assert!(
            sent == wanted,
            "block {} carries other bytes",
            self.expected
        );
        self.received += len;
        self.expected += 1;
        self.unacked += 1;
        self.gap_reported = false;
        self.done = len < u64::from(self.client.block);
        let due = self.unacked >= self.client.window || self.client.habit == Habit::EveryBlock;
        if due || self.done {
            self.unacked = 0;
            self.acknowledge();
        }
    }

    fn client_gives_a_sign(&mut self, rrq: &[u8]) {
        self.client_timer = self.now + CLIENT_TIMEOUT;
        if self.opened {
            self.unacked = 0;
            self.acknowledge();
        } else {
            self.send(Flying::ToServer(rrq.to_vec()), 0);
        }
    }

    fn acknowledge(&mut self) {
        let [high, low] = self.number(self.expected - 1).to_be_bytes();
        for _ in 0..self.net.copies {
            self.send(Flying::ToServer(vec![0, 4, high, low]), 0);
        }
    }

    fn number(&self, block: u64) -> u16 {
        let number = match self.client.rollover {
            Rollover::Zero => block % 65_536,
            Rollover::One if block == 0 => 0,
            Rollover::One => (block - 1) % 65_535 + 1,
        };
        number as u16
    }

    fn send(&mut self, packet: Flying, position: u32) {
        // The last acknowledgement arrives: what happens without it is the server's silence.
        if !self.done && self.chance(self.net.loss) {
            return;
        }
        let mut at = self.now + self.net.delay + Duration::from_micros(12) * position;
        if self.chance(self.net.reorder) {
            at += self.net.delay;
        }
        if matches!(packet, Flying::ToClient(_)) {
            at = at.max(self.client_busy) + self.net.work;
            self.client_busy = at;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(None);
            self.packets.len() - 1
        });
        self.packets[slot] = Some(packet);
        self.order += 1;
        self.flying.push(Reverse((at, self.order, slot)));
    }

    fn chance(&mut self, of_ten_thousand: u64) -> bool {
        random(&mut self.random) % 10_000 < of_ten_thousand
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A file whose blocks all differ.
pub(crate) fn file(len: usize) -> Vec<u8> {
    let mut state = 7;
    let mut content = Vec::with_capacity(len + 8);
    while content.len() < len {
        content.extend_from_slice(&random(&mut state).to_le_bytes());
    }
    content.truncate(len);
    content
}
