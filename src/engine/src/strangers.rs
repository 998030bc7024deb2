//! Requests of machines that nobody knows: they wait until those of known machines are answered.
//!
//! An answer costs many times what it costs to read and judge a request. A flood of made-up
//! machines that is within the rates of its interface could take all of a worker's time, and known
//! machines would be lost in a full receive buffer. So a worker empties its sockets first, and
//! gives strangers a part of each turn. A storm of new machines is answered in order of arrival.

use std::collections::VecDeque;

use bootstorm_proto::dhcp::Port;

use crate::dhcp_service::Datagram;
use crate::driver::{Arrival, SocketId};
use crate::limits;

/// The queue of one worker.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    waiting: VecDeque<Stranger>,
    /// Empty buffers of those that were answered.
    spare: Vec<Vec<u8>>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) port: Port,
    socket: SocketId,
    arrival: Arrival,
    bytes: Vec<u8>,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Strangers {
    /// Queues a copy of a request.
    ///
    /// # Errors
    /// [`Full`]: the machine will have to ask again.
    pub(crate) fn push(&mut self, port: Port, datagram: Datagram<'_>) -> Result<(), Full> {
        if self.waiting.len() >= limits::STRANGERS {
            return Err(Full);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(datagram.bytes);
        self.waiting.push_back(Stranger {
            port,
            socket: datagram.socket,
            arrival: datagram.arrival,
            bytes,
        });
        Ok(())
    }

    /// The one that has waited for longest.
    pub(crate) fn pop(&mut self) -> Option<Stranger> {
        self.waiting.pop_front()
    }

    /// Takes the buffer of one that was answered.
    pub(crate) fn give_back(&mut self, stranger: Stranger) {
        let mut bytes = stranger.bytes;
        bytes.clear();
        self.spare.push(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody is answered any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Stranger {
    pub(crate) fn datagram(&self) -> Datagram<'_> {
        Datagram {
            socket: self.socket,
            arrival: self.arrival,
            bytes: &self.bytes,
        }
    }
}

// Requests are as long as a buffer at most.
const _: () = assert!(limits::STRANGERS * limits::DATAGRAM_BUFFER <= 8 << 20);
