//! Handshakes take turns. One costs as much processor time as hundreds of packets, and a lab that
//! is switched on begins thousands within a second: while they wait here, one a turn of the worker,
//! bodies flow and packets are answered.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Instant;

use crate::driver::ConnId;
use crate::limits;

/// Connections whose handshake can go on, in order of arrival, and since when.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    queue: VecDeque<(ConnId, Instant)>,
}

impl Handshakes {
    /// Queues a connection, which must not be queued already.
    pub(super) fn push(&mut self, conn: ConnId, now: Instant) {
        self.queue.push_back((conn, now));
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<ConnId> {
        self.queue.pop_front().map(|(conn, _)| conn)
    }

    /// Since when somebody waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.queue.front().map(|(_, since)| *since)
    }
}

/// What a connection received while it waits for its handshake's turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) bytes: Vec<u8>,
    pub(super) since: Instant,
    /// The peer's side has ended as well; `true` says that it broke.
    pub(super) closed: Option<Option<ErrorKind>>,
}

impl Waiting {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: Vec::new(),
            since: now,
            closed: None,
        }
    }

    /// Adds what came; tells whether there was room for it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= limits::TLS_HANDSHAKE_BYTES;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }
}
