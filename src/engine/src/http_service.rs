//! The boot endpoint over HTTP and HTTPS: connections, heads, bodies out of the map.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use bootstorm_proto::http::BootResponse;

use crate::driver::{ConnId, Driver};
use crate::engine::Seams;
use crate::handoff::Ticket;

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
    worker: u16,
    seams: Seams,
    open: usize,
}

impl HttpService {
    pub(crate) fn new(worker: u16, seams: Seams) -> Self {
        Self {
            worker,
            seams,
            open: 0,
        }
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
        let _ = (&self.seams, self.worker, kind, ends, now);
        self.open += 1;
        driver.close(conn);
    }

    /// Bytes came.
    pub(crate) fn received<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        bytes: &[u8],
        now: Instant,
    ) {
        let _ = (bytes, now);
        driver.close(conn);
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
        let _ = (bytes, spent, now);
        driver.close(conn);
    }

    /// The peer closed its side or the connection broke; [`Driver::close`] is still to be called.
    pub(crate) fn closed<D: Driver>(
        &mut self,
        driver: &mut D,
        conn: ConnId,
        error: Option<ErrorKind>,
        now: Instant,
    ) {
        let _ = (error, now);
        self.open = self.open.saturating_sub(1);
        driver.close(conn);
    }

    /// The control plane answered.
    pub(crate) fn answer<D: Driver>(
        &mut self,
        driver: &mut D,
        ticket: Ticket,
        response: BootResponse,
        now: Instant,
    ) {
        let _ = (response, now);
        driver.close(ticket.connection);
    }

    /// When [`HttpService::timeout`] is to be called next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Closes what took too long.
    pub(crate) fn timeout<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        let _ = (driver, now);
    }

    /// No new requests: idle connections close now, the others after their response.
    pub(crate) fn drain<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        let _ = (driver, now);
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open
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
