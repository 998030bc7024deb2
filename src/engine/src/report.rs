//! What the services tell the rest of the server.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, TransferId, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;

/// The way to the control plane's event queue; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    events: Sender<BootEvent>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reporter {
    pub(crate) fn new(events: Sender<BootEvent>, metrics: Arc<Metrics>) -> Self {
        Self { events, metrics }
    }

    /// Tells what happened, unless the queue is full.
    pub(crate) fn tell(&self, mac: Option<MacAddress>, ip: Option<IpAddr>, what: What) {
        let event = BootEvent {
            at: SystemTime::now(),
            mac,
            ip: ip.filter(|ip| !ip.is_unspecified()),
            what,
        };
        if self.events.try_send(event).is_err() {
            self.metrics.planes.events_dropped.inc();
        }
    }
}

/// A name that no other transfer of this run has.
pub(crate) fn transfer_id() -> TransferId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TransferId(NEXT.fetch_add(1, Ordering::Relaxed))
}
