//! Many datagrams of one socket with one call.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

/// Datagrams a call.
const BATCH: usize = 64;
/// Bytes of each that are looked at when nobody wants the payload: an error's text fits.
const HEAD: usize = 64;
/// An OACK is never longer.
const ANSWER: usize = 2048;

/// Buffers that the transfers of a thread share.
pub(crate) struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<u8>,
    size: usize,
    answer: Box<[u8; ANSWER]>,
    /// The last packets: sender and full length.
    packets: Vec<(Option<SocketAddr>, usize)>,
    is_answer: bool,
}

impl Receiver {
    /// Room for the heads of blocks, or for whole blocks.
    pub(crate) fn new(block_size: u16, whole: bool) -> Self {
        let size = if whole {
            HEAD.max(usize::from(block_size) + 4)
        } else {
            HEAD
        };
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![0; BATCH * size],
            size,
            answer: Box::new([0; ANSWER]),
            packets: Vec::with_capacity(BATCH),
            is_answer: false,
        }
    }

    /// As many packets as [`Receiver::receive`] can return when it reads blocks.
    pub(crate) fn batch(&self) -> usize {
        if self.is_answer { 1 } else { BATCH }
    }

    /// Takes what is there and returns how many packets that was: one, as far as an OACK goes,
    /// when it may be the `first`; else up to a batch.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, first: bool) -> anyhow::Result<usize> {
        self.packets.clear();
        self.is_answer = first;
        if first {
            match socket.recv_from(&mut self.answer[..]) {
                Ok((length, from)) => self.packets.push((Some(from), length)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(self.packets.len());
        }
        let mut slices = self
            .buffers
            .chunks_exact_mut(self.size)
            .map(|buffer| [IoSliceMut::new(buffer)]);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| slices.next().unwrap_or([IoSliceMut::new(&mut [])]));
        // With MSG_TRUNC the length is the datagram's own, whatever room there was.
        match recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
            None,
        ) {
            Ok(packets) => self.packets.extend(
                packets.map(|packet| (packet.address.as_ref().and_then(address), packet.bytes)),
            ),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.packets.len())
    }

    /// One of the packets received last: its sender, as much as there was room for, its length.
    pub(crate) fn packet(&self, index: usize) -> Option<(SocketAddr, &[u8], usize)> {
        let (from, length) = *self.packets.get(index)?;
        let buffer = if self.is_answer {
            &self.answer[..]
        } else {
            &self.buffers[index * self.size..][..self.size]
        };
        Some((from?, &buffer[..length.min(buffer.len())], length))
    }
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        let v6 = address.as_sockaddr_in6()?;
        Some(SocketAddr::from((v6.ip(), v6.port())))
    })
}
