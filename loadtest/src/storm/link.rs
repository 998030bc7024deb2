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

/// What became of a packet that a socket of the link received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<'a> {
    /// A reply for a machine.
    For {
        /// The machine's index.
        machine: u32,
        /// Who sent it.
        from: SocketAddrV4,
        /// The BOOTP message, as the machine gets it.
        payload: &'a [u8],
    },
    /// A reply for a machine that is not one of ours, or not at this place.
    Foreign,
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

    /// Sorts what the socket with this number received.
    pub(super) fn sort<'a>(
        &self,
        number: u32,
        from: SocketAddrV4,
        packet: &'a [u8],
        room: &'a mut Vec<u8>,
    ) -> Arrival<'a> {
        let (machine, from, payload) = match self {
            Self::Relayed(relays) => (relays.machine(number, packet), from, packet),
            Self::Broadcast { server, own, .. } => match frame::open(packet) {
                // What port 4011 answers comes to the machine's own socket.
                Opened::Datagram {
                    from,
                    port,
                    payload,
                } if port == *own && from.port() == *server => {
                    (relay::addressee(payload), from, payload)
                }
                Opened::Fragment => return Arrival::Fragment,
                Opened::Datagram { .. } | Opened::Broken => return Arrival::Nothing,
            },
        };
        match machine {
            Some(machine) => Arrival::For {
                machine,
                from,
                payload: relay::delivered(payload, room),
            },
            None => Arrival::Foreign,
        }
    }
}
