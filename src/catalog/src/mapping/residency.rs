//! Which parts of a map are in memory, so that nobody waits for the disk unawares.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::guard::page_size;

/// Bytes that are looked at, and read in, together.
pub const CHUNK: u64 = 1 << 20;

/// How long a chunk that was found in memory is taken to be there.
const TRUST: Duration = Duration::from_secs(1);

/// What is known of each chunk.
#[derive(Debug)]
pub(super) struct Residency {
    /// Milliseconds after `since` until which the chunk is trusted to be in memory.
    chunks: Box<[AtomicU32]>,
    since: Instant,
    /// The whole map is locked.
    pinned: AtomicBool,
}

impl Residency {
    pub(super) fn new(length: u64) -> Self {
        let count = usize::try_from(length.div_ceil(CHUNK)).unwrap_or(0);
        Self {
            chunks: (0..count).map(|_| AtomicU32::new(0)).collect(),
            since: Instant::now(),
            pinned: AtomicBool::new(false),
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    pub(super) fn set_pinned(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Relaxed);
    }

    pub(super) fn first_cold(
        &self,
        map: &[u8],
        range: Range<u64>,
        now: Instant,
    ) -> Option<Range<u64>> {
        let length = map.len() as u64;
        let end = range.end.min(length);
        if range.start >= end || self.is_pinned() {
            return None;
        }
        let at = self.clock(now);
        for chunk in range.start / CHUNK..=(end - 1) / CHUNK {
            let trusted = self.chunks.get(usize::try_from(chunk).ok()?)?;
            if at < trusted.load(Ordering::Relaxed) {
                continue;
            }
            let bytes = chunk * CHUNK..length.min((chunk + 1) * CHUNK);
            let (from, to) = (bytes.start as usize, bytes.end as usize);
            if !in_memory(map.get(from..to)?) {
                return Some(bytes);
            }
            trusted.store(self.trust(at), Ordering::Relaxed);
        }
        None
    }

    /// `range` was read in.
    pub(super) fn note(&self, range: &Range<u64>, now: Instant) {
        let until = self.trust(self.clock(now));
        for chunk in range.start / CHUNK..range.end.div_ceil(CHUNK) {
            if let Some(chunk) = usize::try_from(chunk).ok().and_then(|c| self.chunks.get(c)) {
                chunk.store(until, Ordering::Relaxed);
            }
        }
    }

    fn clock(&self, now: Instant) -> u32 {
        // After 49 days nothing is trusted any more and each chunk is looked at each time.
        let passed = now.saturating_duration_since(self.since).as_millis();
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    fn trust(&self, at: u32) -> u32 {
        at.saturating_add(TRUST.as_millis() as u32)
    }
}

/// Whether all pages of a part of a map, which begins at a page, are in memory. Where the kernel
/// does not tell, they are taken to be.
fn in_memory(part: &[u8]) -> bool {
    const PAGES: usize = (CHUNK / 4096) as usize;
    let mut pages = [0_u8; PAGES];
    // SAFETY: the range is mapped, and `pages` has room for its pages, which are 4 KiB or more:
    // a part is a chunk at most.
    let told = unsafe {
        libc::mincore(
            part.as_ptr().cast_mut().cast(),
            part.len(),
            pages.as_mut_ptr(),
        )
    };
    let count = part.len().div_ceil(page_size());
    told != 0 || pages.iter().take(count).all(|page| page & 1 == 1)
}
