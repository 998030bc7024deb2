//! DHCP, PXE and DHCPv6: from the datagram to the reply.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bootstorm_ebpf_shared::{Bucket, Mac, Rate};
use bootstorm_proto::dhcp::{
    Answer, ClientFacts, Port, REPLY_MAX, Request, Seen, Silence, Style, Why, overheard, v6,
};
use bootstorm_telemetry::event::{Reason, What};
use bootstorm_telemetry::metrics;
use crossbeam_channel::{Sender, TrySendError};

use crate::driver::{Arrival, Driver, Payload, SocketId, Transmit};
use crate::gate::{Gate, Service};
use crate::handoff::{Decide, DhcpTicket, Question};
use crate::interfaces::Interfaces;
use crate::limits;
use crate::parked::{Held, Parked};
use crate::report::Reporter;

/// The DHCP of one worker: of the machines that the kernel gives it.
pub(crate) struct DhcpService {
    style: Style,
    decide: Arc<dyn Decide>,
    reporter: Reporter,
    interfaces: Interfaces,
    started: Instant,
    leases: Bucket,
    requests: Bucket,
    /// The request at hand and what becomes of it are told.
    is_told: bool,
    worker: u16,
    questions: Option<Sender<Question>>,
    parked: Parked,
    /// Where replies are written.
    buffer: Box<[u8; REPLY_MAX]>,
}

/// One datagram, and where it came in.
#[derive(Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) socket: SocketId,
    pub(crate) arrival: Arrival,
    pub(crate) bytes: &'a [u8],
}

/// Where a request came from, and where its answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    socket: SocketId,
    arrival: Arrival,
}

/// One request, whichever the protocol.
pub(crate) trait Asked {
    fn facts(&self) -> &ClientFacts;
    /// The gate saw no machine in it.
    fn is_unjudged(&self) -> bool;
    fn reply(
        &self,
        answer: &Answer,
        style: &Style,
        buf: &mut [u8],
    ) -> Result<(usize, SocketAddr), Silence>;
}

impl Asked for Request {
    fn facts(&self) -> &ClientFacts {
        Self::facts(self)
    }

    fn is_unjudged(&self) -> bool {
        self.facts().hardware.bytes().len() != size_of::<Mac>()
    }

    fn reply(
        &self,
        answer: &Answer,
        style: &Style,
        buf: &mut [u8],
    ) -> Result<(usize, SocketAddr), Silence> {
        let reply = Self::reply(self, answer, style, buf)?;
        Ok((reply.len, reply.to.address().into()))
    }
}

impl Asked for v6::Request {
    fn facts(&self) -> &ClientFacts {
        Self::facts(self)
    }

    fn is_unjudged(&self) -> bool {
        true
    }

    fn reply(
        &self,
        answer: &Answer,
        style: &Style,
        buf: &mut [u8],
    ) -> Result<(usize, SocketAddr), Silence> {
        let reply = Self::reply(self, answer, style, buf)?;
        Ok((reply.len, reply.to.into()))
    }
}

impl DhcpService {
    pub(crate) fn new(style: Style, decide: Arc<dyn Decide>, reporter: Reporter) -> Self {
        Self {
            style,
            decide,
            parked: Parked::new(reporter.metrics.dhcp.parked.clone()),
            reporter,
            interfaces: Interfaces::default(),
            started: Instant::now(),
            leases: Bucket::default(),
            requests: Bucket::default(),
            is_told: true,
            worker: 0,
            questions: None,
            buffer: Box::new([0; REPLY_MAX]),
        }
    }

    /// The same, as the service of that worker, with somebody to ask for decisions.
    pub(crate) fn asking(self, worker: u16, questions: Option<Sender<Question>>) -> Self {
        Self {
            worker,
            questions,
            ..self
        }
    }

    /// The arrival with our address on the interface that a broadcast came in on. The kernel names
    /// the one that it would write to the sender from, which is another interface's when the
    /// sender's address belongs to another network.
    pub(crate) fn located(&mut self, arrival: Arrival, now: Instant) -> Arrival {
        let IpAddr::V4(local) = arrival.local else {
            return arrival;
        };
        if !arrival.broadcast {
            return arrival;
        }
        let local = match self.interfaces.get(arrival.interface, now) {
            Some(interface) if interface.v4.contains(&local) => local,
            Some(interface) => interface
                .v4
                .first()
                .copied()
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            None => local,
        };
        Arrival {
            local: local.into(),
            ..arrival
        }
    }

    /// A datagram came to UDP 67 or 4011.
    pub(crate) fn received<D: Driver>(
        &mut self,
        driver: &mut D,
        gate: &mut Gate,
        port: Port,
        datagram: Datagram<'_>,
        now: Instant,
    ) {
        let Datagram { arrival, bytes, .. } = datagram;
        let (SocketAddr::V4(source), IpAddr::V4(local)) = (arrival.source, arrival.local) else {
            return;
        };
        if port == Port::Dhcp67 && arrival.broadcast {
            self.overhear(bytes, now);
        }
        let seen = Seen {
            port,
            source,
            local,
            interface: arrival.interface,
            broadcast: arrival.broadcast,
        };
        match Request::read(bytes, &seen) {
            Ok(request) => self.answer(driver, gate, datagram, request, now),
            Err(silence) => self.leave(&silence),
        }
    }

    /// A datagram came to UDP 547.
    pub(crate) fn received_v6<D: Driver>(
        &mut self,
        driver: &mut D,
        gate: &mut Gate,
        datagram: Datagram<'_>,
        now: Instant,
    ) {
        let Datagram { arrival, bytes, .. } = datagram;
        let (SocketAddr::V6(source), IpAddr::V6(local)) = (arrival.source, arrival.local) else {
            return;
        };
        let Some(local) = self.reachable_v6(local, arrival.interface, now) else {
            self.reporter.metrics.dhcp.ignored("dhcp.no-address");
            return;
        };
        let seen = v6::Seen {
            source,
            local,
            interface: arrival.interface,
        };
        match v6::Request::read(bytes, &seen) {
            Ok(request) => self.answer(driver, gate, datagram, request, now),
            Err(silence) => self.leave(&silence),
        }
    }

    fn answer<D: Driver>(
        &mut self,
        driver: &mut D,
        gate: &mut Gate,
        datagram: Datagram<'_>,
        request: impl Asked + 'static,
        now: Instant,
    ) {
        let Datagram {
            socket, arrival, ..
        } = datagram;
        let facts = request.facts();
        if request.is_unjudged()
            && let Err(stopped) = gate.judge_parsed(facts, now)
        {
            return self.reporter.stopped(&stopped, Service::Dhcp, &arrival);
        }
        if arrival.local.is_unspecified() && arrival.source.is_ipv4() {
            return self.no_address(facts);
        }
        self.is_told = self.may_tell(now);
        self.tell_asked(facts);
        let way = Way { socket, arrival };
        match self.decide.dhcp(facts) {
            Answer::Later => self.park(driver, Box::new(Held { way, request }), now),
            answer => self.reply(driver, way, &request, answer),
        }
    }

    /// A request waits until somebody has decided.
    fn park<D: Driver>(&mut self, driver: &mut D, held: Box<Held>, now: Instant) {
        let facts = held.request.facts();
        let ticket = DhcpTicket {
            worker: self.worker,
            number: self.parked.next_number(),
        };
        let question = Question {
            ticket,
            facts: facts.clone(),
        };
        let Some(questions) = &self.questions else {
            return self.finish(driver, &held, Answer::Later);
        };
        match questions.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return self.finish(driver, &held, overloaded()),
            Err(TrySendError::Disconnected(_)) => {
                return self.finish(driver, &held, Answer::Later);
            }
        }
        if let Some(earlier) = self.parked.take_of(facts) {
            self.finish(driver, &earlier, Answer::Later);
        } else if self.parked.is_full()
            && let Some(oldest) = self.parked.take_oldest()
        {
            self.finish(driver, &oldest, overloaded());
        }
        self.parked.push(held, now);
    }

    /// A decision was made.
    pub(crate) fn decided<D: Driver>(&mut self, driver: &mut D, ticket: DhcpTicket) {
        if let Some(held) = self.parked.take(ticket.number) {
            let answer = self.decide.dhcp(held.request.facts());
            self.is_told = true;
            self.finish(driver, &held, answer);
        }
    }

    /// When [`DhcpService::timeout`] is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.parked.next_timeout()
    }

    /// Gives up the requests that have waited for a decision for as long as they may.
    pub(crate) fn timeout<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        while let Some(held) = self.parked.take_expired(now) {
            self.is_told = true;
            self.finish(driver, &held, Answer::Later);
        }
    }

    /// Nobody is answered any more.
    pub(crate) fn drain(&mut self) {
        self.parked.clear();
    }

    fn finish<D: Driver>(&mut self, driver: &mut D, held: &Held, answer: Answer) {
        self.reply(driver, held.way, &held.request, answer);
    }

    fn reply<D: Driver>(
        &mut self,
        driver: &mut D,
        way: Way,
        request: &(impl Asked + ?Sized),
        answer: Answer,
    ) {
        let Way { socket, arrival } = way;
        let facts = request.facts();
        let (length, to) = match request.reply(&answer, &self.style, &mut *self.buffer) {
            Ok(reply) => reply,
            Err(silence) => return self.stay_silent(facts, &silence),
        };
        let mut packet = driver.packet();
        let reply = self.buffer.get(..length);
        let Some(Ok(())) = reply.map(|reply| packet.try_extend_from_slice(reply)) else {
            return;
        };
        let transmit = Transmit {
            socket,
            to,
            from: Some(arrival.local).filter(|local| !local.is_unspecified()),
            interface: arrival.interface,
            payload: Payload::Packet(packet),
        };
        let dhcp = &self.reporter.metrics.dhcp;
        if driver.send(transmit).is_err() {
            dhcp.reply_errors.inc();
            return;
        }
        dhcp.replies.inc();
        dhcp.request(facts.asker, metrics::OK);
        if let Answer::Boot { file, .. } = answer {
            self.tell(facts, || What::Answered { file });
        }
    }

    /// Telling costs more than answering: of a storm of many thousands a second the rest is counted.
    fn may_tell(&mut self, now: Instant) -> bool {
        const RATE: Rate = Rate::new(limits::REQUESTS_TOLD, limits::REQUESTS_TOLD_AT_ONCE);
        let clock = self.clock(now);
        self.requests.take(RATE, clock)
    }

    fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_nanos() as u64
    }

    /// Tells something of the request at hand.
    fn tell(&self, facts: &ClientFacts, what: impl FnOnce() -> What) {
        if self.is_told {
            self.reporter
                .tell(facts.hardware.mac(), facts.address, what());
        } else {
            self.reporter.metrics.planes.events_dropped.inc();
        }
    }

    /// Who took which address from the DHCP server: what joins later transfers to the machine.
    fn overhear(&mut self, bytes: &[u8], now: Instant) {
        const RATE: Rate = Rate::new(limits::LEASES_TOLD, 2 * limits::LEASES_TOLD);
        let Some((hardware, address)) = overheard(bytes) else {
            return;
        };
        let clock = self.clock(now);
        if self.leases.take(RATE, clock) {
            let ip = Some(IpAddr::V4(address));
            self.reporter.tell(hardware.mac(), ip, What::Leased);
        }
    }

    fn tell_asked(&self, facts: &ClientFacts) {
        self.tell(facts, || What::Asked {
            facts: Arc::new(facts.clone()),
        });
    }

    fn no_address(&self, facts: &ClientFacts) {
        let code = "dhcp.no-address";
        self.reporter.metrics.dhcp.request(facts.asker, code);
        let text = format!(
            "our interface {} has no IPv4 address that the machine could reach",
            facts.interface
        );
        let reason = Reason {
            code,
            text: text.into(),
        };
        let what = What::Silent { reason };
        self.reporter
            .tell(facts.hardware.mac(), facts.address, what);
    }

    /// A sound request stays without an answer.
    fn stay_silent(&self, facts: &ClientFacts, silence: &Silence) {
        self.reporter
            .metrics
            .dhcp
            .request(facts.asker, silence.code());
        self.tell(facts, || What::Silent {
            reason: because(silence),
        });
    }

    /// A packet that is broken or none of ours.
    fn leave(&self, silence: &Silence) {
        let dhcp = &self.reporter.metrics.dhcp;
        if silence.is_malformed() {
            dhcp.malformed(silence.code());
        } else {
            dhcp.ignored(silence.code());
        }
        // Ordinary DHCP traffic is nobody's question.
        if boots(&silence.why) {
            let mac = silence.hardware.and_then(|hardware| hardware.mac());
            self.tell_silent(mac, silence);
        }
    }

    fn tell_silent(&self, mac: Option<bootstorm_proto::types::MacAddress>, silence: &Silence) {
        let reason = because(silence);
        self.reporter.tell(mac, None, What::Silent { reason });
    }

    /// Our address that a machine behind an interface can put into a URL: the one it wrote to,
    /// else a global one, else the link's.
    fn reachable_v6(&mut self, local: Ipv6Addr, index: u32, now: Instant) -> Option<Ipv6Addr> {
        if !local.is_unspecified() && !local.is_unicast_link_local() {
            return Some(local);
        }
        let interface = self.interfaces.get(index, now)?;
        let global = interface.v6.iter().find(|ip| !ip.is_unicast_link_local());
        global.or_else(|| interface.v6.first()).copied()
    }
}

fn because(silence: &Silence) -> Reason {
    Reason {
        code: silence.code(),
        text: silence.why.to_string().into(),
    }
}

fn overloaded() -> Answer {
    Answer::Silent {
        code: "policy.overloaded",
        text: "more machines wait for a decision than may".into(),
    }
}

/// Whether somebody would ask why this machine got no answer.
const fn boots(why: &Why) -> bool {
    matches!(
        why,
        Why::UnknownArch { .. }
            | Why::UnknownBootItem { .. }
            | Why::Credentials { .. }
            | Why::BootpNoAddress
            | Why::Hops { .. }
            | Why::BadRelay { .. }
    )
}

/// What of the DHCP traffic a worker takes: the interfaces and addresses of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Indices; empty means all.
    pub(crate) interfaces: Vec<u32>,
    /// The only address of ours that is answered for.
    pub(crate) address: Option<Ipv4Addr>,
}

impl Scope {
    pub(crate) fn takes(&self, arrival: &Arrival) -> bool {
        let interface = self.interfaces.is_empty() || self.interfaces.contains(&arrival.interface);
        let address = self
            .address
            .is_none_or(|address| arrival.local == IpAddr::V4(address));
        interface && address
    }
}
