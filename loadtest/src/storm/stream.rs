//! A machine's TCP connection, with or without TLS.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use super::sockets;
use crate::tls::{self, Tls};

/// Bytes that are received with one call; they fit into the processor's cache.
pub(super) const RECEIVE: usize = 256 << 10;
/// What a machine may have waiting to be sent, in bytes: requests are far smaller.
const UNSENT_MAX: usize = 1 << 20;

/// Where all streams receive.
pub(super) struct Rooms {
    /// What came.
    wire: Vec<u8>,
    /// What that was before it was sealed.
    plain: Vec<u8>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self {
            wire: vec![0; RECEIVE],
            plain: Vec::with_capacity(RECEIVE),
        }
    }
}

/// What one look at a stream brought.
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    /// The stream is up now; with TLS, whether an earlier session was taken up again.
    pub(super) up: Option<bool>,
    /// Plain text.
    pub(super) bytes: &'a [u8],
    /// The peer has ended it.
    pub(super) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Handshake,
    Up,
}

/// A connection.
pub(super) struct Stream {
    socket: OwnedFd,
    to: SocketAddrV4,
    state: State,
    tls: Option<Box<Tls>>,
    unsent: Vec<u8>,
    paused: bool,
    /// What epoll watches for.
    interest: EventFlags,
}

impl Stream {
    /// Begins a connection from an own address; it waits for [`EventFlags::OUT`].
    pub(super) fn open(own: Ipv4Addr, to: SocketAddrV4, tls: Option<Tls>) -> Result<Self, Errno> {
        Ok(Self {
            socket: sockets::stream(own, to)?,
            to,
            state: State::Connecting,
            tls: tls.map(Box::new),
            unsent: Vec::new(),
            paused: false,
            interest: EventFlags::OUT,
        })
    }

    /// What it waits for, when that is something else than before.
    pub(super) fn new_interest(&mut self) -> Option<EventFlags> {
        let mut interest = EventFlags::empty();
        if self.state != State::Connecting && !self.paused {
            interest |= EventFlags::IN;
            if self.tls.is_some() {
                // The piece of a record that stays with the kernel is told of once.
                interest |= EventFlags::ET | EventFlags::RDHUP;
            }
        }
        if self.state == State::Connecting || !self.unsent.is_empty() {
            interest |= EventFlags::OUT;
        }
        let before = std::mem::replace(&mut self.interest, interest);
        (before != interest).then_some(interest)
    }

    /// Takes what an event brought, no more than one receive.
    ///
    /// # Errors
    /// The reason why it is of no use any more.
    pub(super) fn look<'a>(
        &mut self,
        events: EventFlags,
        rooms: &'a mut Rooms,
    ) -> Result<Heard<'a>, String> {
        let broken = EventFlags::ERR | EventFlags::HUP;
        if self.state == State::Connecting {
            return self.established();
        }
        if events.contains(EventFlags::OUT) {
            self.flush()?;
        }
        if self.paused && events.intersects(broken) {
            // What is there to be read goes with it, as with any reset.
            let reason = sockopt::socket_error(&self.socket).map_or_else(Some, Result::err);
            return Err(text("broken off", reason.unwrap_or(Errno::CONNRESET)));
        }
        let readable = EventFlags::IN | EventFlags::RDHUP | broken;
        if self.paused || !events.intersects(readable) {
            return Ok(Heard::default());
        }
        if self.tls.is_some() {
            self.unseal(events.contains(EventFlags::RDHUP), rooms)
        } else {
            self.receive(rooms)
        }
    }

    /// Gives plain text, which is sent as soon as it can be.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(tls) = &mut self.tls {
            tls.write(bytes);
            if self.state == State::Up {
                tls.open(&mut [], |_| Ok(()))?;
                return self.send_sealed();
            }
            return Ok(());
        }
        self.send(bytes)
    }

    /// Stops reading, or goes on.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Ends it in order.
    pub(super) fn end(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            self.send_sealed().ok();
        }
        rustix::net::shutdown(&self.socket, Shutdown::Write).ok();
    }

    /// Ends it with a reset.
    pub(super) fn reset(self) {
        sockopt::set_socket_linger(&self.socket, Some(std::time::Duration::ZERO)).ok();
    }

    fn established(&mut self) -> Result<Heard<'static>, String> {
        let error = match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        };
        if let Some(error) = error {
            return Err(refused(self.to, error));
        }
        let mut heard = Heard::default();
        if let Some(tls) = &mut self.tls {
            self.state = State::Handshake;
            tls.open(&mut [], |_| Ok(()))?;
            self.send_sealed()?;
        } else {
            self.state = State::Up;
            heard.up = Some(false);
            self.flush()?;
        }
        Ok(heard)
    }

    fn receive<'a>(&self, rooms: &'a mut Rooms) -> Result<Heard<'a>, String> {
        let Some(length) = self.take(&mut rooms.wire, RecvFlags::empty())? else {
            return Ok(Heard::default());
        };
        Ok(Heard {
            bytes: &rooms.wire[..length],
            closed: length == 0,
            ..Heard::default()
        })
    }

    /// Takes whole records only: what thousands of machines have of an unfinished one stays with
    /// the kernel. With `last` nothing follows what is there.
    fn unseal<'a>(&mut self, last: bool, rooms: &'a mut Rooms) -> Result<Heard<'a>, String> {
        let Rooms { wire, plain } = rooms;
        plain.clear();
        let before = self.tls.as_mut().map_or(0, |tls| tls.begin(wire));
        let seen = self.take(&mut wire[before..], RecvFlags::PEEK)?;
        let length = seen.unwrap_or(0);
        let whole = tls::whole_records(&wire[before..before + length]);
        if whole > 0
            && self.take(&mut wire[before..before + whole], RecvFlags::TRUNC)? != Some(whole)
        {
            return Err("broken off: the kernel lost bytes".to_owned());
        }
        if before + length == wire.len() {
            // There may be more, of which nobody would tell: epoll is asked anew.
            self.interest = EventFlags::empty();
        }
        let Some(tls) = &mut self.tls else {
            return Ok(Heard::default());
        };
        let opened = tls.open(&mut wire[..before + whole], |bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        });
        let over = seen == Some(0) || last && before + length < wire.len();
        let mut heard = Heard {
            closed: over || opened == Ok(true),
            ..Heard::default()
        };
        if self.state == State::Handshake {
            heard.up = tls.resumed();
            if heard.up.is_some() {
                self.state = State::Up;
            } else if heard.closed && opened.is_ok() {
                return Err("tls: closed during the handshake".to_owned());
            }
        }
        // An alert that says why goes out even when the connection is lost.
        let sent = self.send_sealed();
        opened?;
        sent?;
        heard.bytes = plain;
        Ok(heard)
    }

    /// What the kernel has, or `None` when that is nothing.
    fn take(&self, room: &mut [u8], flags: RecvFlags) -> Result<Option<usize>, String> {
        match rustix::net::recv(&self.socket, room, flags | RecvFlags::DONTWAIT) {
            Ok((_, length)) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(text("broken off", error)),
        }
    }

    fn send_sealed(&mut self) -> Result<(), String> {
        let sealed = self.tls.as_mut().map(|tls| tls.take_outgoing());
        self.send(&sealed.unwrap_or_default())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.unsent.len() + bytes.len() > UNSENT_MAX {
            return Err("broken off: the server takes no more".to_owned());
        }
        if self.state != State::Connecting && self.unsent.is_empty() {
            let sent = self.send_some(bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    fn send_some(&self, bytes: &[u8]) -> Result<usize, String> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.socket, bytes, flags) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(text("broken off", error)),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why a connection could not be had.
pub(super) fn refused(to: SocketAddrV4, error: Errno) -> String {
    format!("connect: {to}: {error}")
}

fn text(what: &str, error: Errno) -> String {
    format!("{what}: {error}")
}

#[cfg(test)]
pub(super) mod tests;
