//! Work that waits, on a thread of its own: what it waits for holds up nobody else.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A thread for work that waits, bounded in number; clones share it. It ends with the last of them,
/// and what still waits is dropped.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    places: Arc<Semaphore>,
    _ending: Arc<oneshot::Sender<()>>,
}

impl Tasks {
    /// Starts the thread; at most `places` wait at a time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, places: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ending, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // The sender is only ever dropped.
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            runtime: handle,
            places: Arc::new(Semaphore::new(places)),
            _ending: Arc::new(ending),
        })
    }

    /// A place for work that waits, if there is one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Some(Place {
            runtime: self.runtime.clone(),
            permit: Arc::clone(&self.places).try_acquire_owned().ok()?,
        })
    }
}

/// The right to wait.
#[derive(Debug)]
pub struct Place {
    runtime: Handle,
    permit: OwnedSemaphorePermit,
}

impl Place {
    /// Lets `work` wait; the place is given back when it is done.
    pub fn spawn(self, work: impl Future<Output = ()> + Send + 'static) {
        let permit = self.permit;
        self.runtime.spawn(async move {
            work.await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn places_are_bounded_and_the_thread_ends_with_its_owner() {
        let tasks = Tasks::start("tasks", 2).unwrap();
        let (kept, dropped) = oneshot::channel::<()>();
        let waits = async move {
            let _kept = kept;
            pending().await
        };
        tasks.place().unwrap().spawn(waits);
        let (done, is_done) = oneshot::channel();
        let ends = async move {
            let _ = done.send(7);
        };
        tasks.place().unwrap().spawn(ends);
        assert_eq!(is_done.blocking_recv(), Ok(7));
        // Its place is given back a moment later.
        while tasks.places.available_permits() == 0 {
            thread::yield_now();
        }
        tasks.place().unwrap().spawn(pending());
        assert!(tasks.place().is_none());
        drop(tasks);
        assert!(dropped.blocking_recv().is_err());
    }
}
