//! DHCP as boot firmware and iPXE ask it.

mod judge;
pub(crate) mod message;
mod offer;
mod reply;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use message::{Ask, Message, Program};
use offer::{BootOffer, Way};
use reply::{ACK, NAK, OFFER, Reply};

use super::event::{Phase, Transport};
use super::io::{Input, Output, Progress, Socket, Step, World};
use super::plan::{Leases, Timing};
use super::trace::Way as Direction;
use crate::finding::{Code, Finding};
use crate::ground;

/// What a machine knows after DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Where to load from: siaddr, or option 54 where that is empty.
    pub(crate) server: Ipv4Addr,
    /// What to load: a file of that server, or a URL.
    pub(crate) file: String,
    /// Where Windows' boot store is (option 252), if the server said so.
    pub(crate) store: Option<String>,
}

/// One DHCP exchange, from the first DISCOVER to the name of the file.
#[derive(Debug)]
pub(crate) struct Exchange {
    program: Program,
    xid: u32,
    begun: Instant,
    /// When the last message was sent.
    asked: Instant,
    deadline: Instant,
    state: State,
    /// Requests that were sent in this state.
    sent: u8,
    /// Messages of all states; iPXE writes that number into `secs`.
    messages: u16,
    refusals: u8,
    lease: Option<Lease>,
    boot: Option<BootOffer>,
    /// Why the last offer booted nothing.
    complaint: Option<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Selecting,
    Requesting,
    /// A boot server's port 4011 was asked.
    Asking {
        server: Ipv4Addr,
        item: Option<u16>,
    },
}

/// An address, and who leases it.
#[derive(Clone, Copy, Debug)]
struct Lease {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

/// A server that answers so soon is not late.
const PROMPT: Duration = Duration::from_millis(500);

/// How often a machine begins anew after a NAK.
const REFUSALS_MAX: u8 = 3;

impl Exchange {
    /// Sends the first DISCOVER.
    pub(crate) fn start(program: Program, world: &mut World<'_>) -> Self {
        world.life.exchanges = world.life.exchanges.wrapping_add(1);
        let lease = match world.plan.leases {
            Leases::Harness(network) => {
                network.host(world.identity.index).map(|address| Lease {
                    address,
                    // The DHCP server that nobody plays.
                    server: network.base,
                })
            }
            Leases::Server(_) => None,
        };
        let mut exchange = Self {
            program,
            xid: xid(world),
            begun: world.now,
            asked: world.now,
            deadline: world.now,
            state: State::Selecting,
            sent: 0,
            messages: 0,
            refusals: 0,
            lease,
            boot: None,
            complaint: None,
        };
        exchange.send(world);
        exchange
    }

    fn reply(
        &mut self,
        from: SocketAddrV4,
        payload: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Assignment> {
        let Some(reply) = read(from, payload, world) else {
            return Progress::Going;
        };
        if !self.is_mine(from, &reply, world) {
            return Progress::Going;
        }
        match (self.state, reply.kind) {
            (State::Selecting, OFFER) => self.offered(from, &reply, world),
            (State::Requesting, ACK) => self.acknowledged(&reply, world),
            (State::Requesting, NAK) => self.refused(from, world),
            _ => Progress::Going,
        }
    }

    /// An answer to an exchange before this one is late, not wrong.
    fn is_mine(&self, from: SocketAddrV4, reply: &Reply, world: &mut World<'_>) -> bool {
        let near = |xid: u32| (reply.xid ^ xid) >> 8 == 0;
        if !near(self.xid) && !near(xid(world)) {
            let evidence = format!("{from} answered xid {:08x}", reply.xid);
            world.finding(Code::DhcpXid, evidence);
        }
        reply.xid == self.xid
    }

    fn offered(
        &mut self,
        from: SocketAddrV4,
        reply: &Reply,
        world: &mut World<'_>,
    ) -> Progress<Assignment> {
        judge::offer(self.program, from, reply, world);
        self.take_lease(reply, world);
        match BootOffer::of(self.program, reply) {
            Some(boot) => {
                self.late(world);
                world.reached(Phase::Offered);
                if self.boot.as_ref().is_none_or(|best| boot.rank < best.rank) {
                    self.boot = Some(boot);
                }
            }
            None if reply.server == Some(world.plan.server) => {
                let evidence = format!("{from}: {}", told(reply));
                self.complaint = Some(Finding::new(Code::DhcpNoBootOffer, evidence));
            }
            None => {}
        }
        match world.plan.timing {
            Timing::Prompt => self.choose(world),
            // iPXE waits only for what it lacks, firmware for its first time-out.
            Timing::Firmware if matches!(self.program, Program::Ipxe { .. }) => self.choose(world),
            Timing::Firmware => Progress::Going,
        }
    }

    fn take_lease(&mut self, reply: &Reply, world: &mut World<'_>) {
        let (Some(address), Some(server)) = (reply.yiaddr, reply.server) else {
            return;
        };
        let Leases::Server(network) = world.plan.leases else {
            return;
        };
        if !network.holds(address) {
            let evidence = format!(
                "{server} offered {address}, which is not of {}/{}",
                network.base, network.bits
            );
            world.finding(Code::DhcpForeignLease, evidence);
        } else if self.lease.is_none() {
            self.lease = Some(Lease { address, server });
        }
    }

    /// Real firmware with a lease at hand would have gone on without this offer. What follows a
    /// DISCOVER at once answers that one: those before it were lost on the way.
    fn late(&self, world: &mut World<'_>) {
        let waited = world.now.saturating_duration_since(self.begun);
        let patience = match self.program {
            Program::Firmware(_) => Duration::from_secs(4),
            Program::Ipxe { .. } => Duration::from_secs(3),
        };
        let prompt = world.now.saturating_duration_since(self.asked) < PROMPT;
        if waited > patience && !prompt && self.boot.is_none() {
            let evidence = format!("the first boot offer came after {waited:.1?}");
            world.finding(Code::DhcpLate, evidence);
        }
    }

    /// Goes on if there are an address and something to boot.
    fn choose(&mut self, world: &mut World<'_>) -> Progress<Assignment> {
        if self.lease.is_none() || self.boot.is_none() {
            return Progress::Going;
        }
        self.enter(State::Requesting, world);
        match world.plan.leases {
            Leases::Harness(_) => self.leased(world),
            Leases::Server(_) => Progress::Going,
        }
    }

    fn acknowledged(&mut self, reply: &Reply, world: &mut World<'_>) -> Progress<Assignment> {
        let Some(lease) = self.lease else {
            return Progress::Going;
        };
        if reply.server != Some(lease.server) {
            return Progress::Going;
        }
        if reply.yiaddr != Some(lease.address) {
            let got = reply.yiaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let evidence = format!("{} was asked for, {got} acknowledged", lease.address);
            return fail(Code::DhcpOtherAddress, evidence);
        }
        self.leased(world)
    }

    fn refused(&mut self, from: SocketAddrV4, world: &mut World<'_>) -> Progress<Assignment> {
        self.refusals += 1;
        let evidence = format!("{from} refused what it had offered");
        if self.refusals == REFUSALS_MAX {
            return fail(Code::DhcpNak, evidence);
        }
        world.finding(Code::DhcpNak, evidence);
        (self.lease, self.boot) = (None, None);
        self.enter(State::Selecting, world);
        Progress::Going
    }

    fn leased(&mut self, world: &mut World<'_>) -> Progress<Assignment> {
        let (Some(lease), Some(boot)) = (self.lease, self.boot.clone()) else {
            return fail(Code::DhcpNoBootOffer, "nothing to boot was offered");
        };
        world.address = lease.address;
        match boot.way {
            Way::File(file) => self.assigned(boot.server, file, boot.store, world),
            Way::Ask { server, .. } if !ground::is_own(server) => foreign(server),
            Way::Ask { server, item } => {
                world.want(Output::Open(self.socket()));
                self.xid = match (self.program, item) {
                    // iPXE asks for menu items without a transaction.
                    (Program::Ipxe { .. }, Some(_)) => 0,
                    (Program::Ipxe { .. }, None) => self.xid,
                    (Program::Firmware(_), _) => {
                        world.life.exchanges = world.life.exchanges.wrapping_add(1);
                        xid(world)
                    }
                };
                self.enter(State::Asking { server, item }, world);
                Progress::Going
            }
        }
    }

    fn answered(
        &mut self,
        from: SocketAddrV4,
        payload: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Assignment> {
        let State::Asking { server, item } = self.state else {
            return Progress::Going;
        };
        let Some(reply) = read(from, payload, world) else {
            return Progress::Going;
        };
        if from != SocketAddrV4::new(server, world.plan.ports.pxe) {
            let evidence = format!("the answer of {server} came from {from}");
            world.finding(Code::PxeWrongSource, evidence);
            return Progress::Going;
        }
        if !self.is_mine(from, &reply, world) {
            return Progress::Going;
        }
        judge::boot_answer(from, &reply, world);
        if reply.kind != ACK {
            let evidence = format!("{from}: option 53 is {}", reply.kind);
            world.finding(Code::PxeNotAnAck, evidence);
            return Progress::Going;
        }
        if item.is_some() && reply.vendor.item != item {
            let evidence = format!(
                "item {item:?} was asked for, {:?} answered",
                reply.vendor.item
            );
            world.finding(Code::PxeItemNotEchoed, evidence);
            return Progress::Going;
        }
        let Some(file) = reply.file() else {
            return fail(Code::PxeNoFile, format!("{from}: {}", told(&reply)));
        };
        world.want(Output::Close(self.socket()));
        let server = reply.siaddr.or(reply.server).unwrap_or(server);
        self.assigned(server, file.to_owned(), reply.store(), world)
    }

    fn assigned(
        &self,
        server: Ipv4Addr,
        file: String,
        store: Option<String>,
        world: &mut World<'_>,
    ) -> Progress<Assignment> {
        if !ground::is_own(server) {
            return foreign(server);
        }
        world.reached(Phase::Assigned);
        if let Program::Ipxe { .. } = self.program {
            world.reached(Phase::Loader);
        }
        let address = world.address;
        world.note(Direction::Itself, || {
            format!("boots {file} of {server} as {address}")
        });
        Progress::Done(Assignment {
            address,
            server,
            file,
            store,
        })
    }

    fn timeout(&mut self, world: &mut World<'_>) -> Progress<Assignment> {
        if self.state == State::Selecting && self.lease.is_some() && self.boot.is_some() {
            return self.choose(world);
        }
        if usize::from(self.sent) < self.waits().len() {
            world.resent(Transport::Dhcp);
            self.send(world);
            return Progress::Going;
        }
        let sent = self.sent;
        match self.state {
            State::Selecting if self.boot.is_some() => fail(
                Code::DhcpNoLease,
                format!("{sent} DISCOVERs, offers to boot, and none with an address"),
            ),
            State::Selecting => Progress::Failed(self.complaint.take().unwrap_or_else(|| {
                Finding::new(
                    Code::DhcpSilent,
                    format!("{sent} DISCOVERs and no boot offer"),
                )
            })),
            State::Requesting => fail(Code::DhcpNoAck, format!("{sent} REQUESTs and no answer")),
            State::Asking { server, .. } => {
                world.want(Output::Close(self.socket()));
                let port = world.plan.ports.pxe;
                fail(
                    Code::PxeSilent,
                    format!("{sent} requests to {server}:{port}"),
                )
            }
        }
    }

    fn enter(&mut self, state: State, world: &mut World<'_>) {
        self.state = state;
        self.sent = 0;
        self.send(world);
    }

    fn send(&mut self, world: &mut World<'_>) {
        let wait = self.waits().get(usize::from(self.sent)).copied();
        self.deadline = world.now + wait.unwrap_or_default();
        self.asked = world.now;
        self.sent += 1;
        self.messages = self.messages.wrapping_add(1);
        let ask = match (self.state, self.lease) {
            (State::Requesting, Some(Lease { address, server })) => {
                Ask::Request { server, address }
            }
            (State::Asking { server, item }, _) => Ask::BootFile {
                address: world.address,
                server,
                item,
            },
            _ => Ask::Discover,
        };
        let message = Message {
            program: self.program,
            mac: world.identity.mac,
            guid: world.identity.guid,
            xid: self.xid,
            secs: self.secs(world.now),
            ask,
        };
        world.note(Direction::Out, || {
            format!("DHCP {ask:?} {:?}", self.program)
        });
        world.want(match self.state {
            State::Asking { server, .. } => Output::Send(
                self.socket(),
                SocketAddrV4::new(server, world.plan.ports.pxe),
                message.encode(),
            ),
            State::Selecting | State::Requesting => Output::Broadcast(message.encode()),
        });
    }

    /// UEFI counts seconds. iPXE counts messages, and says in the two lowest bits whether it has
    /// a lease and a proxy's offer. ROMs say 4 and more.
    fn secs(&self, now: Instant) -> u16 {
        let elapsed = now.saturating_duration_since(self.begun).as_secs();
        let elapsed = u16::try_from(elapsed).unwrap_or(u16::MAX);
        match (self.program, self.state) {
            (Program::Ipxe { .. }, State::Asking { item: Some(_), .. }) => 4,
            (Program::Ipxe { .. }, _) => {
                let offers = u16::from(self.boot.is_some()) | u16::from(self.chosen()) << 1;
                (self.messages << 2) | offers
            }
            (Program::Firmware(0), _) => elapsed.saturating_add(4),
            (Program::Firmware(_), State::Selecting) => elapsed,
            (Program::Firmware(_), _) => 0,
        }
    }

    /// A lease that nobody plays is there once something is offered.
    const fn chosen(&self) -> bool {
        self.lease.is_some() && self.boot.is_some()
    }

    /// UEFI asks from port 4011, all others from 68.
    const fn socket(&self) -> Socket {
        match self.program {
            Program::Firmware(0) | Program::Ipxe { .. } => Socket::Pxe,
            Program::Firmware(_) => Socket::Binl,
        }
    }

    /// How long each request waits for its answer.
    const fn waits(&self) -> &'static [Duration] {
        match (self.program, self.state) {
            (Program::Firmware(_), State::Selecting) => &SELECTING,
            (Program::Firmware(_), _) => &REQUESTING,
            (Program::Ipxe { .. }, State::Selecting) => &IPXE_SELECTING,
            (Program::Ipxe { .. }, State::Requesting) => &IPXE_REQUESTING,
            (Program::Ipxe { .. }, State::Asking { .. }) => &IPXE_ASKING,
        }
    }
}

impl Step for Exchange {
    type Made = Assignment;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Assignment> {
        match input {
            Input::Timeout if world.now >= self.deadline => self.timeout(world),
            Input::Dhcp { from, payload } => self.reply(from, payload, world),
            Input::Datagram {
                socket,
                from,
                payload,
            } if socket == self.socket() => self.answered(from, payload, world),
            Input::Unreachable(socket) if socket == self.socket() => {
                world.note(Direction::In, || "port unreachable".to_owned());
                Progress::Going
            }
            _ => Progress::Going,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

/// PXE 2.1, section 2.4: DISCOVERs wait 4, 8, 16 and 32 s, requests 1, 2, 3 and 4 s.
const SELECTING: [Duration; 4] = seconds([4, 8, 16, 32]);
const REQUESTING: [Duration; 4] = seconds([1, 2, 3, 4]);
/// iPXE's config/dhcp.h: the next wait would be longer than 10 s.
const IPXE_SELECTING: [Duration; 4] = seconds([1, 2, 4, 8]);
const IPXE_REQUESTING: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// It gives a boot server up after 2 s.
const IPXE_ASKING: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(250),
];

const fn seconds(of: [u64; 4]) -> [Duration; 4] {
    [
        Duration::from_secs(of[0]),
        Duration::from_secs(of[1]),
        Duration::from_secs(of[2]),
        Duration::from_secs(of[3]),
    ]
}

/// The machine's own in the upper bits; its exchanges follow each other in the lowest eight.
fn xid(world: &World<'_>) -> u32 {
    let own = (world.identity.index + 1).wrapping_mul(0x9e_37_79) << 8;
    own | u32::from(world.life.exchanges)
}

fn fail(code: Code, evidence: impl Into<String>) -> Progress<Assignment> {
    Progress::Failed(Finding::new(code, evidence))
}

fn foreign(server: Ipv4Addr) -> Progress<Assignment> {
    let evidence = format!("{server} is neither loopback nor a private address");
    fail(Code::DhcpForeignServer, evidence)
}

/// The reply in a datagram; what is none is a finding.
fn read(from: SocketAddrV4, payload: &[u8], world: &mut World<'_>) -> Option<Reply> {
    match Reply::parse(payload) {
        Ok(reply) => {
            world.note(Direction::In, || format!("{from} {}", told(&reply)));
            Some(reply)
        }
        Err(why) => {
            world.finding(Code::DhcpMalformed, format!("{from}: {why}"));
            None
        }
    }
}

/// A message in one line.
fn told(reply: &Reply) -> String {
    let or_none = |address: Option<Ipv4Addr>| address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let kind = match reply.kind {
        OFFER => "OFFER".to_owned(),
        ACK => "ACK".to_owned(),
        NAK => "NAK".to_owned(),
        other => format!("type {other}"),
    };
    format!(
        "{kind} from {}, yiaddr {}, siaddr {}, class {:?}, file {:?}, options {:?}",
        or_none(reply.server),
        or_none(reply.yiaddr),
        or_none(reply.siaddr),
        String::from_utf8_lossy(&reply.class),
        reply.file().unwrap_or_default(),
        reply.codes().collect::<Vec<_>>()
    )
}

#[cfg(test)]
mod tests;
