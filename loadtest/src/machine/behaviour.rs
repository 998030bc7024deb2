//! What a machine does that a good one does not.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::io::{Input, Output, Socket};
use crate::finding::Code;

/// A trouble of one machine; each happens once in its boot, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// None.
    #[default]
    None,
    /// It stands still in the middle of a file, reads nothing and answers nothing, and goes on
    /// later.
    Stall,
    /// Its power is cut in the middle of a file, and it boots from the start later.
    Reset,
    /// It booted, and boots once more later.
    ComeBack,
    /// Its power is cut in the middle of a file for good.
    Vanish,
    /// It sends every datagram twice. (What goes by TCP, TCP repeats.)
    Retry,
    /// It sends rubbish before what is real: broken DHCP before each DHCP message, broken TFTP
    /// before each request, and a connection with broken HTTP before its first one.
    Rubbish,
}

/// How one machine behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// What it does.
    pub(crate) trouble: Trouble,
    /// How long it stays away or still.
    pub(crate) pause: Duration,
    /// Bytes of the boot's files after which it happens; a stall, reset or vanishing happens with
    /// the first byte at the earliest.
    pub(crate) after: u64,
}

impl Trouble {
    /// As scenarios name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::ComeBack => "come-back",
            Self::Vanish => "vanish",
            Self::Retry => "retry",
            Self::Rubbish => "rubbish",
        }
    }
}

/// What a machine sends besides its real packets.
#[derive(Debug)]
pub(super) enum Nuisance {
    Twice,
    Rubbish(Rubbish),
}

/// A machine that sends rubbish.
#[derive(Debug, Default)]
pub(super) struct Rubbish {
    /// Which rubbish comes next.
    turn: usize,
    /// It had a stream for rubbish.
    streamed: bool,
    /// The real connection that waits until the one with rubbish is over.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    peer: SocketAddrV4,
    tls: Option<String>,
    /// When it waits no longer; unknown until the stream with rubbish is up.
    until: Option<Instant>,
}

/// How long an answer to broken HTTP is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl Nuisance {
    /// The nuisance that the trouble asks for.
    pub(super) fn of(trouble: Trouble) -> Option<Box<Self>> {
        match trouble {
            Trouble::Retry => Some(Box::new(Self::Twice)),
            Trouble::Rubbish => Some(Box::new(Self::Rubbish(Rubbish::default()))),
            Trouble::None
            | Trouble::Stall
            | Trouble::Reset
            | Trouble::ComeBack
            | Trouble::Vanish => None,
        }
    }

    /// Whether the boot waits for it.
    pub(super) const fn holds(&self) -> bool {
        matches!(self, Self::Rubbish(Rubbish { held: Some(_), .. }))
    }

    /// When it wants a time-out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Twice => None,
            Self::Rubbish(rubbish) => rubbish.held.as_ref()?.until,
        }
    }

    /// True if the input was for it and none of the boot's.
    pub(super) fn takes(&mut self, input: Input<'_>, now: Instant, out: &mut Vec<Output>) -> bool {
        match self {
            Self::Twice => false,
            Self::Rubbish(rubbish) => rubbish.takes(input, now, out),
        }
    }

    /// Puts what the boot wants into `out`, with what it sends besides.
    pub(super) fn adds(&mut self, wanted: Vec<Output>, out: &mut Vec<Output>) {
        for output in wanted {
            match self {
                Self::Twice => twice(output, out),
                Self::Rubbish(rubbish) => rubbish.adds(output, out),
            }
        }
    }
}

/// Findings about the answers to what was sent twice are the machine's own doing.
fn twice(output: Output, out: &mut Vec<Output>) {
    match output {
        Output::Broadcast(_) | Output::Send(..) => out.extend([output.clone(), output]),
        Output::Event(Event::Deviation(finding))
            if matches!(
                finding.code,
                Code::TftpWrongTransferId | Code::TftpDoubledBlocks
            ) => {}
        _ => out.push(output),
    }
}

impl Rubbish {
    fn adds(&mut self, output: Output, out: &mut Vec<Output>) {
        match output {
            Output::Broadcast(real) => {
                out.push(Output::Broadcast(self.broken(&real)));
                out.push(Output::Broadcast(real));
            }
            Output::Send(socket @ (Socket::Pxe | Socket::Binl), to, real) => {
                out.push(Output::Send(socket, to, self.broken(&real)));
                out.push(Output::Send(socket, to, real));
            }
            // Rubbish from the transfer's own port would break the transfer off.
            Output::Send(Socket::Tftp, to, real) if real.starts_with(&[0, 1]) => {
                self.turn += 1;
                let rubbish = TFTP_RUBBISH[self.turn % TFTP_RUBBISH.len()].to_vec();
                out.push(Output::Open(Socket::Pxe));
                out.push(Output::Send(Socket::Pxe, to, rubbish));
                out.push(Output::Close(Socket::Pxe));
                out.push(Output::Send(Socket::Tftp, to, real));
            }
            Output::Connect(peer, tls) if !self.streamed => {
                self.streamed = true;
                out.push(Output::Connect(peer, tls.clone()));
                self.held = Some(Held {
                    peer,
                    tls,
                    until: None,
                });
            }
            other => out.push(other),
        }
    }

    /// A DHCP message that is none.
    fn broken(&mut self, real: &[u8]) -> Vec<u8> {
        self.turn += 1;
        let mut message = real.to_vec();
        // The transaction is another one, so that no answer counts.
        message
            .iter_mut()
            .skip(7)
            .take(1)
            .for_each(|byte| *byte ^= 0x80);
        match self.turn % 4 {
            0 => message.truncate(100),
            // In the middle of the first option.
            1 => message.truncate(241),
            2 => message
                .iter_mut()
                .skip(236)
                .take(4)
                .for_each(|byte| *byte = 0),
            _ => message
                .iter_mut()
                .skip(241)
                .take(1)
                .for_each(|byte| *byte = 255),
        }
        message
    }

    fn takes(&mut self, input: Input<'_>, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some(held) = &mut self.held else {
            return false;
        };
        let over = match input {
            Input::Connected { .. } => {
                held.until = Some(now + PATIENCE);
                out.push(Output::Write(HTTP_RUBBISH.to_vec()));
                false
            }
            Input::Closed | Input::Broken(_) => true,
            Input::Timeout if held.until.is_some_and(|until| now >= until) => {
                out.push(Output::Disconnect);
                true
            }
            Input::Timeout
            | Input::Stream(_)
            | Input::Dhcp { .. }
            | Input::Datagram { .. }
            | Input::Unreachable(_) => false,
        };
        if over && let Some(Held { peer, tls, .. }) = self.held.take() {
            out.push(Output::Connect(peer, tls));
        }
        true
    }
}

/// No end of the name, no known operation, no known mode, nothing.
const TFTP_RUBBISH: [&[u8]; 4] = [
    b"\0\x01no-end-of-the-name",
    b"\0\x09\0\0",
    b"\0\x01name\0mail\0",
    b"",
];

const HTTP_RUBBISH: &[u8] = b"\0\x16\x03\x01GET\r\r\n: :\r\nContent-Length: -1\r\n\r\n";
