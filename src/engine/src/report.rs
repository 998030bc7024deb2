//! What the services tell the rest of the server.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, Reason, TransferId, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;

use crate::driver::Arrival;
use crate::gate::{Service, Stopped};

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

    /// Tells what the gate stopped, as often as it lets us.
    pub(crate) fn stopped(&self, stopped: &Stopped, service: Service, arrival: &Arrival) {
        let (true, Some(code)) = (stopped.is_told, stopped.cause.code()) else {
            return;
        };
        let reason = Reason {
            code,
            text: stopped.cause.text().into(),
        };
        // DHCP comes from relays too: their addresses are nobody else's.
        let ip = (service == Service::Tftp).then(|| arrival.source.ip());
        self.tell(stopped.mac, ip, What::Silent { reason });
    }
}

/// A name that no other transfer of this run has.
pub(crate) fn transfer_id() -> TransferId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TransferId(NEXT.fetch_add(1, Ordering::Relaxed))
}
