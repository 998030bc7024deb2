//! Answers what the data plane asks: at once where memory holds the answer, else as a task, so that
//! a machine that waits for a program or a database holds up no other.

use std::io;
use std::sync::Arc;
use std::thread;

use bootstorm_proto::http::{BootRequest, BootResponse};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};

use super::{BootPages, Page};

/// Requests that wait for a decision at a time; the machines behind them are asked to come again.
const WAITING_MAX: usize = 1024;

impl BootPages {
    /// Answers every request by `reply`, which never blocks, on threads of its own, until
    /// `requests` ends. A request comes with whatever tells `reply` where its answer goes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve<T, R>(
        self,
        requests: impl IntoIterator<Item = (T, BootRequest)> + Send + 'static,
        reply: R,
    ) -> io::Result<()>
    where
        T: Send + 'static,
        R: Fn(T, BootResponse) + Clone + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let desk = Desk {
            pages: Arc::new(self),
            tasks: runtime.handle().clone(),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            reply,
        };
        let (ending, ended) = oneshot::channel::<()>();
        named("boot-waits", move || {
            // Ends when the other thread does, whichever way; what still waits is dropped.
            let _ = runtime.block_on(ended);
        })?;
        named("boot-pages", move || {
            let _ending = ending;
            for (to, request) in requests {
                desk.take(to, request);
            }
        })
    }
}

struct Desk<R> {
    pages: Arc<BootPages>,
    tasks: Handle,
    places: Arc<Semaphore>,
    reply: R,
}

impl<R> Desk<R> {
    fn take<T: Send + 'static>(&self, to: T, request: BootRequest)
    where
        R: Fn(T, BootResponse) + Clone + Send + 'static,
    {
        let waits = match self.pages.respond(&request) {
            Page::Ready(response) => return (self.reply)(to, response),
            Page::Waits(waits) => waits,
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return (self.reply)(to, self.pages.busy(&request));
        };
        let (pages, reply) = (Arc::clone(&self.pages), self.reply.clone());
        self.tasks.spawn(async move {
            let response = pages.wait(&request, waits).await;
            drop(place);
            reply(to, response);
        });
    }
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop)
}

#[cfg(test)]
mod tests;
