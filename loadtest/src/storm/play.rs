//! The loop: waits for sockets and clocks, and gives machines what concerns them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, Event, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::crowd::{Crowd, Token};
use super::frame;
use super::link::Arrival;
use super::receiver::Receiver;
use super::stream::Rooms;
use super::usage::ServerClock;
use super::{Setup, StopRules, Watcher};
use crate::fetch::on_processor;
use crate::machine::io::{Input, Socket};
use crate::report::{Books, End, Report};

/// How often processor times are booked and the watcher looks.
const GLANCE: Duration = Duration::from_millis(250);
/// Events that are taken with one call.
const EVENTS: usize = 1024;
/// Machines that are woken before sockets get their turn again.
const WAKES: usize = 1024;

/// Plays a storm to its end.
pub(super) fn play(
    setup: Setup,
    books: Books,
    watch: &mut dyn Watcher,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    let rules = setup.stop;
    let server = setup.server.clone().map(ServerClock::new);
    let begun = Instant::now();
    let mut storm = Storm {
        crowd: Crowd::new(setup, books, begun)?,
        receiver: Receiver::new(),
        rooms: Rooms::new(),
        room: Vec::new(),
        begun,
        glance_at: begun,
        own_before: on_processor(),
        server,
    };
    let end = storm.play(rules, watch, stop)?;
    let now = Instant::now();
    storm.book_usage(now);
    Ok(storm.crowd.close(now, end))
}

struct Storm {
    crowd: Crowd,
    receiver: Receiver,
    rooms: Rooms,
    /// Where relays take their own option out of replies.
    room: Vec<u8>,
    begun: Instant,
    glance_at: Instant,
    /// What this program took before the storm.
    own_before: Duration,
    server: Option<ServerClock>,
}

impl Storm {
    fn play(
        &mut self,
        rules: StopRules,
        watch: &mut dyn Watcher,
        stop: &AtomicBool,
    ) -> anyhow::Result<End> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            self.crowd.wake(now, WAKES);
            self.crowd.tell_mishaps(now);
            if now >= self.glance_at {
                self.glance_at = now + GLANCE;
                self.book_usage(now);
                if !watch.see(&self.crowd.snapshot(now)) {
                    return Ok(End::Interrupted);
                }
            }
            if let Some(end) = self.end(rules, now) {
                return Ok(end);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            self.wait(&mut events, now)?;
            for event in events.drain(..) {
                self.ready(event)?;
            }
        }
    }

    fn end(&self, rules: StopRules, now: Instant) -> Option<End> {
        let over = |after| now.saturating_duration_since(self.begun) >= after;
        if self.crowd.busy() == 0 {
            Some(End::AllThrough)
        } else if rules
            .failures
            .is_some_and(|most| self.crowd.failed() >= most)
        {
            Some(End::Failures)
        } else if rules.after.is_some_and(over) {
            Some(End::TimeUp)
        } else {
            None
        }
    }

    /// Waits for sockets, but no longer than a clock allows.
    fn wait(&self, events: &mut Vec<Event>, now: Instant) -> anyhow::Result<()> {
        let mut until = self.glance_at;
        if let Some(wake) = self.crowd.next_wake() {
            until = until.min(wake);
        }
        let timeout = Timespec::try_from(until.saturating_duration_since(now))?;
        let events = rustix::buffer::spare_capacity(events);
        match epoll::wait(self.crowd.epoll(), events, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn book_usage(&mut self, now: Instant) {
        let own = on_processor().saturating_sub(self.own_before);
        let server = self.server.as_mut().map(ServerClock::read);
        self.crowd.usage(now, own, server);
    }

    /// Takes from one socket as much as one call brings: then the others have their turn.
    fn ready(&mut self, event: Event) -> anyhow::Result<()> {
        let flags = event.flags;
        match Token::from(event.data) {
            Token::Link(number) => self.link_ready(number)?,
            Token::Datagrams(machine, socket, generation) => {
                self.datagrams_ready(machine, socket, generation, flags);
            }
            Token::Stream(machine, generation) => {
                let now = Instant::now();
                self.crowd
                    .stream_ready(machine, generation, flags, &mut self.rooms, now);
            }
        }
        Ok(())
    }

    fn link_ready(&mut self, number: u32) -> anyhow::Result<()> {
        let Some(socket) = self.crowd.link().socket(number) else {
            return Ok(());
        };
        let received = match self.receiver.receive(socket) {
            // What ICMP tells of an earlier request concerns nobody: the machine repeats itself.
            Err(nix::errno::Errno::ECONNREFUSED) => 0,
            received => received?,
        };
        let now = Instant::now();
        for packet in 0..received {
            let Some((from, packet)) = self.receiver.datagram(packet) else {
                continue;
            };
            match self.crowd.link().unpack(from, packet) {
                Arrival::Replies(from, replies) => {
                    for reply in frame::replies(replies) {
                        match self.crowd.link().sort(number, reply, &mut self.room) {
                            Some((machine, payload)) => {
                                let input = Input::Dhcp { from, payload };
                                self.crowd.reply(machine, input, now);
                            }
                            None => self.crowd.strays.foreign += 1,
                        }
                    }
                }
                Arrival::Fragment => self.crowd.strays.fragments += 1,
                Arrival::Nothing => {}
            }
        }
        Ok(())
    }

    fn datagrams_ready(
        &mut self,
        machine: u32,
        socket: Socket,
        generation: u32,
        flags: EventFlags,
    ) {
        let Some(descriptor) = self.crowd.datagrams(machine, socket, generation) else {
            return;
        };
        let received = if flags.contains(EventFlags::ERR) {
            Err(None)
        } else {
            self.receiver.receive(descriptor).map_err(Some)
        };
        let now = Instant::now();
        let received = match received {
            Ok(received) => received,
            Err(told) => {
                let refused = told == Some(nix::errno::Errno::ECONNREFUSED);
                self.crowd.datagram_errors(machine, socket, refused, now);
                return;
            }
        };
        for packet in 0..received {
            // What else came on a socket that the machine has closed in between is for nobody.
            if self.crowd.datagrams(machine, socket, generation).is_none() {
                return;
            }
            if let Some((from, payload)) = self.receiver.datagram(packet) {
                let input = Input::Datagram {
                    socket,
                    from,
                    payload,
                };
                self.crowd.feed(machine, input, now);
            }
        }
    }
}
