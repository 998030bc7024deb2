//! One thread of the data plane: takes the driver's events to the services.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use bootstorm_proto::dhcp::Port;
use bootstorm_proto::http::BootResponse;
use crossbeam_channel::Receiver;

use crate::dhcp_service::{Datagram, DhcpService, Scope};
use crate::driver::{Arrival, Driver, Event, ListenerId, Reader, SocketId};
use crate::gate::{Gate, Passed, Service};
use crate::handoff::{DhcpTicket, FileTicket, MadeFile, Ticket};
use crate::http_service::{Ends, HttpService, ListenerKind};
use crate::limits;
use crate::report::Reporter;
use crate::strangers::{Full, Strangers};
use crate::tftp_service::TftpService;

/// What a UDP socket is for. Sockets that have no role are TFTP data ports.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// UDP 67 or 4011.
    Dhcp(Port, Scope),
    /// UDP 547.
    Dhcp6(Scope),
    /// TFTP requests.
    Tftp(Scope),
}

/// What the engine and one worker's thread share.
#[derive(Debug, Default)]
pub(crate) struct Control {
    phase: AtomicU8,
    /// Draining began and the last transfer and connection have ended.
    drained: AtomicBool,
}

impl Control {
    const DRAIN: u8 = 1;
    const STOP: u8 = 2;

    /// No new transfers and connections.
    pub(crate) fn drain(&self) {
        self.phase.fetch_max(Self::DRAIN, Ordering::Release);
    }

    /// Ends the worker.
    pub(crate) fn stop(&self) {
        self.phase.fetch_max(Self::STOP, Ordering::Release);
    }

    /// Draining is over: nothing is under way.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }
}

/// A driver and the services that it feeds.
pub(crate) struct Worker<D: Driver> {
    pub(crate) driver: D,
    pub(crate) roles: Vec<(SocketId, Role)>,
    pub(crate) listeners: Vec<(ListenerId, ListenerKind)>,
    pub(crate) answers: Receiver<(Ticket, BootResponse)>,
    pub(crate) decided: Receiver<DhcpTicket>,
    pub(crate) files: Receiver<(FileTicket, MadeFile)>,
    pub(crate) gate: Gate,
    pub(crate) reporter: Reporter,
    pub(crate) strangers: Strangers,
    pub(crate) dhcp: DhcpService,
    pub(crate) tftp: TftpService,
    pub(crate) http: HttpService,
    pub(crate) control: Arc<Control>,
    pub(crate) draining: bool,
    /// What a receive buffer held, so that the buffer is back in the ring before the service runs.
    pub(crate) scratch: Vec<u8>,
}

impl<D: Driver> Worker<D> {
    /// Runs until [`Control::stop`].
    ///
    /// # Errors
    /// The driver failed for good.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while self.control.phase.load(Ordering::Acquire) < Control::STOP {
            self.turn()?;
        }
        Ok(())
    }

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
        self.answer_strangers(now);
        while let Ok((ticket, response)) = self.answers.try_recv() {
            self.http.answer(&mut self.driver, ticket, response, now);
        }
        while let Ok(ticket) = self.decided.try_recv() {
            self.dhcp.decided(&mut self.driver, ticket);
        }
        while let Ok((ticket, file)) = self.files.try_recv() {
            self.tftp.made(&mut self.driver, ticket, file, now);
        }
        self.dhcp.timeout(&mut self.driver, now);
        self.tftp.timeout(&mut self.driver, now);
        self.http.timeout(&mut self.driver, now);
        if !self.draining && self.control.phase.load(Ordering::Acquire) >= Control::DRAIN {
            self.drain(now);
        }
        if self.draining {
            let idle = self.tftp.active() == 0 && self.http.open() == 0;
            self.control.drained.store(idle, Ordering::Release);
        }
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        if !self.strangers.is_empty() {
            return Some(self.driver.now());
        }
        let dues = [
            self.dhcp.next_timeout(),
            self.tftp.next_timeout(),
            self.http.next_timeout(),
        ];
        dues.into_iter().flatten().min()
    }

    fn drain(&mut self, now: Instant) {
        self.draining = true;
        self.strangers.clear();
        self.dhcp.drain();
        for (listener, _) in &self.listeners {
            self.driver.stop_listening(*listener);
        }
        self.tftp.drain();
        self.http.drain(&mut self.driver, now);
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Datagram {
                socket,
                arrival,
                buffer,
            } => {
                self.take(buffer);
                self.datagram(socket, arrival, now);
            }
            Event::Accepted {
                listener,
                conn,
                peer,
                local,
            } => {
                let kind = self.listeners.iter().find(|(id, _)| *id == listener);
                match kind {
                    Some(&(_, kind)) if !self.draining => {
                        let ends = Ends { peer, local };
                        self.http.accepted(&mut self.driver, conn, kind, ends, now);
                    }
                    _ => self.driver.close(conn),
                }
            }
            Event::Received { conn, buffer } => {
                self.take(buffer);
                self.http
                    .received(&mut self.driver, conn, &self.scratch, now);
            }
            Event::Written { conn, bytes, spent } => {
                self.http.written(&mut self.driver, conn, bytes, spent, now);
            }
            Event::Closed { conn, error } => {
                self.http.closed(&mut self.driver, conn, error, now);
            }
            Event::ReadIn { read, result } => {
                let (driver, number) = (&mut self.driver, read.number);
                match read.reader {
                    Reader::Tftp => self.tftp.was_read_in(driver, number, &result, now),
                    Reader::Http => self.http.was_read_in(driver, number, &result, now),
                }
            }
            Event::Woken => {}
        }
    }

    fn take(&mut self, buffer: crate::driver::Buffer) {
        self.scratch.clear();
        self.scratch.extend_from_slice(self.driver.bytes(&buffer));
        self.driver.recycle(buffer);
    }

    fn datagram(&mut self, socket: SocketId, arrival: Arrival, now: Instant) {
        let role = self.roles.iter().find(|(id, _)| *id == socket);
        let scope = match role {
            Some((_, Role::Dhcp(_, scope) | Role::Dhcp6(scope) | Role::Tftp(scope))) => scope,
            None => {
                let bytes = &self.scratch;
                return self
                    .tftp
                    .received(&mut self.driver, socket, arrival, bytes, now);
            }
        };
        let arrival = self.dhcp.located(arrival, now);
        if !scope.takes(&arrival) {
            return;
        }
        let bytes = &self.scratch;
        let service = match role {
            Some((_, Role::Dhcp(..) | Role::Dhcp6(_))) if self.draining => return,
            Some((_, Role::Dhcp(..))) => Some(Service::Dhcp),
            Some((_, Role::Dhcp6(_))) => None,
            _ => Some(Service::Tftp),
        };
        let judged = service.map(|service| {
            let judged = self.gate.judge(service, arrival.interface, bytes, now);
            judged.map_err(|stopped| self.reporter.stopped(&stopped, service, &arrival))
        });
        let passed = match judged {
            Some(Ok(passed)) => passed,
            None => Passed::AtOnce,
            Some(Err(())) => return,
        };
        let driver = &mut self.driver;
        let datagram = Datagram {
            socket,
            arrival,
            bytes,
        };
        match role {
            Some((_, Role::Dhcp(port, _))) if passed == Passed::Stranger => {
                if let Err(Full) = self.strangers.push(*port, datagram) {
                    self.reporter.metrics.dhcp.ignored("dhcp.busy");
                }
            }
            Some((_, Role::Dhcp(port, _))) => {
                let gate = &mut self.gate;
                self.dhcp.received(driver, gate, *port, datagram, now);
            }
            Some((_, Role::Dhcp6(_))) => {
                self.dhcp.received_v6(driver, &mut self.gate, datagram, now);
            }
            _ => self.tftp.received(driver, socket, arrival, bytes, now),
        }
    }

    /// Answers machines that nobody knows, for a while.
    fn answer_strangers(&mut self, now: Instant) {
        let begun = self.driver.now();
        while let Some(stranger) = self.strangers.pop() {
            let (driver, gate) = (&mut self.driver, &mut self.gate);
            self.dhcp
                .received(driver, gate, stranger.port, stranger.datagram(), now);
            self.strangers.give_back(stranger);
            let spent = self.driver.now().saturating_duration_since(begun);
            if spent >= limits::TURN_STRANGERS {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
