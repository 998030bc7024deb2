//! DHCP as boot firmware and iPXE ask it.

pub(crate) mod message;

use std::net::Ipv4Addr;
use std::time::Instant;

use message::Program;

use super::io::{Input, Progress, Step, World};

/// What a machine knows after DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Where to load from: siaddr, or option 54 where that is empty.
    pub(crate) server: Ipv4Addr,
    /// What to load: a file of that server, or a URL.
    pub(crate) file: String,
}

/// One DHCP exchange, from the first DISCOVER to the name of the file.
#[derive(Debug)]
pub(crate) struct Exchange;

impl Exchange {
    /// Sends the first DISCOVER.
    pub(crate) fn start(program: Program, world: &mut World<'_>) -> Self {
        let _ = (program, world);
        Self
    }
}

impl Step for Exchange {
    type Made = Assignment;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Assignment> {
        let _ = (input, world);
        Progress::Going
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
