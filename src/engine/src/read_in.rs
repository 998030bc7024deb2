//! Keeps cold pages away from the send path: who is to send a range that is not in memory waits
//! for the disk, and everybody else goes on.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_catalog::File;
use bootstorm_telemetry::metrics::Metrics;
use slab::Slab;

use crate::driver::{Driver, ReadToken, Reader};
use crate::limits;

/// The reads of one service of a worker; `W` names who waits for one.
#[derive(Debug)]
pub(crate) struct ReadIns<W> {
    reader: Reader,
    metrics: Arc<Metrics>,
    under_way: Slab<ReadIn<W>>,
    /// By file and first byte: however many wait for a chunk, it is read once.
    by_chunk: HashMap<(usize, u64), u32>,
    /// Those who came when as many reads were under way as may be.
    crowd: Vec<W>,
}

#[derive(Debug)]
struct ReadIn<W> {
    file: Arc<File>,
    range: Range<u64>,
    waiters: Vec<W>,
}

impl<W> ReadIns<W> {
    pub(crate) fn new(reader: Reader, metrics: Arc<Metrics>) -> Self {
        Self {
            reader,
            metrics,
            under_way: Slab::new(),
            by_chunk: HashMap::new(),
            crowd: Vec::new(),
        }
    }

    /// Whether `range` may be sent now. If not, it is read in, and [`ReadIns::done`] gives
    /// `waiter` back when it is worth asking again. What follows up to `until`, where the client's
    /// wish ends, is read ahead, so that a cold file streams as fast as the disk.
    pub(crate) fn may_send<D: Driver>(
        &mut self,
        driver: &mut D,
        file: &Arc<File>,
        range: Range<u64>,
        until: u64,
        waiter: impl FnOnce() -> W,
        now: Instant,
    ) -> bool {
        if file.content.is_pinned() {
            return true;
        }
        let ahead = until.min(range.end.saturating_add(limits::READ_AHEAD));
        let Some(cold) = driver.first_cold(file, range.clone(), now) else {
            if self.under_way.len() < limits::READ_INS / 2 {
                self.read_ahead(driver, file, range.end..ahead, now);
            }
            return true;
        };
        self.metrics.memory.waits.inc();
        match self.read(driver, file, cold.clone()) {
            Some(number) => self.under_way[number as usize].waiters.push(waiter()),
            None => self.crowd.push(waiter()),
        }
        self.read_ahead(driver, file, cold.end..ahead, now);
        false
    }

    /// A read has ended: those who wait for it, and those who found no place before.
    pub(crate) fn done(
        &mut self,
        number: u32,
        result: &io::Result<()>,
        now: Instant,
    ) -> impl Iterator<Item = W> + use<W> {
        let crowd = std::mem::take(&mut self.crowd);
        let ended = self.under_way.try_remove(number as usize);
        let waiters = ended.map(|read| {
            self.by_chunk.remove(&chunk(&read.file, &read.range));
            self.metrics
                .memory
                .read_in_bytes
                .inc_by(read.range.end - read.range.start);
            read.file.content.was_read_in(&read.range, result, now);
            if !read.file.is_intact() {
                self.metrics.memory.read_in_errors.inc();
            }
            read.waiters
        });
        waiters.into_iter().flatten().chain(crowd)
    }

    fn read_ahead<D: Driver>(
        &mut self,
        driver: &mut D,
        file: &Arc<File>,
        mut range: Range<u64>,
        now: Instant,
    ) {
        while range.start < range.end
            && let Some(cold) = driver.first_cold(file, range.clone(), now)
        {
            range.start = cold.end;
            self.read(driver, file, cold);
        }
    }

    /// The number of the read that brings `range`; `None` when there are too many.
    fn read<D: Driver>(
        &mut self,
        driver: &mut D,
        file: &Arc<File>,
        range: Range<u64>,
    ) -> Option<u32> {
        let chunk = chunk(file, &range);
        if let Some(&number) = self.by_chunk.get(&chunk) {
            return Some(number);
        }
        if self.under_way.len() >= limits::READ_INS {
            return None;
        }
        let number = self.under_way.insert(ReadIn {
            file: Arc::clone(file),
            range: range.clone(),
            waiters: Vec::new(),
        }) as u32;
        self.by_chunk.insert(chunk, number);
        let reader = self.reader;
        driver.read_in(Arc::clone(file), range, ReadToken { reader, number });
        Some(number)
    }
}

fn chunk(file: &Arc<File>, range: &Range<u64>) -> (usize, u64) {
    (Arc::as_ptr(file) as usize, range.start)
}
