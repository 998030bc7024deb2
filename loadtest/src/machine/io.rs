//! What goes into a machine and what comes out of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::event::{Event, Phase, Transport};
use super::identity::Identity;
use super::plan::Plan;
use super::trace::{Trace, Way};
use crate::finding::{Code, Finding};

/// Something that happened to a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// The deadline has come that the machine named.
    Timeout,
    /// A DHCP message for port 68, through the relay agent or broadcast on the link.
    Dhcp {
        /// Who sent it, as the IP header says.
        from: SocketAddrV4,
        /// The BOOTP message.
        payload: &'a [u8],
    },
    /// A datagram for one of the machine's sockets.
    Datagram {
        /// Which one.
        socket: Socket,
        /// Who sent it.
        from: SocketAddrV4,
        /// UDP payload; longer ones than [`DATAGRAM_MAX`] come cut off there.
        payload: &'a [u8],
    },
    /// Nobody listens at the address that a datagram was sent to (ICMP port unreachable).
    Unreachable(Socket),
    /// The stream is up, with TLS where that was asked for.
    Connected {
        /// TLS: an earlier session was taken up again.
        resumed: bool,
    },
    /// Bytes of the stream, as plain text.
    Stream(&'a [u8]),
    /// The peer has ended the stream in order.
    Closed,
    /// The stream broke or never came up: the reason.
    Broken(&'a str),
}

/// The longest datagram that is looked at, in bytes.
pub(crate) const DATAGRAM_MAX: usize = 65_535;

/// A UDP socket of the machine's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    /// Port 68, where BIOS firmware and iPXE ask a boot server's port 4011 from.
    Pxe,
    /// Port 4011, where UEFI asks it from.
    Binl,
    /// A port that nobody else has; each `Output::Open` takes another.
    Tftp,
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// A DHCP message (BOOTP header and options) for port 67 of everybody on the machine's link.
    Broadcast(Vec<u8>),
    /// Opens a socket; the machine's address is known by then.
    Open(Socket),
    /// A datagram from an open socket.
    Send(Socket, SocketAddrV4, Vec<u8>),
    /// Closes a socket.
    Close(Socket),
    /// Opens the machine's stream (there is one at a time), over TLS with this server name where
    /// one is given.
    Connect(SocketAddrV4, Option<String>),
    /// Bytes for the stream, as plain text.
    Write(Vec<u8>),
    /// Reads the stream no further, so that its window fills.
    Pause,
    /// Reads it again.
    Resume,
    /// Ends the stream in order.
    Disconnect,
    /// Another program runs from here on, which knows no TLS sessions of the one before.
    Forget,
    /// The power goes: every socket is gone, the stream with a reset.
    PowerOff,
    /// Something for the books.
    Event(Event),
    /// The same of the machine with this number, of whose file more is known now.
    EventOf(u32, Event),
}

/// How a part of a boot goes on.
#[derive(Debug)]
#[must_use]
pub(crate) enum Progress<T> {
    /// It waits for the next input.
    Going,
    /// It is through.
    Done(T),
    /// It cannot go on.
    Failed(Finding),
}

impl<T> Progress<T> {
    /// Makes something else of what it is done with.
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Self::Going => Progress::Going,
            Self::Done(made) => Progress::Done(make(made)),
            Self::Failed(finding) => Progress::Failed(finding),
        }
    }
}

/// A part of a machine's boot: DHCP, a transfer, a script.
pub(crate) trait Step {
    /// What it comes to.
    type Made;

    /// Takes one input.
    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Self::Made>;

    /// When it wants [`Input::Timeout`].
    fn deadline(&self) -> Option<Instant>;
}

/// What a step sees, and where it puts what it wants done.
#[derive(Debug)]
pub(crate) struct World<'a> {
    /// The time.
    pub(crate) now: Instant,
    /// Who the machine is.
    pub(crate) identity: &'a Identity,
    /// Its address; unspecified until it has one.
    pub(crate) address: Ipv4Addr,
    /// What the scenario wants.
    pub(crate) plan: &'a Plan,
    /// What has happened since the storm began.
    pub(crate) life: &'a mut Life,
    /// The machine's last packets.
    pub(crate) trace: &'a mut Trace,
    /// What is to be done.
    pub(crate) out: &'a mut Vec<Output>,
}

/// What a machine has lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// DHCP exchanges that it began, in all its boots.
    pub(crate) exchanges: u8,
    /// Phases that it reached since it was switched on, a bit for each.
    reached: u16,
}

impl Life {
    /// Whether the machine got so far since it was switched on.
    pub(crate) const fn has_reached(self, phase: Phase) -> bool {
        self.reached & (1 << phase as u16) != 0
    }

    /// The machine is switched off.
    pub(crate) const fn forget_boot(&mut self) {
        self.reached = 0;
    }
}

impl World<'_> {
    /// Puts an output behind the others.
    pub(crate) fn want(&mut self, output: Output) {
        self.out.push(output);
    }

    /// Books something.
    pub(crate) fn book(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// Books something of the machine with this number.
    pub(crate) fn book_of(&mut self, machine: u32, event: Event) {
        self.out.push(Output::EventOf(machine, event));
    }

    /// The machine got so far; said again, it counts once.
    pub(crate) fn reached(&mut self, phase: Phase) {
        if self.life.has_reached(phase) {
            return;
        }
        self.life.reached |= 1 << phase as u16;
        self.note(Way::Itself, || phase.name().to_owned());
        self.book(Event::Reached(phase));
    }

    /// The server did what it should not; the boot goes on.
    pub(crate) fn finding(&mut self, code: Code, evidence: impl Into<String>) {
        let finding = Finding::new(code, evidence);
        self.note(Way::Itself, || finding.to_string());
        self.book(Event::Deviation(finding));
    }

    /// A packet or request was repeated for want of an answer.
    pub(crate) fn resent(&mut self, over: Transport) {
        self.book(Event::Resent(over));
    }

    /// Adds a line to the machine's trace.
    pub(crate) fn note(&mut self, way: Way, text: impl FnOnce() -> String) {
        self.trace.note(self.now, way, text);
    }
}
