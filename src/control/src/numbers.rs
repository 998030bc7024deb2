//! Numbers for boots and events.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up from a random number: servers that share a database, and runs of one server, never
/// count over the same ones.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Default for Numbers {
    fn default() -> Self {
        Self(RandomState::new().hash_one(std::process::id()).into())
    }
}

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
