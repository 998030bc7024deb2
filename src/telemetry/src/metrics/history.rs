//! What is written down, and passed on.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::counter;

/// The history of boots.
#[derive(Debug)]
pub struct History {
    /// Bytes of notes that the database has not taken yet.
    pub spool_bytes: Gauge,
    /// Notes that were given up.
    pub dropped: Counter,
    /// Events that were sent to the syslog collector.
    pub syslog_sent: Counter,
    /// Events for it that were given up.
    pub syslog_dropped: Counter,
}

impl History {
    pub(super) fn register(r: &mut Registry) -> Self {
        let spool_bytes = Gauge::default();
        r.register_with_unit(
            "spool",
            "Notes of machines, boots and events that the database has not taken yet",
            Unit::Bytes,
            Gauge::clone(&spool_bytes),
        );
        Self {
            spool_bytes,
            dropped: counter(
                r,
                "notes_dropped",
                "Notes of machines, boots and events that were given up: too many at once, or the \
                 database was away for too long",
            ),
            syslog_sent: counter(
                r,
                "syslog_sent",
                "Boot events that were sent to the syslog collector",
            ),
            syslog_dropped: counter(
                r,
                "syslog_dropped",
                "Boot events that were not sent to the syslog collector: it cannot be reached, or \
                 too many came at once",
            ),
        }
    }
}
