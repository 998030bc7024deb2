//! TFTP as boot firmware, iPXE and Windows' boot manager speak it.

pub(crate) mod packet;

use std::net::SocketAddrV4;
use std::time::Instant;

use super::body::{Fetched, Keep};
use super::io::{Input, Progress, Step, World};

/// A file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where requests go to.
    pub(crate) server: SocketAddrV4,
    /// The name as it is asked for.
    pub(crate) file: String,
    /// What is kept of it.
    pub(crate) keep: Keep,
    /// Whose ways are followed.
    pub(crate) client: Client,
}

/// Whose ways are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// UEFI (EDK2): asks for the size first and breaks that off with ERROR 8, then blocks of 1,468
    /// bytes, four in a window.
    Edk2,
    /// A network card's ROM: asks for the size first, then blocks of 1,456 bytes one by one.
    Rom,
    /// iPXE: size and blocks of 1,432 bytes in one request, one by one.
    Ipxe,
    /// Windows' boot manager: size, blocks and windows in one request.
    BootManager {
        /// Bytes of a block.
        block: u16,
        /// Blocks of a window.
        window: u16,
    },
}

/// A file on its way. Opens and closes the machine's socket for TFTP, books the file when it is
/// there and checks it. A file that the server does not have fails with `tftp.not-found`.
#[derive(Debug)]
pub(crate) struct Transfer;

impl Transfer {
    /// Sends the first request.
    pub(crate) fn start(wish: Wish, world: &mut World<'_>) -> Self {
        let _ = (wish, world);
        Self
    }
}

impl Step for Transfer {
    type Made = Fetched;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Fetched> {
        let _ = (input, world);
        Progress::Going
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
