//! One thread of the data plane: takes the driver's events to the services.

use std::io;
use std::time::Instant;

use bootstorm_proto::http::BootResponse;
use crossbeam_channel::Receiver;

use crate::driver::{Driver, Event, ListenerId};
use crate::handoff::Ticket;
use crate::http_service::{Ends, HttpService, ListenerKind};

/// A driver and the services that it feeds.
pub(crate) struct Worker<D: Driver> {
    driver: D,
    listeners: Vec<(ListenerId, ListenerKind)>,
    answers: Receiver<(Ticket, BootResponse)>,
    http: HttpService,
    /// What a receive buffer held, so that the buffer is back in the ring before the service runs.
    scratch: Vec<u8>,
}

impl<D: Driver> Worker<D> {
    /// Waits once and handles everything that came.
    ///
    /// # Errors
    /// The driver failed for good.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let until = self.next_timeout();
        self.driver.wait(until)?;
        let now = self.driver.now();
        while let Some(event) = self.driver.next_event() {
            self.handle(event, now);
        }
        while let Ok((ticket, response)) = self.answers.try_recv() {
            self.http.answer(&mut self.driver, ticket, response, now);
        }
        self.http.timeout(&mut self.driver, now);
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.http.next_timeout()
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Datagram { buffer, .. } => self.driver.recycle(buffer),
            Event::Accepted {
                listener,
                conn,
                peer,
                local,
            } => {
                let kind = self.listeners.iter().find(|(id, _)| *id == listener);
                match kind {
                    Some(&(_, kind)) => {
                        let ends = Ends { peer, local };
                        self.http.accepted(&mut self.driver, conn, kind, ends, now);
                    }
                    None => self.driver.close(conn),
                }
            }
            Event::Received { conn, buffer } => {
                self.scratch.clear();
                self.scratch.extend_from_slice(self.driver.bytes(&buffer));
                self.driver.recycle(buffer);
                self.http
                    .received(&mut self.driver, conn, &self.scratch, now);
            }
            Event::Written { conn, bytes, spent } => {
                self.http.written(&mut self.driver, conn, bytes, spent, now);
            }
            Event::Closed { conn, error } => {
                self.http.closed(&mut self.driver, conn, error, now);
            }
            Event::Woken => {}
        }
    }
}
