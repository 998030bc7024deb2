//! What becomes of what machines want.

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::{Crowd, GENERATION, Mishap, Open, Place, ROOM, Stage, Token};
use crate::finding::{Code, Finding};
use crate::machine::event::{Event, Outcome};
use crate::machine::io::{Input, Output, Socket};
use crate::storm::sockets;
use crate::storm::stream::{self, Rooms, Stream};

impl Crowd {
    /// Does what a machine wants, and looks when it is to be woken.
    pub(super) fn settle(&mut self, index: u32, now: Instant) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain(..) {
            self.act(index, output, now);
        }
        self.out = out;
        let Some(place) = self.places.get_mut(index as usize) else {
            return;
        };
        match place.machine.deadline() {
            Some(deadline) => self.timers.arm(index, deadline),
            None if place.stage == Stage::Ended => {
                place.stage = Stage::Gone;
                place.tls = None;
                self.busy -= 1;
            }
            None => {}
        }
    }

    fn act(&mut self, index: u32, output: Output, now: Instant) {
        match output {
            Output::Broadcast(message) => {
                if let Some(place) = self.places.get(index as usize) {
                    self.link.send(place.machine.identity(), &message);
                }
            }
            Output::Open(socket) => self.open(index, socket, now),
            Output::Send(socket, to, payload) => self.send(index, socket, to, &payload),
            Output::Close(socket) => {
                if let Some(place) = self.places.get_mut(index as usize) {
                    *place.datagrams_mut(socket) = None;
                }
            }
            Output::Connect(to, name) => self.connect(index, to, name.as_deref()),
            Output::Write(bytes) => {
                self.with_stream(index, |stream| stream.write(&bytes));
            }
            Output::Pause => self.pause(index, true),
            Output::Resume => self.pause(index, false),
            Output::Disconnect => {
                if let Some(stream) = self.take_stream(index) {
                    stream.end();
                }
            }
            Output::Forget => self.forget(index),
            Output::PowerOff => self.power_off(index),
            Output::Event(event) => self.book(index, event, now),
            Output::EventOf(other, event) => self.book(other, event, now),
        }
    }

    fn book(&mut self, index: u32, event: Event, now: Instant) {
        let Some(place) = self.places.get_mut(index as usize) else {
            return;
        };
        let ended = matches!(event, Event::Ended(_));
        match &event {
            Event::PoweredOn => place.stage = Stage::On,
            Event::Ended(outcome) => {
                place.stage = Stage::Ended;
                self.failed += u32::from(matches!(outcome, Outcome::Failed(_)));
            }
            _ => {}
        }
        let (who, trace) = (place.machine.identity(), place.machine.trace());
        self.books.book(who, event, trace, now);
        if ended {
            self.hang_up(index);
        }
    }

    fn open(&mut self, index: u32, socket: Socket, now: Instant) {
        let Some(place) = self.places.get_mut(index as usize) else {
            return;
        };
        let port = match socket {
            Socket::Pxe => self.ports.pxe,
            Socket::Binl => self.ports.binl,
            Socket::Tftp => 0,
        };
        let own = SocketAddrV4::new(place.machine.address(), port);
        self.generation = self.generation.wrapping_add(1) & GENERATION;
        let generation = self.generation;
        let opened = sockets::machine_datagrams(own, ROOM).and_then(|opened| {
            let token = Token::Datagrams(index, socket, generation);
            epoll::add(&self.epoll, &opened, token.into(), EventFlags::IN)?;
            Ok(opened)
        });
        match opened {
            Ok(opened) => {
                *place.datagrams_mut(socket) = Some(Open {
                    socket: opened,
                    generation,
                });
            }
            Err(error) => {
                *place.datagrams_mut(socket) = None;
                let evidence = format!("{own}: {}", sockets::explain(&error, own));
                let finding = Finding::new(Code::HarnessSockets, evidence);
                self.book(index, Event::Deviation(finding), now);
            }
        }
    }

    /// A send that fails is a packet lost, but for what is told of an earlier one.
    fn send(&mut self, index: u32, socket: Socket, to: SocketAddrV4, payload: &[u8]) {
        let place = self.places.get(index as usize);
        let Some(open) = place.and_then(|place| place.datagrams(socket)) else {
            return;
        };
        if refused(&open.socket, to, payload) {
            sockets::take_errors(&open.socket);
            refused(&open.socket, to, payload);
            self.mishaps.push_back((index, Mishap::Unreachable(socket)));
        }
    }

    fn connect(&mut self, index: u32, to: SocketAddrV4, name: Option<&str>) {
        if let Some(stream) = self.take_stream(index) {
            stream.end();
        }
        if let Err(reason) = self.try_connect(index, to, name) {
            self.mishaps.push_back((index, Mishap::Broken(reason)));
        }
    }

    fn try_connect(
        &mut self,
        index: u32,
        to: SocketAddrV4,
        name: Option<&str>,
    ) -> Result<(), String> {
        let Some(place) = self.places.get_mut(index as usize) else {
            return Ok(());
        };
        let tls = match name {
            Some(name) => Some(self.tls.connection(&mut place.tls, name)?),
            None => None,
        };
        let own = SocketAddrV4::new(place.machine.address(), 0);
        let refused = |error| match error {
            Errno::ADDRNOTAVAIL | Errno::MFILE => {
                format!("connect: {}", sockets::explain(&error, own))
            }
            _ => stream::refused(to, error),
        };
        let stream = Stream::open(*own.ip(), to, tls).map_err(refused)?;
        self.generation = self.generation.wrapping_add(1) & GENERATION;
        let token = Token::Stream(index, self.generation);
        epoll::add(&self.epoll, stream.as_fd(), token.into(), EventFlags::OUT).map_err(refused)?;
        place.stream = Some(Box::new(Open {
            socket: stream,
            generation: self.generation,
        }));
        Ok(())
    }

    fn pause(&mut self, index: u32, paused: bool) {
        self.with_stream(index, |stream| {
            stream.pause(paused);
            Ok(())
        });
    }

    /// Does something with a machine's stream, and has epoll watch for what it waits for then.
    fn with_stream(&mut self, index: u32, act: impl FnOnce(&mut Stream) -> Result<(), String>) {
        let place = self.places.get_mut(index as usize);
        let Some(open) = place.and_then(|place| place.stream.as_mut()) else {
            return;
        };
        let done = act(&mut open.socket);
        if let Err(reason) = done.and_then(|()| watch(&self.epoll, index, open)) {
            self.break_off(index, reason);
        }
    }

    fn break_off(&mut self, index: u32, reason: String) {
        if self.take_stream(index).is_some() {
            self.mishaps.push_back((index, Mishap::Broken(reason)));
        }
    }

    fn take_stream(&mut self, index: u32) -> Option<Stream> {
        // What became of an earlier stream concerns nobody any more.
        self.mishaps
            .retain(|(other, mishap)| *other != index || !matches!(mishap, Mishap::Broken(_)));
        let place = self.places.get_mut(index as usize)?;
        place.stream.take().map(|open| open.socket)
    }

    /// The power goes.
    fn power_off(&mut self, index: u32) {
        if let Some(stream) = self.take_stream(index) {
            stream.reset();
        }
        self.hang_up(index);
        self.forget(index);
    }

    /// Forgets the TLS sessions of a machine.
    fn forget(&mut self, index: u32) {
        if let Some(place) = self.places.get_mut(index as usize) {
            place.tls = None;
        }
    }

    /// Closes everything that a machine still has open.
    fn hang_up(&mut self, index: u32) {
        if let Some(stream) = self.take_stream(index) {
            stream.end();
        }
        self.mishaps.retain(|(other, _)| *other != index);
        if let Some(place) = self.places.get_mut(index as usize) {
            place.datagrams = [None, None, None];
        }
    }

    /// Takes what an event brought to a machine's stream.
    pub(in crate::storm) fn stream_ready(
        &mut self,
        index: u32,
        generation: u32,
        flags: EventFlags,
        rooms: &mut Rooms,
        now: Instant,
    ) {
        let Some(open) = self.stream(index, generation) else {
            return;
        };
        let heard = match open.socket.look(flags, rooms) {
            Ok(heard) => heard,
            Err(reason) => {
                self.take_stream(index);
                self.feed(index, Input::Broken(&reason), now);
                return;
            }
        };
        if let Some(resumed) = heard.up {
            self.feed(index, Input::Connected { resumed }, now);
        }
        if !heard.bytes.is_empty() && self.stream(index, generation).is_some() {
            self.feed(index, Input::Stream(heard.bytes), now);
        }
        if heard.closed && self.stream(index, generation).is_some() {
            self.take_stream(index);
            self.feed(index, Input::Closed, now);
        }
        self.with_stream(index, |_| Ok(()));
    }

    fn stream(&mut self, index: u32, generation: u32) -> Option<&mut Open<Stream>> {
        let open = self.places.get_mut(index as usize)?.stream.as_deref_mut()?;
        (open.generation == generation).then_some(open)
    }
}

impl Place {
    pub(super) const fn datagrams(&self, socket: Socket) -> Option<&Open<UdpSocket>> {
        self.datagrams[number(socket)].as_ref()
    }

    const fn datagrams_mut(&mut self, socket: Socket) -> &mut Option<Open<UdpSocket>> {
        &mut self.datagrams[number(socket)]
    }
}

const fn number(socket: Socket) -> usize {
    match socket {
        Socket::Pxe => 0,
        Socket::Binl => 1,
        Socket::Tftp => 2,
    }
}

/// Has epoll watch for what a stream waits for.
fn watch(epoll: impl AsFd, index: u32, open: &mut Open<Stream>) -> Result<(), String> {
    let token = Token::Stream(index, open.generation);
    let Some(wanted) = open.socket.new_interest() else {
        return Ok(());
    };
    epoll::modify(epoll, &open.socket, token.into(), wanted)
        .map_err(|error| format!("not watched: {error}"))
}

/// Sends a datagram; true when it did not go because nobody listened where an earlier one went.
fn refused(socket: &UdpSocket, to: SocketAddrV4, payload: &[u8]) -> bool {
    let sent = socket.send_to(payload, to);
    sent.is_err_and(|error| error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()))
}
