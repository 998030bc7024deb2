//! The client's side of one TFTP transfer: packets and time in, packets and outcomes out (RFC 1350,
//! 2347 to 2349, 7440).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The first wait for an answer; each further one is twice as long.
const WAIT: Duration = Duration::from_secs(1);
/// Waits in vain after which the server is given up.
const TRIES: u32 = 6;
/// Bytes of a block where nothing was agreed on.
const CLASSIC_BLOCK: usize = 512;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) file: &'a str,
    pub(crate) block_size: u16,
    pub(crate) window: u16,
}

/// One transfer.
#[derive(Debug)]
pub(crate) struct Session {
    server: SocketAddr,
    /// The server's end of the transfer, once it is known.
    peer: Option<SocketAddr>,
    request: Vec<u8>,
    asked: (usize, u16),
    block_size: usize,
    window: u16,
    /// The last block that came in order.
    last: u16,
    since_ack: u16,
    in_gap: bool,
    tries: u32,
    deadline: Instant,
    counts: Counts,
}

/// What a session noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) bytes: u64,
    pub(crate) timeouts: u64,
    pub(crate) retransmitted: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
    pub(crate) strays: u64,
}

/// What a packet means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing to do.
    Nothing,
    /// The next block's payload of so many bytes; nothing to send.
    Block(usize),
    /// The next block's payload; [`Session::packet`] is to be sent.
    BlockAndSend(usize),
    /// [`Session::packet`] is to be sent.
    Send,
    /// The last block's payload; [`Session::packet`] is to be sent and the transfer is whole.
    Last(usize),
    /// The packet is nobody's: its sender is to be told [`STRAY`].
    Stray,
    /// The transfer is over.
    Failed(String),
}

/// Tells a sender that there is no such transfer.
pub(crate) const STRAY: &[u8] = b"\0\x05\0\x05Unknown transfer ID\0";
/// Ends a transfer early, as firmware does.
pub(crate) const ABORT: &[u8] = b"\0\x05\0\0Aborted by the user\0";

impl Session {
    /// A transfer whose first [`Session::packet`] is sent now.
    pub(crate) fn start(wish: &Wish<'_>, server: SocketAddr, now: Instant) -> Self {
        let mut request = vec![0, 1];
        let (block_size, window) = (wish.block_size.to_string(), wish.window.to_string());
        let mut words = vec![wish.file, "octet"];
        if wish.block_size != 512 {
            words.extend(["blksize", &block_size]);
        }
        if wish.window > 1 {
            words.extend(["windowsize", &window]);
        }
        for word in words {
            request.extend(word.as_bytes());
            request.push(0);
        }
        Self {
            server,
            peer: None,
            request,
            asked: (wish.block_size.into(), wish.window),
            block_size: CLASSIC_BLOCK,
            window: 1,
            last: 0,
            since_ack: 0,
            in_gap: false,
            tries: 0,
            deadline: now + WAIT,
            counts: Counts::default(),
        }
    }

    /// What is to be sent at present, and where to.
    pub(crate) fn packet(&self) -> (SmallPacket<'_>, SocketAddr) {
        match self.peer {
            Some(peer) => {
                let [high, low] = self.last.to_be_bytes();
                (SmallPacket::Ack([0, 4, high, low]), peer)
            }
            None => (SmallPacket::Request(&self.request), self.server),
        }
    }

    /// The server has answered.
    pub(crate) fn is_open(&self) -> bool {
        self.peer.is_some()
    }

    /// Block size and window as they are in force: `1468 x 16`.
    pub(crate) fn granted(&self) -> String {
        format!("{} x {}", self.block_size, self.window)
    }

    /// What was noticed until now.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// When [`Session::timed_out`] is to be called.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The packet that was due left only now: the wait for its answer begins.
    pub(crate) fn sent_late(&mut self, now: Instant) {
        self.deadline = now + WAIT;
    }

    /// Nothing came until the deadline: `Send` or `Failed`.
    pub(crate) fn timed_out(&mut self, now: Instant) -> Heard {
        self.counts.timeouts += 1;
        self.tries += 1;
        if self.tries == TRIES {
            return Heard::Failed(if self.is_open() {
                "the server fell silent".to_owned()
            } else {
                "no answer to the request".to_owned()
            });
        }
        self.deadline = now + WAIT * (1 << self.tries);
        self.counts.retransmitted += 1;
        (self.since_ack, self.in_gap) = (0, false);
        Heard::Send
    }

    /// A packet of `length` bytes, of which at least the head is given.
    pub(crate) fn handle(
        &mut self,
        from: SocketAddr,
        head: &[u8],
        length: usize,
        now: Instant,
    ) -> Heard {
        if self.peer.is_some_and(|peer| peer != from) {
            self.counts.strays += 1;
            return Heard::Stray;
        }
        match head {
            [0, 3, high, low, ..] => {
                self.peer = Some(from);
                self.block(u16::from_be_bytes([*high, *low]), length - 4, now)
            }
            [0, 6, options @ ..] if self.last == 0 => self.agreed(from, options, now),
            // The server did not hear that its options were taken before it sent them again.
            [0, 6, ..] => Heard::Nothing,
            [0, 5, code, low, text @ ..] => {
                let text = String::from_utf8_lossy(text);
                let text: String = text.trim_end_matches('\0').escape_debug().collect();
                let code = u16::from_be_bytes([*code, *low]);
                Heard::Failed(format!("TFTP error {code}: {text}"))
            }
            _ => Heard::Failed("an answer that is no TFTP".to_owned()),
        }
    }

    fn agreed(&mut self, from: SocketAddr, options: &[u8], now: Instant) -> Heard {
        let mut words = options.split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let number = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<u16>().ok())
                .filter(|number| *number > 0);
            let taken = match number {
                Some(size) if name.eq_ignore_ascii_case(b"blksize") => {
                    self.block_size = size.into();
                    self.block_size <= self.asked.0
                }
                Some(window) if name.eq_ignore_ascii_case(b"windowsize") => {
                    self.window = window;
                    window <= self.asked.1
                }
                _ => false,
            };
            if !taken {
                let name = String::from_utf8_lossy(name);
                return Heard::Failed(format!(
                    "an OACK with an option that was not asked for: {}",
                    name.escape_debug()
                ));
            }
        }
        self.peer = Some(from);
        self.progress(now);
        Heard::Send
    }

    fn block(&mut self, number: u16, payload: usize, now: Instant) -> Heard {
        if payload > self.block_size {
            return Heard::Failed(format!(
                "a block of {payload} bytes where {} were agreed on",
                self.block_size
            ));
        }
        let ahead = number.wrapping_sub(self.last.wrapping_add(1));
        if ahead != 0 {
            return self.out_of_order(number, ahead < 0x8000);
        }
        self.last = number;
        self.counts.bytes += payload as u64;
        self.in_gap = false;
        self.since_ack += 1;
        self.progress(now);
        if payload < self.block_size {
            return Heard::Last(payload);
        }
        if self.since_ack >= self.window {
            self.since_ack = 0;
            return Heard::BlockAndSend(payload);
        }
        Heard::Block(payload)
    }

    /// A gap is told once, with the last good block; what follows it in the same window is not
    /// answered. The block acknowledged last, again, says that the acknowledgement was lost.
    fn out_of_order(&mut self, number: u16, ahead: bool) -> Heard {
        if ahead {
            if self.in_gap {
                return Heard::Nothing;
            }
            self.counts.gaps += 1;
            self.in_gap = true;
            self.since_ack = 0;
            return Heard::Send;
        }
        self.counts.duplicates += 1;
        if number == self.last && self.since_ack == 0 {
            return Heard::Send;
        }
        Heard::Nothing
    }

    fn progress(&mut self, now: Instant) {
        self.tries = 0;
        self.deadline = now + WAIT;
    }
}

/// A packet that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SmallPacket<'a> {
    Request(&'a [u8]),
    Ack([u8; 4]),
}

impl SmallPacket<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Request(bytes) => bytes,
            Self::Ack(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests;
