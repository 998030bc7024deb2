//! Cold ranges, read in by a few threads: the worker's own must not wait for a disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bootstorm_catalog::File;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::driver::{Event, ReadToken, Waker};
use crate::limits;

/// The threads, once something was cold.
pub(super) struct Reads {
    waker: Waker,
    threads: Option<(Sender<Job>, Receiver<Done>)>,
}

type Job = (Arc<File>, Range<u64>, ReadToken);
type Done = (ReadToken, io::Result<()>);

impl Reads {
    pub(super) fn new(waker: Waker) -> Self {
        let threads = None;
        Self { waker, threads }
    }

    /// Has a range read in. What no thread can do is told as done at once: the send reads it then,
    /// late but right.
    pub(super) fn start(
        &mut self,
        file: Arc<File>,
        range: Range<u64>,
        read: ReadToken,
    ) -> Option<Event> {
        let waker = &self.waker;
        let (jobs, _) = self.threads.get_or_insert_with(|| spawn(waker));
        let result = Ok(());
        let refused = jobs.try_send((file, range, read)).is_err();
        refused.then_some(Event::ReadIn { read, result })
    }

    /// What was read since the last call.
    pub(super) fn done(&self) -> impl Iterator<Item = Event> + '_ {
        let done = self.threads.iter().flat_map(|(_, done)| done.try_iter());
        done.map(|(read, result)| Event::ReadIn { read, result })
    }
}

/// The threads end with the sender of their jobs.
fn spawn(waker: &Waker) -> (Sender<Job>, Receiver<Done>) {
    // Each of the two services has so many reads under way at most.
    let (jobs, waiting) = bounded::<Job>(2 * limits::READ_INS);
    let (finished, done) = bounded(2 * limits::READ_INS);
    for number in 0..limits::READ_IN_THREADS {
        let (waiting, finished, waker) = (waiting.clone(), finished.clone(), waker.clone());
        let thread = std::thread::Builder::new()
            .name(format!("read-in-{number}"))
            .spawn(move || {
                for (file, range, read) in waiting {
                    let result = file.content.read_in(range);
                    if finished.send((read, result)).is_err() {
                        return;
                    }
                    waker.wake();
                }
            });
        if let Err(error) = thread {
            tracing::warn!(%error, "a thread that reads images in cannot be started");
        }
    }
    (jobs, done)
}
