//! Relay agents around a message (RFC 8415, section 9): each wraps what it forwards, and wants its
//! own wrapping back.

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;

use super::message::{Writer, code, kind, walk};
use crate::dhcp::silence::Why;

/// RFC 8415, section 7.6: HOP_COUNT_LIMIT is 8 for relays; servers here take the 32 of RFC 3315.
pub(super) const DEPTH_MAX: usize = 32;
/// Interface identifiers of all relays together, in bytes.
const IDS_MAX: usize = 1024;

/// The relays around one message, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    hops: ArrayVec<Hop, DEPTH_MAX>,
    ids: ArrayVec<u8, IDS_MAX>,
}

#[derive(Clone, Debug)]
struct Hop {
    count: u8,
    link: Ipv6Addr,
    peer: Ipv6Addr,
    /// Range of `ids`, when the relay names the interface.
    id: Option<(u16, u16)>,
    /// The relay listens elsewhere (RFC 8357): bytes of option 135.
    port: Option<[u8; 2]>,
}

/// What a relay tells about the machine.
#[derive(Debug, Default)]
pub(super) struct Unwrapped<'a> {
    /// The machine's own message.
    pub(super) message: &'a [u8],
    /// Option 79 of the relay next to the machine: hardware type and address.
    pub(super) link_layer: Option<&'a [u8]>,
}

impl Relays {
    /// Takes the relays' wrappings off.
    pub(super) fn unwrap<'a>(&mut self, bytes: &'a [u8]) -> Result<Unwrapped<'a>, Why> {
        let mut unwrapped = Unwrapped {
            message: bytes,
            link_layer: None,
        };
        while unwrapped.message.first() == Some(&kind::RELAY_FORWARD) {
            if self.hops.is_full() {
                return Err(Why::Nesting);
            }
            unwrapped = self.unwrap_one(unwrapped.message)?;
        }
        Ok(unwrapped)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hops.is_empty()
    }

    /// The link of the machine: the first address from the inside that says so.
    pub(super) fn link(&self) -> Option<Ipv6Addr> {
        let mut links = self.hops.iter().rev().map(|hop| hop.link);
        links.find(|link| !link.is_unspecified())
    }

    /// The machine's own address, as the relay next to it saw it.
    pub(super) fn peer(&self) -> Option<Ipv6Addr> {
        self.hops.last().map(|hop| hop.peer)
    }

    /// The UDP port of the relay that spoke to us, if it asks for another than 547.
    pub(super) fn asks_for_port(&self) -> bool {
        self.hops.first().is_some_and(|hop| hop.port.is_some())
    }

    /// Writes the wrappings, with `message` inside of all.
    pub(super) fn wrap(&self, writer: &mut Writer<'_>, message: impl FnOnce(&mut Writer<'_>)) {
        let mut open: ArrayVec<usize, DEPTH_MAX> = ArrayVec::new();
        for hop in &self.hops {
            writer.put(&[kind::RELAY_REPLY, hop.count]);
            writer.put(&hop.link.octets());
            writer.put(&hop.peer.octets());
            if let Some((start, end)) = hop.id {
                let id = self.ids.get(usize::from(start)..usize::from(end));
                writer.option(code::INTERFACE_ID, id.unwrap_or_default());
            }
            if let Some(port) = &hop.port {
                writer.option(code::RELAY_PORT, port);
            }
            open.push(writer.open(code::RELAY_MESSAGE));
        }
        message(writer);
        for start in open.into_iter().rev() {
            writer.close(start);
        }
    }

    fn unwrap_one<'a>(&mut self, bytes: &'a [u8]) -> Result<Unwrapped<'a>, Why> {
        let short = Why::Short { len: bytes.len() };
        let Some((header, options)) = bytes.split_first_chunk::<34>() else {
            return Err(short);
        };
        let (Some(link), Some(peer)) = (address(header, 2), address(header, 18)) else {
            return Err(short);
        };
        let mut inner = None;
        let mut unwrapped = Unwrapped::default();
        let mut hop = Hop {
            count: header[1],
            link,
            peer,
            id: None,
            port: None,
        };
        walk(options, |code, data| {
            match code {
                code::RELAY_MESSAGE => inner = inner.or(Some(data)),
                code::INTERFACE_ID if hop.id.is_none() => hop.id = Some(self.keep(data)?),
                code::RELAY_PORT => hop.port = data.try_into().ok(),
                code::CLIENT_LINK_LAYER => unwrapped.link_layer = Some(data),
                _ => {}
            }
            Ok(())
        })?;
        unwrapped.message = inner.ok_or(short)?;
        self.hops.push(hop);
        Ok(unwrapped)
    }

    fn keep(&mut self, id: &[u8]) -> Result<(u16, u16), Why> {
        let start = self.ids.len();
        self.ids
            .try_extend_from_slice(id)
            .map_err(|_| Why::Nesting)?;
        let range = u16::try_from(start)
            .ok()
            .zip(u16::try_from(self.ids.len()).ok());
        range.ok_or(Why::Nesting)
    }
}

fn address(header: &[u8; 34], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}
