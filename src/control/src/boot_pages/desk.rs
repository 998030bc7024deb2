//! Answers what the data plane asks: at once where memory holds the answer, else as a task, so that
//! a machine that waits for a program or a database holds up no other.

use std::io;
use std::sync::Arc;
use std::thread;

use bootstorm_proto::http::{BootRequest, BootResponse};

use super::{BootPages, Page};
use crate::Tasks;

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
        let desk = Desk {
            pages: Arc::new(self),
            tasks: Tasks::start("boot-waits", WAITING_MAX)?,
            reply,
        };
        let thread = thread::Builder::new().name("boot-pages".to_owned());
        thread.spawn(move || {
            for (to, request) in requests {
                desk.take(to, request);
            }
        })?;
        Ok(())
    }
}

struct Desk<R> {
    pages: Arc<BootPages>,
    tasks: Tasks,
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
        let Some(place) = self.tasks.place() else {
            return (self.reply)(to, self.pages.busy(&request));
        };
        let (pages, reply) = (Arc::clone(&self.pages), self.reply.clone());
        place.spawn(async move {
            let response = pages.wait(&request, waits).await;
            reply(to, response);
        });
    }
}

#[cfg(test)]
mod tests;
