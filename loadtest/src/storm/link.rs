//! How the machines' broadcasts come to servers, and replies back.

use std::net::SocketAddrV4;
use std::os::fd::BorrowedFd;

use super::broadcast::Broadcast;
use super::frame::{self, Opened};
use super::relay::{self, Relays};
use super::{Link, Setup};
use crate::machine::identity::Identity;

/// The open sockets of a [`Link`].
#[derive(Debug)]
pub(super) enum OpenLink {
    Relayed(Relays),
    Broadcast {
        wire: Broadcast,
        server: u16,
        own: u16,
    },
}

/// What a packet holds that a socket of the link received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<'a> {
    /// DHCP replies one behind the other, and who sent them.
    Replies(SocketAddrV4, &'a [u8]),
    /// A piece of a datagram.
    Fragment,
    /// Nothing that concerns machines.
    Nothing,
}

impl OpenLink {
    /// Opens its sockets.
    pub(super) fn open(setup: &Setup) -> anyhow::Result<Self> {
        let ports = setup.ports;
        match &setup.link {
            Link::Relayed { relays, servers } => {
                Relays::open(relays, servers, ports.relay).map(Self::Relayed)
            }
            Link::Broadcast { interface } => {
                let server = setup.plan.ports.dhcp;
                Ok(Self::Broadcast {
                    wire: Broadcast::open(interface, ports.pxe, server)?,
                    server,
                    own: ports.pxe,
                })
            }
        }
    }

    /// Its sockets, by their numbers.
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Relayed(relays) => relays.sockets().collect(),
            Self::Broadcast { wire, .. } => vec![wire.socket()],
        }
    }

    /// The socket with this number.
    pub(super) fn socket(&self, number: u32) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Relayed(relays) => relays.socket(number),
            Self::Broadcast { wire, .. } => Some(wire.socket()),
        }
    }

    /// Sends what a machine broadcasts.
    pub(super) fn send(&self, machine: &Identity, message: &[u8]) {
        match self {
            Self::Relayed(relays) => relays.forward(machine.index, message),
            Self::Broadcast { wire, .. } => wire.send(machine.mac, message),
        }
    }

    /// What is in a packet that one of its sockets received.
    pub(super) fn unpack<'a>(&self, from: SocketAddrV4, packet: &'a [u8]) -> Arrival<'a> {
        match self {
            Self::Relayed(_) => Arrival::Replies(from, packet),
            Self::Broadcast { server, own, .. } => match frame::open(packet) {
                // What port 4011 answers comes to the machine's own socket.
                Opened::Datagram {
                    from,
                    port,
                    payload,
                } if port == *own && from.port() == *server => Arrival::Replies(from, payload),
                Opened::Fragment => Arrival::Fragment,
                Opened::Datagram { .. } | Opened::Broken => Arrival::Nothing,
            },
        }
    }

    /// The machine that a reply is for which the socket with this number received, and the reply as
    /// it gets there; `None` where it is not one of ours, or not at this place.
    pub(super) fn sort<'a>(
        &self,
        number: u32,
        reply: &'a [u8],
        room: &'a mut Vec<u8>,
    ) -> Option<(u32, &'a [u8])> {
        let machine = match self {
            Self::Relayed(relays) => relays.machine(number, reply),
            Self::Broadcast { .. } => relay::addressee(reply),
        };
        Some((machine?, relay::delivered(reply, room)))
    }
}
