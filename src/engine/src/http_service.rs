//! The boot endpoint over HTTP and HTTPS: connections, heads, bodies out of the map.

mod answer;
mod connection;
mod handshakes;
mod shared;
mod timers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_proto::http::BootResponse;
use bootstorm_telemetry::event::{Protocol, Reason};

use self::connection::{Connection, Step};
use self::handshakes::Handshakes;
use self::shared::Shared;
use self::timers::Timers;
use crate::config::Seams;
use crate::driver::{ConnId, Driver, Reader};
use crate::handoff::Ticket;
use crate::limits;
use crate::pacing::Pacing;
use crate::read_in::ReadIns;
use crate::tls::Stream;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Every connection of one worker. It calls [`Driver::write`] and [`Driver::close`] itself.
#[derive(Debug)]
pub(crate) struct HttpService {
    shared: Shared,
    /// By the driver's slot.
    connections: Vec<Option<Box<Connection>>>,
    timers: Timers,
    handshakes: Handshakes,
    read_ins: ReadIns<ConnId>,
}

impl HttpService {
    pub(crate) fn new(worker: u16, seams: Seams) -> Self {
        Self {
            read_ins: ReadIns::new(Reader::Http, Arc::clone(&seams.metrics)),
            shared: Shared::new(worker, seams),
            connections: Vec::new(),
            timers: Timers::default(),
            handshakes: Handshakes::default(),
        }
    }

    /// Under the limits that all workers share.
    pub(crate) fn paced(mut self, pacing: Arc<Pacing>) -> Self {
        self.shared.pacing = pacing;
        self
    }

    /// A connection was accepted; receiving has begun.
    pub(crate) fn accepted<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        kind: ListenerKind,
        ends: Ends,
        now: Instant,
    ) {
        let protocol = match kind {
            ListenerKind::Http => Protocol::Http,
            ListenerKind::Https => Protocol::Https,
        };
        let full = self.shared.open >= limits::HTTP_FULL;
        let slot = usize::try_from(conn.slot).unwrap_or(usize::MAX);
        // Without TLS a crowd can be told; a handshake only to say so would feed it.
        if self.shared.draining
            || slot >= limits::CONNECTIONS
            || (full && kind == ListenerKind::Https)
        {
            self.shared
                .seams
                .metrics
                .http
                .refused("http.too-many-connections");
            return driver.close(conn);
        }
        let tls = match self.tls(kind) {
            Ok(tls) => tls,
            Err(reason) => {
                self.shared.refused(ends.peer, protocol, None, reason);
                return driver.close(conn);
            }
        };
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        self.forget(conn);
        let mut connection = Connection::new(conn, protocol, ends, tls, self.shared.worker, now);
        self.shared.open += 1;
        self.shared.seams.metrics.http.opened(protocol);
        if full {
            connection.turn_away(&mut self.shared);
        }
        if let Some(place) = self.connections.get_mut(slot) {
            *place = Some(Box::new(connection));
        }
        self.drive(driver, conn, now);
    }

    /// Bytes came.
    pub(crate) fn received<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        bytes: &[u8],
        now: Instant,
    ) {
        let Some(connection) = find(&mut self.connections, conn) else {
            return;
        };
        if connection.is_handshaking() {
            if connection.awaits_turn(bytes, &self.shared, now) {
                self.handshakes.push(conn, now);
            }
        } else {
            connection.received(bytes, &mut self.shared, now);
        }
        self.drive(driver, conn, now);
    }

    /// A piece was written as far as `bytes`; `spent` is the allocation of an owned piece.
    pub(crate) fn written<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        bytes: usize,
        spent: Option<Vec<u8>>,
        now: Instant,
    ) {
        if let Some(buffer) = spent {
            self.shared.give_back(buffer);
        }
        if let Some(connection) = find(&mut self.connections, conn) {
            connection.written(bytes, &mut self.shared, now);
            self.drive(driver, conn, now);
        }
    }

    /// The peer closed its side or the connection broke; [`Driver::close`] is still to be called.
    pub(crate) fn closed<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        error: Option<ErrorKind>,
        now: Instant,
    ) {
        match find(&mut self.connections, conn) {
            Some(connection) => {
                connection.closed(error, &mut self.shared);
                self.drive(driver, conn, now);
            }
            None => driver.close(conn),
        }
    }

    /// The control plane answered.
    pub(crate) fn answer<D: Driver>(
        &mut self,
        driver: &mut D,
        ticket: Ticket,
        response: BootResponse,
        now: Instant,
    ) {
        if let Some(connection) = find(&mut self.connections, ticket.connection) {
            connection.answered(&response, &mut self.shared, now);
            self.drive(driver, ticket.connection, now);
        }
    }

    /// A cold range was read in, or could not be: those who wait for it go on.
    pub(crate) fn was_read_in<D: Driver>(
        &mut self,
        driver: &mut D,
        number: u32,
        result: &std::io::Result<()>,
        now: Instant,
    ) {
        for conn in self.read_ins.done(number, result, now) {
            if let Some(connection) = find(&mut self.connections, conn) {
                connection.was_read_in(now);
                self.drive(driver, conn, now);
            }
        }
    }

    /// When [`HttpService::timeout`] is to be called next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.handshakes.since().or(self.timers.next())
    }

    /// Closes what took too long, and lets one handshake go on.
    pub(crate) fn timeout<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        self.handshake(driver, now);
        while let Some((conn, at)) = self.timers.pop(now) {
            let Some(connection) = find(&mut self.connections, conn) else {
                continue;
            };
            if connection.alarm != Some(at) {
                continue;
            }
            connection.alarm = None;
            if connection.deadline() <= now {
                connection.timed_out(&mut self.shared, now);
            }
            self.drive(driver, conn, now);
        }
    }

    /// No new requests: idle connections close now, the others after their response.
    pub(crate) fn drain<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        self.shared.draining = true;
        let all: Vec<ConnId> = self.connections.iter().flatten().map(|c| c.id()).collect();
        for conn in all {
            if let Some(connection) = find(&mut self.connections, conn) {
                connection.drain(now);
                self.drive(driver, conn, now);
            }
        }
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open
    }

    fn tls(&self, kind: ListenerKind) -> Result<Option<Stream>, Reason> {
        match (kind, &self.shared.seams.tls) {
            (ListenerKind::Http, _) => Ok(None),
            (ListenerKind::Https, Some(config)) => Stream::new(config.clone()).map(Some),
            (ListenerKind::Https, None) => Err(Reason {
                code: "tls.no-certificate",
                text: "the server has no certificate".into(),
            }),
        }
    }

    fn handshake<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        while let Some(conn) = self.handshakes.pop() {
            if let Some(connection) = find(&mut self.connections, conn) {
                connection.takes_turn(&mut self.shared, now);
                return self.drive(driver, conn, now);
            }
        }
    }

    fn drive<D: Driver>(&mut self, driver: &mut D, conn: ConnId, now: Instant) {
        let Some(connection) = find(&mut self.connections, conn) else {
            return;
        };
        loop {
            match connection.step(&mut self.shared, now) {
                Step::Load => {
                    let reads = &mut self.read_ins;
                    if let Some(most) = connection.portion(&mut self.shared, driver, now) {
                        connection.load(most, |file, part, until| {
                            reads.may_send(driver, file, part, until, || conn, now)
                        });
                    }
                    continue;
                }
                Step::HandOver => {
                    connection.hand_over(driver, &mut self.shared);
                    continue;
                }
                Step::Write(piece) => driver.write(conn, piece),
                Step::Wait => {}
                Step::Close => {
                    driver.close(conn);
                    return self.forget(conn);
                }
            }
            break;
        }
        let deadline = connection.deadline();
        self.timers.set(conn, &mut connection.alarm, deadline);
    }

    // Whatever is in the slot is history: the driver has closed or reused it.
    fn forget(&mut self, conn: ConnId) {
        let slot = usize::try_from(conn.slot).unwrap_or(usize::MAX);
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::take) {
            self.shared.open = self.shared.open.saturating_sub(1);
            let metrics = &self.shared.seams.metrics;
            metrics.http.closed(connection.protocol());
        }
    }
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Our address that it reached.
    pub(crate) local: SocketAddr,
}

fn find(connections: &mut [Option<Box<Connection>>], conn: ConnId) -> Option<&mut Connection> {
    connections
        .get_mut(usize::try_from(conn.slot).ok()?)?
        .as_deref_mut()
        .filter(|connection| connection.id() == conn)
}

#[cfg(test)]
mod tests;
