//! The machines with their sockets.

mod act;

use std::collections::VecDeque;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustls::ClientConfig;

use super::link::OpenLink;
use super::sockets;
use super::stream::Stream;
use super::timers::Timers;
use super::{OwnPorts, Setup, Start, TlsSetup, Versions};
use crate::fetch::raise_file_limit;
use crate::finding::{Code, Finding};
use crate::machine::Machine;
use crate::machine::io::{Input, Output, Socket};
use crate::machine::plan::{Leases, Plan};
use crate::report::{Books, End, Report, Snapshot};
use crate::tls::{self, Tls};

/// Datagrams that wait to be taken, in bytes of a socket's buffer: a window of the largest blocks
/// fits.
const ROOM: usize = 1 << 20;
/// Sockets that one machine may have open: datagrams of each kind, a stream.
const SOCKETS: usize = 4;
/// Files that this program has open beside machines' sockets: relays, files that it writes.
const OTHER_FILES: usize = 128;
/// Machines are numbered by hardware addresses with three bytes of their own.
const MACHINES_MAX: usize = 1 << 24;

/// Which socket an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// One of the link's.
    Link(u32),
    /// A machine's datagrams, with the number that tells the socket from earlier ones.
    Datagrams(u32, Socket, u32),
    /// A machine's stream, with such a number.
    Stream(u32, u32),
}

/// What came for no machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strays {
    /// DHCP replies for machines that are not ours, or not there.
    pub(super) foreign: u64,
    /// Pieces of datagrams.
    pub(super) fragments: u64,
}

/// A machine and what it has open.
struct Place {
    machine: Machine,
    stage: Stage,
    /// By [`Socket`].
    datagrams: [Option<Open<UdpSocket>>; 3],
    stream: Option<Box<Open<Stream>>>,
    /// With the sessions that it may resume.
    tls: Option<Arc<ClientConfig>>,
}

/// How far a machine is, as far as the loop has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was not switched on yet.
    Off,
    /// It is under way.
    On,
    /// It is through, but may come back.
    Ended,
    /// It is through for good.
    Gone,
}

/// A socket that epoll watches.
struct Open<T> {
    socket: T,
    generation: u32,
}

/// Something that could not be done at once; the machine hears of it when it is done with the
/// rest.
enum Mishap {
    Unreachable(Socket),
    Broken(String),
}

/// All machines.
pub(super) struct Crowd {
    epoll: OwnedFd,
    link: OpenLink,
    places: Vec<Place>,
    timers: Timers,
    books: Books,
    ports: OwnPorts,
    tls: TlsOffer,
    /// Machines that are not through.
    busy: usize,
    failed: u32,
    generation: u32,
    out: Vec<Output>,
    mishaps: VecDeque<(u32, Mishap)>,
    pub(super) strays: Strays,
}

/// What machines can offer a server that speaks TLS.
struct TlsOffer {
    config: Option<Arc<ClientConfig>>,
    resume: bool,
}

impl Crowd {
    /// Opens the link and has every machine wait for its time.
    pub(super) fn new(setup: Setup, books: Books, begun: Instant) -> anyhow::Result<Self> {
        let machines = setup.starts.len();
        ensure!(
            machines < MACHINES_MAX,
            "{machines} machines are more than there are hardware addresses for"
        );
        allow_files(machines)?;
        own_addresses(&setup.plan, machines)?;
        let link = OpenLink::open(&setup)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, socket) in (0..).zip(link.sockets()) {
            epoll::add(&epoll, socket, Token::Link(number).into(), EventFlags::IN)?;
        }
        let tls = TlsOffer::new(&setup.tls)?;
        let mut timers = Timers::new(machines);
        for (index, start) in (0..).zip(&setup.starts) {
            ensure!(
                start.identity.index == index,
                "machine {index} has the identity of {}",
                start.identity.index
            );
            timers.arm(index, begun + start.at);
        }
        let place = |start: Start| {
            let plan = Arc::clone(&setup.plan);
            Place::new(Machine::new(start.identity, start.behaviour, plan))
        };
        Ok(Self {
            epoll,
            link,
            places: setup.starts.into_iter().map(place).collect(),
            timers,
            books,
            ports: setup.ports,
            tls,
            busy: machines,
            failed: 0,
            generation: 0,
            out: Vec::new(),
            mishaps: VecDeque::new(),
            strays: Strays::default(),
        })
    }

    /// What all sockets wait in.
    pub(super) fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How broadcasts go out.
    pub(super) const fn link(&self) -> &OpenLink {
        &self.link
    }

    /// Machines that are not through.
    pub(super) const fn busy(&self) -> usize {
        self.busy
    }

    /// Machines that failed.
    pub(super) const fn failed(&self) -> u32 {
        self.failed
    }

    /// When a machine's clock runs out next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        if self.mishaps.is_empty() {
            self.timers.next()
        } else {
            Some(Instant::now())
        }
    }

    /// Books processor times.
    pub(super) fn usage(&mut self, now: Instant, own: Duration, server: Option<Duration>) {
        self.books.usage(now, own, server);
    }

    /// How it stands.
    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        self.books.snapshot(now)
    }

    /// Ends it all.
    pub(super) fn close(mut self, now: Instant, end: End) -> Report {
        let Strays { foreign, fragments } = self.strays;
        if foreign > 0 {
            let finding = Finding::new(Code::HarnessForeign, format!("{foreign} replies"));
            self.books.harness(finding, now);
        }
        if fragments > 0 {
            let finding = Finding::new(Code::DhcpFragmented, format!("{fragments} replies"));
            self.books.harness(finding, now);
        }
        self.books.close(now, end)
    }

    /// Wakes machines whose time has come, but no more than `most`.
    pub(super) fn wake(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some(index) = self.timers.pop(now) else {
                return;
            };
            let Some(place) = self.places.get_mut(index as usize) else {
                continue;
            };
            if place.stage == Stage::Off {
                place.stage = Stage::On;
                place.machine.power_on(now, &mut self.out);
                self.settle(index, now);
            } else if place.machine.deadline().is_some_and(|at| at <= now) {
                self.feed(index, Input::Timeout, now);
            } else {
                self.settle(index, now);
            }
        }
    }

    /// Tells machines what could not be done for them.
    pub(super) fn tell_mishaps(&mut self, now: Instant) {
        for _ in 0..self.mishaps.len() {
            match self.mishaps.pop_front() {
                Some((index, Mishap::Broken(reason))) => {
                    self.feed(index, Input::Broken(&reason), now);
                }
                Some((index, Mishap::Unreachable(socket))) => {
                    self.feed(index, Input::Unreachable(socket), now);
                }
                None => return,
            }
        }
    }

    /// Gives a machine a DHCP reply, if it is switched on.
    pub(super) fn reply(&mut self, index: u32, input: Input<'_>, now: Instant) {
        match self.places.get(index as usize).map(|place| place.stage) {
            Some(Stage::On) => self.feed(index, input, now),
            Some(Stage::Ended | Stage::Gone) => {}
            Some(Stage::Off) | None => self.strays.foreign += 1,
        }
    }

    /// Gives a machine one input and does what it wants then.
    pub(super) fn feed(&mut self, index: u32, input: Input<'_>, now: Instant) {
        let Some(place) = self.places.get_mut(index as usize) else {
            return;
        };
        if place.stage != Stage::Gone {
            place.machine.handle(input, now, &mut self.out);
            self.settle(index, now);
        }
    }

    /// A machine's socket, if it is still the one with this number.
    pub(super) fn datagrams(
        &self,
        index: u32,
        socket: Socket,
        generation: u32,
    ) -> Option<BorrowedFd<'_>> {
        let place = self.places.get(index as usize)?;
        let open = place.datagrams(socket)?;
        (open.generation == generation).then(|| open.socket.as_fd())
    }

    /// Takes what the kernel has to tell of a machine's earlier datagrams; `refused` when it said
    /// already that nobody listens.
    pub(super) fn datagram_errors(
        &mut self,
        index: u32,
        socket: Socket,
        refused: bool,
        now: Instant,
    ) {
        let place = self.places.get(index as usize);
        let Some(open) = place.and_then(|place| place.datagrams(socket)) else {
            return;
        };
        if sockets::take_errors(&open.socket) || refused {
            self.feed(index, Input::Unreachable(socket), now);
        }
    }
}

impl Place {
    const fn new(machine: Machine) -> Self {
        Self {
            machine,
            stage: Stage::Off,
            datagrams: [None, None, None],
            stream: None,
            tls: None,
        }
    }
}

impl TlsOffer {
    fn new(setup: &TlsSetup) -> anyhow::Result<Self> {
        let known = setup.insecure || setup.ca.is_some();
        let tls12 = setup.versions == Versions::Tls12;
        let config = known.then(|| tls::config(tls12, setup.insecure, setup.ca.as_deref()));
        Ok(Self {
            config: config.transpose()?,
            resume: setup.resume,
        })
    }

    /// A connection of a machine that has `own` configuration once it has sessions.
    fn connection(&self, own: &mut Option<Arc<ClientConfig>>, name: &str) -> Result<Tls, String> {
        let Some(shared) = &self.config else {
            return Err("tls: the scenario names no CA: give it `[tls] ca`, or `insecure`".into());
        };
        let config = if self.resume {
            own.get_or_insert_with(|| tls::resuming(shared))
        } else {
            shared
        };
        Tls::new(config, name).map_err(|error| format!("tls: {error:#}"))
    }
}

/// Makes room for all sockets that machines might have open at a time, or as many as may be; one
/// each there has to be.
fn allow_files(machines: usize) -> anyhow::Result<()> {
    let allow = |sockets| raise_file_limit(u32::try_from(machines * sockets + OTHER_FILES)?);
    let more = (2..=SOCKETS).rev().any(|sockets| allow(sockets).is_ok());
    if more { Ok(()) } else { allow(1) }
}

/// Looks whether machines can have their addresses on this host.
fn own_addresses(plan: &Plan, machines: usize) -> anyhow::Result<()> {
    let (Leases::Harness(network) | Leases::Server(network)) = plan.leases;
    let last = u32::try_from(machines)
        .unwrap_or(u32::MAX)
        .saturating_sub(1);
    for number in [0, last] {
        let own = network.host(number).with_context(|| {
            format!(
                "{}/{} is too small for {machines} machines",
                network.base, network.bits
            )
        })?;
        let own = SocketAddrV4::new(own, 0);
        sockets::datagrams(own, ROOM).map_err(|error| sockets::explain(&error, own))?;
    }
    Ok(())
}

impl From<Token> for EventData {
    /// Three bits for the kind of socket, 29 for its generation, and the machine.
    fn from(token: Token) -> Self {
        let (kind, generation, index) = match token {
            Token::Link(number) => (0, 0, number),
            Token::Stream(index, generation) => (1, generation, index),
            Token::Datagrams(index, Socket::Pxe, generation) => (2, generation, index),
            Token::Datagrams(index, Socket::Binl, generation) => (3, generation, index),
            Token::Datagrams(index, Socket::Tftp, generation) => (4, generation, index),
        };
        let generation = u64::from(generation & GENERATION);
        Self::new_u64(kind << 61 | generation << 32 | u64::from(index))
    }
}

/// Bits of a generation.
const GENERATION: u32 = (1 << 29) - 1;

impl From<EventData> for Token {
    fn from(data: EventData) -> Self {
        let data = data.u64();
        let [a, b, c, d, e, f, g, h] = data.to_be_bytes();
        let index = u32::from_be_bytes([e, f, g, h]);
        let generation = u32::from_be_bytes([a, b, c, d]) & GENERATION;
        match data >> 61 {
            0 => Self::Link(index),
            1 => Self::Stream(index, generation),
            2 => Self::Datagrams(index, Socket::Pxe, generation),
            3 => Self::Datagrams(index, Socket::Binl, generation),
            _ => Self::Datagrams(index, Socket::Tftp, generation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for token in [
            Token::Link(31),
            Token::Datagrams(9_999, Socket::Pxe, 1),
            Token::Datagrams(1 << 24, Socket::Binl, 5),
            Token::Datagrams(0, Socket::Tftp, GENERATION),
            Token::Stream(u32::MAX, 77),
        ] {
            assert_eq!(Token::from(EventData::from(token)), token);
        }
    }
}
