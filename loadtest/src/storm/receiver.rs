//! Many datagrams of one socket with one call.

use std::io::IoSliceMut;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};

use crate::machine::io::DATAGRAM_MAX;

/// Datagrams a call: no window of a firmware is larger.
const BATCH: usize = 64;
/// Bytes between the buffers: datagrams that begin at the same place of each page would all fall
/// into the same few lines of the processor's cache.
const STRIDE: usize = DATAGRAM_MAX + 1 + 64 * 27;

/// Buffers that all sockets share; what no datagram fills takes no memory.
pub(super) struct Receiver {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<u8>,
    /// The last datagrams: sender and length.
    datagrams: Vec<(SocketAddrV4, usize)>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![0; BATCH * STRIDE],
            datagrams: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what is there, as far as a batch goes, and returns how many datagrams that is.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        self.datagrams.clear();
        let mut buffers = self.buffers.chunks_exact_mut(STRIDE);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            let buffer = buffers.next().unwrap_or_default();
            [IoSliceMut::new(buffer)]
        });
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match received {
            Ok(datagrams) => self.datagrams.extend(datagrams.map(|datagram| {
                let from = datagram.address.map(|from| (from.ip(), from.port()));
                let (ip, port) = from.unwrap_or(([0; 4].into(), 0));
                (SocketAddrV4::new(ip, port), datagram.bytes)
            })),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(self.datagrams.len())
    }

    /// One of those received last: who sent it, and what.
    pub(super) fn datagram(&self, number: usize) -> Option<(SocketAddrV4, &[u8])> {
        let (from, length) = *self.datagrams.get(number)?;
        let buffer = self.buffers.get(number * STRIDE..)?;
        Some((from, &buffer[..length.min(STRIDE)]))
    }
}
