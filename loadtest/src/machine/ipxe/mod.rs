//! iPXE: fetches a script, runs it, and fetches what it names.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::io::{Input, Progress, Step, World};

/// iPXE from the moment on when it knows what to load.
#[derive(Debug)]
pub(crate) struct Boot;

/// What iPXE came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that is booted is there.
    Booted,
    /// The script sent the machine to its own disk.
    LocalDisk,
}

impl Boot {
    /// Begins with `first`, a URL or a file of the TFTP server `server`.
    pub(crate) fn start(first: &str, server: Ipv4Addr, world: &mut World<'_>) -> Self {
        let _ = (first, server, world);
        Self
    }
}

impl Step for Boot {
    type Made = Verdict;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Verdict> {
        let _ = (input, world);
        Progress::Going
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
