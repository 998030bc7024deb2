//! What the connections of one worker share: seams, buffers, names of transfers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bootstorm_telemetry::event::{Protocol, Reason, TransferId, What};

use crate::config::Seams;
use crate::interfaces::Interfaces;
use crate::limits;
use crate::pacing::Pacing;
use crate::report::{Reporter, transfer_id};

/// One worker's side of the boot endpoint.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) worker: u16,
    pub(super) seams: Seams,
    pub(super) draining: bool,
    /// Connections that are open.
    pub(super) open: usize,
    /// Limits of rates and machines.
    pub(super) pacing: Arc<Pacing>,
    pub(super) interfaces: Interfaces,
    reporter: Reporter,
    buffers: Vec<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(worker: u16, seams: Seams) -> Self {
        let reporter = Reporter::new(seams.events.clone(), Arc::clone(&seams.metrics));
        Self {
            worker,
            pacing: Pacing::unlimited(&seams.metrics),
            interfaces: Interfaces::default(),
            seams,
            reporter,
            draining: false,
            open: 0,
            buffers: Vec::new(),
        }
    }

    /// An empty buffer, used before if there is one.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let size = buffer.capacity();
        if self.buffers.len() < limits::HTTP_BUFFERS && (1..=2 * limits::TLS_BATCH).contains(&size)
        {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Bytes of a body sealed at a time: less when many connections hold such a batch.
    pub(super) fn tls_batch(&self) -> usize {
        if self.open > limits::HTTP_CROWD {
            limits::TLS_BATCH_IN_CROWD
        } else {
            limits::TLS_BATCH
        }
    }

    /// Tells what happened to the machine at `peer`; a full queue loses it, counted.
    pub(super) fn tell(&self, peer: SocketAddr, what: What) {
        self.reporter
            .tell(None, Some(peer.ip().to_canonical()), what);
    }

    /// Tells and counts a request or connection that was refused.
    pub(super) fn refused(
        &self,
        peer: SocketAddr,
        protocol: Protocol,
        file: Option<&str>,
        reason: Reason,
    ) {
        self.seams.metrics.http.refused(reason.code);
        let file = file.map(Arc::from);
        self.tell(
            peer,
            What::Refused {
                protocol,
                file,
                reason,
            },
        );
    }

    /// A body begins to travel.
    pub(super) fn started(
        &self,
        peer: SocketAddr,
        protocol: Protocol,
        file: Arc<str>,
        size: u64,
        now: Instant,
    ) -> Transfer {
        let id = transfer_id();
        self.tell(
            peer,
            What::Started {
                id,
                protocol,
                file,
                size,
            },
        );
        Transfer {
            id,
            size,
            bytes: 0,
            told: now,
        }
    }
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    id: TransferId,
    size: u64,
    bytes: u64,
    told: Instant,
}

impl Transfer {
    /// So many more bytes were written.
    pub(super) fn advanced(&mut self, shared: &Shared, peer: SocketAddr, bytes: u64, now: Instant) {
        self.bytes += bytes;
        let due = now.saturating_duration_since(self.told) >= limits::PROGRESS;
        if due && self.bytes < self.size {
            self.told = now;
            let (id, bytes) = (self.id, self.bytes);
            shared.tell(peer, What::Progress { id, bytes });
        }
    }

    /// Everything was written.
    pub(super) fn finished(self, shared: &Shared, peer: SocketAddr) {
        let (id, bytes) = (self.id, self.bytes);
        let resent = 0;
        shared.tell(peer, What::Finished { id, bytes, resent });
    }

    /// It ended early.
    pub(super) fn broken(self, shared: &Shared, peer: SocketAddr, reason: Reason) {
        shared.seams.metrics.http.refused(reason.code);
        let (id, bytes) = (self.id, self.bytes);
        shared.tell(peer, What::Broken { id, bytes, reason });
    }
}

/// Canonical form of an address: an IPv4 client of a dual-stack listener is an IPv4 client.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port())
}
