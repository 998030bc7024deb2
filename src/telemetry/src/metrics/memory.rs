//! What of the images is in memory, and what had to be fetched.

use prometheus_client::registry::Registry;

use super::{Counter, Gauge, byte_counter, counter, gauge};

/// Images in memory.
#[derive(Debug)]
pub struct Memory {
    /// Transfers that waited for the disk, once for each time.
    pub waits: Counter,
    /// Bytes read in for transfers.
    pub read_in_bytes: Counter,
    /// Reads that failed.
    pub read_in_errors: Counter,
    /// Bytes of images that are locked in memory.
    pub pinned_bytes: Gauge,
}

impl Memory {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            waits: counter(
                r,
                "memory_waits",
                "Times that a transfer waited for a part of an image that was not in memory",
            ),
            read_in_bytes: byte_counter(
                r,
                "memory_read_in",
                "Bytes of images read from the disk for transfers",
            ),
            read_in_errors: counter(
                r,
                "memory_read_in_errors",
                "Reads that failed: the disk, or a copy that was truncated",
            ),
            pinned_bytes: gauge(r, "memory_pinned_bytes", "Bytes of images locked in memory"),
        }
    }
}
