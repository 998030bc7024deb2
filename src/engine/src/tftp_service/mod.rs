//! TFTP: requests, transfers, their timers.

mod clients;
mod data_ports;
mod making;
mod paced;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_catalog::{Catalog, File, LookupError};
use bootstorm_proto::tftp::{
    Limits, Outcome, Output, ReadRequest, Refusal, Rollover, Transfer, Window, error_code,
    unknown_tid,
};
use bootstorm_proto::types::{BlockSize, WindowSize};
use bootstorm_telemetry::event::{Protocol, Reason, TransferId, What};
use bootstorm_telemetry::metrics;
use slab::Slab;

pub(crate) use data_ports::DataPorts;

use crate::driver::{Arrival, Driver, Payload, Reader, SocketId, Transmit};
use crate::interfaces::Interfaces;
use crate::limits;
use crate::pacing::{Pacing, Turn};
use crate::read_in::ReadIns;
use crate::report::{Reporter, transfer_id};
use crate::wheel::Wheel;
use clients::Clients;
use making::Maker;
use paced::Paced;
use waiting::Waiting;

const RRQ: [u8; 2] = [0, 1];
const ACK: [u8; 2] = [0, 4];
const ERROR: [u8; 2] = [0, 5];

/// Reason code of a file that is not there.
const NOT_FOUND: &str = "tftp.not-found";

/// What a worker's TFTP grants.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_window: WindowSize,
    pub(crate) max_block: BlockSize,
    pub(crate) rollover: Rollover,
    pub(crate) max_per_client: u32,
    /// `None`: data leaves from the request port.
    pub(crate) ports: Option<Vec<u16>>,
}

/// Every transfer of one worker.
pub(crate) struct TftpService {
    settings: Settings,
    catalog: Arc<Catalog>,
    reporter: Reporter,
    interfaces: Interfaces,
    requests: Vec<SocketId>,
    data_ports: Option<DataPorts>,
    transfers: Slab<Active>,
    clients: Clients,
    wheel: Wheel,
    read_ins: ReadIns<(u32, TransferId)>,
    pacing: Arc<Pacing>,
    maker: Option<Maker>,
    waiting: Waiting,
    draining: bool,
}

/// A transfer under way.
struct Active {
    transfer: Transfer,
    file: Arc<File>,
    socket: SocketId,
    arrival: Arrival,
    id: TransferId,
    /// The first block has left: it was more than a question for the size.
    started: bool,
    /// A window that waits for the disk, and since when.
    waiting: Option<(Window, Instant)>,
    /// It is, or was, sent at a limited rate.
    paced: Option<Box<Paced>>,
    /// When and up to where progress was last told.
    told: (Instant, u64),
}

// Every transfer that a worker may hold, together, fits a few megabytes.
const _: () = assert!(size_of::<Active>() * limits::TRANSFERS <= 12 << 20);

impl TftpService {
    /// `requests` are the sockets that requests come to, with their addresses.
    pub(crate) fn new(
        settings: Settings,
        requests: &[(SocketId, SocketAddr)],
        catalog: Arc<Catalog>,
        reporter: Reporter,
        now: Instant,
    ) -> Self {
        let addresses = requests.iter().map(|(_, address)| address.ip()).collect();
        let ports = settings.ports.clone();
        Self {
            data_ports: ports.map(|ports| DataPorts::new(addresses, ports)),
            clients: Clients::new(settings.max_per_client),
            settings,
            catalog,
            read_ins: ReadIns::new(Reader::Tftp, Arc::clone(&reporter.metrics)),
            pacing: Pacing::unlimited(&reporter.metrics),
            reporter,
            interfaces: Interfaces::default(),
            requests: requests.iter().map(|(socket, _)| *socket).collect(),
            transfers: Slab::with_capacity(limits::TRANSFERS),
            wheel: Wheel::new(now),
            maker: None,
            waiting: Waiting::default(),
            draining: false,
        }
    }

    /// Under the limits that all workers share.
    pub(crate) fn paced(self, pacing: Arc<Pacing>) -> Self {
        Self { pacing, ..self }
    }

    /// A datagram came, to a request socket or to one of the data sockets.
    pub(crate) fn received<D: Driver>(
        &mut self,
        driver: &mut D,
        socket: SocketId,
        arrival: Arrival,
        bytes: &[u8],
        now: Instant,
    ) {
        let asks = self.requests.contains(&socket);
        if let Some(slot) = self.clients.slot(&arrival.source)
            && let Some(active) = self.transfers.get_mut(slot as usize)
            && (active.socket == socket || asks && bytes.starts_with(&RRQ))
        {
            if active.waiting.is_some() && bytes.starts_with(&ACK) {
                // It answers less than what is about to leave.
                return;
            }
            pace(active, &self.pacing, &mut self.interfaces, now);
            let output = active.transfer.handle(bytes, now);
            let anew = matches!(output, Output::Done(Outcome::Restarted));
            self.carry_out(driver, slot, output, now);
            if !anew {
                return;
            }
        }
        let stray = matches!(bytes, [0, 3..=6, ..]);
        if asks && (self.data_ports.is_some() || !stray) {
            self.request(driver, socket, arrival, bytes, now);
        } else if let Some(error) = unknown_tid(bytes) {
            self.reporter.metrics.tftp.refused("tftp.unknown-tid");
            send_packet(driver, socket, &arrival, &error);
        }
    }

    /// When [`TftpService::timeout`] is to be called next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let dues = [self.wheel.next(), self.waiting.next_timeout()];
        dues.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn timeout<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        while let Some(slot) = self.wheel.expire(now) {
            let Some(active) = self.transfers.get_mut(slot as usize) else {
                continue;
            };
            pace(active, &self.pacing, &mut self.interfaces, now);
            let output = active.transfer.handle_timeout(now);
            self.carry_out(driver, slot, output, now);
        }
        self.give_up(driver, now);
    }

    /// A cold range was read in, or could not be: those who wait for it go on.
    pub(crate) fn was_read_in<D: Driver>(
        &mut self,
        driver: &mut D,
        number: u32,
        result: &std::io::Result<()>,
        now: Instant,
    ) {
        for (slot, id) in self.read_ins.done(number, result, now) {
            if let Some(active) = self.transfers.get_mut(slot as usize)
                && active.id == id
                && let Some((window, since)) = active.waiting.take()
            {
                active
                    .transfer
                    .delayed(now.saturating_duration_since(since));
                self.carry_out(driver, slot, Output::Window(window), now);
            }
        }
    }

    /// Takes no more requests.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.waiting.clear();
    }

    /// Transfers under way.
    pub(crate) fn active(&self) -> usize {
        self.transfers.len()
    }

    fn request<D: Driver>(
        &mut self,
        driver: &mut D,
        socket: SocketId,
        arrival: Arrival,
        bytes: &[u8],
        now: Instant,
    ) {
        // An error is never answered, a request to everybody neither (RFC 1123, 4.2.3.5), and a
        // server that goes down leaves the client to ask the next one.
        if bytes.starts_with(&ERROR) || arrival.broadcast || self.draining {
            return;
        }
        let parsed = ReadRequest::parse(bytes);
        let found = match &parsed {
            Ok(request) => match self.find(request.file) {
                Err(missing) => {
                    match self.ask(socket, &arrival, bytes, request.file, missing, now) {
                        Ok(()) => return,
                        Err(refusal) => Err(refusal),
                    }
                }
                found => found,
            },
            Err(refusal) => Err(refusal.clone()),
        };
        self.answer(driver, socket, &arrival, &parsed, found, now);
    }

    /// Begins the transfer of a file, or says why not.
    fn answer<D: Driver>(
        &mut self,
        driver: &mut D,
        socket: SocketId,
        arrival: &Arrival,
        parsed: &Result<ReadRequest<'_>, Refusal>,
        file: Result<Arc<File>, Refusal>,
        now: Instant,
    ) {
        let begun = match (parsed, file) {
            (Ok(request), Ok(file)) => self.begin(driver, socket, arrival, request, file, now),
            (_, Err(refusal)) => Err(refusal),
            (Err(refusal), _) => Err(refusal.clone()),
        };
        match begun {
            Ok(Some((slot, output))) => self.carry_out(driver, slot, output, now),
            Ok(None) => {}
            Err(refusal) => {
                send_packet(driver, socket, arrival, &refusal.encode());
                self.reporter.metrics.tftp.refused(refusal.reason);
                let name = parsed.as_ref().ok().map(|request| request.file);
                self.tell_refused(arrival, name, refusal.reason, refusal.text);
            }
        }
    }

    /// `None` when it is not the machine's turn. It is not answered then: firmware repeats its
    /// request for half a minute and more, while an ERROR would end its boot.
    fn begin<D: Driver>(
        &mut self,
        driver: &mut D,
        requests: SocketId,
        arrival: &Arrival,
        request: &ReadRequest<'_>,
        file: Arc<File>,
        now: Instant,
    ) -> Result<Option<(u32, Output)>, Refusal> {
        let machine = arrival.source.ip();
        if file.len() >= limits::QUEUES_FROM
            && let Turn::Later(place) = self.pacing.ask(machine, now)
        {
            let (place, of) = (place.number, place.of);
            let queued = What::Queued { place, of };
            self.reporter.tell(None, Some(machine), queued);
            return Ok(None);
        }
        if self.transfers.len() >= limits::TRANSFERS {
            return Err(busy());
        }
        if !self.clients.may_begin(machine) {
            return Err(Refusal::new(
                error_code::UNDEFINED,
                "tftp.too-many-transfers",
                "this address has as many transfers as the server lets it have",
            ));
        }
        let socket = match &mut self.data_ports {
            None => requests,
            Some(ports) => ports
                .take(driver, arrival.source.is_ipv6())
                .ok_or_else(|| {
                    Refusal::new(
                        error_code::UNDEFINED,
                        "tftp.no-data-port",
                        "other programs on the server have every TFTP data port",
                    )
                })?,
        };
        let limits = self.limits(arrival, now);
        let (transfer, output) = Transfer::start(request, file.len(), &limits, now);
        let slot = self.transfers.insert(Active {
            transfer,
            file,
            socket,
            arrival: *arrival,
            id: transfer_id(),
            started: false,
            waiting: None,
            paced: None,
            told: (now, 0),
        }) as u32;
        self.clients.insert(arrival.source, slot);
        self.transfers[slot as usize].file.content.count_use();
        self.reporter.metrics.tftp.active.inc();
        let active = &mut self.transfers[slot as usize];
        pace(active, &self.pacing, &mut self.interfaces, now);
        Ok(Some((slot, output)))
    }

    fn find(&self, name: &str) -> Result<Arc<File>, Refusal> {
        let file = self.catalog.snapshot().tftp_file(name);
        match file {
            Ok(file) if file.is_intact() => Ok(file),
            Ok(_) => Err(Refusal::new(
                error_code::UNDEFINED,
                "tftp.file-changed",
                "the server's copy of the file is damaged",
            )),
            Err(LookupError::Forbidden) => Err(Refusal::new(
                error_code::ACCESS,
                "tftp.forbidden",
                format!("`{name}` leads out of the images folder"),
            )),
            Err(_) => Err(Refusal::new(
                error_code::NOT_FOUND,
                NOT_FOUND,
                format!("no such file: {name}"),
            )),
        }
    }

    fn limits(&mut self, arrival: &Arrival, now: Instant) -> Limits {
        let mtu = self.interfaces.mtu(arrival.interface, now);
        let window = self.settings.max_window;
        let by_mtu = if arrival.source.is_ipv6() {
            Limits::for_mtu_v6(mtu, window)
        } else {
            Limits::for_mtu(mtu, window)
        };
        Limits {
            max_block: by_mtu.max_block.min(self.settings.max_block),
            rollover: self.settings.rollover,
            ..by_mtu
        }
    }

    fn carry_out<D: Driver>(&mut self, driver: &mut D, slot: u32, output: Output, now: Instant) {
        let Some(active) = self.transfers.get_mut(slot as usize) else {
            return;
        };
        match output {
            Output::Nothing => {}
            Output::Packet(packet) => send_packet(driver, active.socket, &active.arrival, &packet),
            Output::Window(_) if !active.file.is_intact() => {
                let output = active.transfer.file_changed();
                return self.carry_out(driver, slot, output, now);
            }
            Output::Window(_) if active.waiting.is_some() => return,
            Output::Window(window) => {
                let range = window.offset..window.offset + window.data_len();
                let (until, id) = (active.file.len(), active.id);
                let waiter = || (slot, id);
                let reads = &mut self.read_ins;
                if !reads.may_send(driver, &active.file, range, until, waiter, now) {
                    active.waiting = Some((window, now));
                    // The disk makes it wait, not the client.
                    return self.wheel.set(slot, None);
                }
                self.reporter
                    .metrics
                    .tftp
                    .sent_bytes
                    .inc_by(window.data_len());
                active.start(&self.reporter);
                if let Some(paced) = &mut active.paced {
                    paced.sent(window.data_len());
                }
                active.send_window(driver, window);
            }
            Output::Done(outcome) => return self.finish(slot, &outcome),
            Output::PacketThenDone(packet, outcome) => {
                send_packet(driver, active.socket, &active.arrival, &packet);
                return self.finish(slot, &outcome);
            }
        }
        active.tell_progress(&self.reporter, now);
        if active.waiting.is_none() {
            self.wheel.set(slot, active.transfer.timeout());
        }
    }

    fn finish(&mut self, slot: u32, outcome: &Outcome) {
        self.wheel.set(slot, None);
        let Some(mut active) = self.transfers.try_remove(slot as usize) else {
            return;
        };
        self.clients.remove(&active.arrival.source);
        let tftp = &self.reporter.metrics.tftp;
        tftp.active.dec();
        let (id, bytes) = (active.id, active.transfer.acked_bytes());
        let resent = active.transfer.resent_bytes();
        tftp.resent_bytes.inc_by(resent);
        let what = match outcome {
            Outcome::Complete => {
                tftp.ended(metrics::OK);
                What::Finished { id, bytes, resent }
            }
            Outcome::Unconfirmed => {
                tftp.ended(outcome.code());
                let bytes = active.transfer.file_len();
                What::Finished { id, bytes, resent }
            }
            Outcome::Probe => {
                tftp.refused(outcome.code());
                let name = Some(&*active.file.path);
                let text = outcome.to_string().into();
                return self.tell_refused(&active.arrival, name, outcome.code(), text);
            }
            _ => {
                tftp.ended(outcome.code());
                // What ends has begun, even if no block has left.
                active.start(&self.reporter);
                What::Broken {
                    id,
                    bytes,
                    reason: Reason {
                        code: outcome.code(),
                        text: outcome.to_string().into(),
                    },
                }
            }
        };
        let ip = active.arrival.source.ip();
        self.reporter.tell(None, Some(ip), what);
    }

    fn tell_refused(
        &self,
        arrival: &Arrival,
        name: Option<&str>,
        code: &'static str,
        text: std::borrow::Cow<'static, str>,
    ) {
        let what = What::Refused {
            protocol: Protocol::Tftp,
            file: name.map(Into::into),
            reason: Reason { code, text },
        };
        self.reporter.tell(None, Some(arrival.source.ip()), what);
    }
}

impl Active {
    fn start(&mut self, reporter: &Reporter) {
        if self.started {
            return;
        }
        self.started = true;
        let what = What::Started {
            id: self.id,
            protocol: Protocol::Tftp,
            file: self.file.path.clone(),
            size: self.file.len(),
        };
        reporter.tell(None, Some(self.arrival.source.ip()), what);
    }

    fn tell_progress(&mut self, reporter: &Reporter, now: Instant) {
        let bytes = self.transfer.acked_bytes();
        let (at, before) = self.told;
        if bytes == before || now.saturating_duration_since(at) < limits::PROGRESS {
            return;
        }
        self.told = (now, bytes);
        let what = What::Progress { id: self.id, bytes };
        reporter.tell(None, Some(self.arrival.source.ip()), what);
    }

    fn send_window<D: Driver>(&self, driver: &mut D, window: Window) {
        let payload = Payload::Window {
            file: self.file.clone(),
            first_number: window.first_number,
            offset: window.offset,
            blocks: window.blocks,
            block_size: window.block_size,
            rollover: match window.rollover {
                Rollover::Zero => 0,
                Rollover::One => 1,
            },
        };
        send(driver, self.socket, &self.arrival, payload);
    }
}

fn busy() -> Refusal {
    Refusal::new(
        error_code::UNDEFINED,
        "tftp.busy",
        "the server has as many transfers as it takes: try again",
    )
}

/// Tells the transfer what may leave now, if there is any limit.
fn pace(active: &mut Active, pacing: &Arc<Pacing>, interfaces: &mut Interfaces, now: Instant) {
    let length = active.file.len();
    if active.paced.is_none() && pacing.is_limited() && length > limits::UNPACED {
        let machine = active.arrival.source.ip();
        let interface = interfaces.get(active.arrival.interface, now);
        let name = interface.map_or("", |i| &i.name);
        let feed = pacing.begin(machine, name, length >= limits::QUEUES_FROM, now);
        active.paced = Some(Box::new(Paced::new(feed, now)));
    }
    if let Some(paced) = &mut active.paced {
        paced.allow(&mut active.transfer, now);
    }
}

fn send_packet<D: Driver>(driver: &mut D, socket: SocketId, arrival: &Arrival, bytes: &[u8]) {
    let mut packet = driver.packet();
    // Every packet that is not a window is shorter than an Ethernet frame.
    if packet.try_extend_from_slice(bytes).is_ok() {
        send(driver, socket, arrival, Payload::Packet(packet));
    }
}

fn send<D: Driver>(driver: &mut D, socket: SocketId, arrival: &Arrival, payload: Payload) {
    let transmit = Transmit {
        socket,
        to: arrival.source,
        from: Some(arrival.local),
        interface: arrival.interface,
        payload,
    };
    // What does not fit the driver's backlog is as lost as on the wire: the timer sends it again.
    let _ = driver.send(transmit);
}
