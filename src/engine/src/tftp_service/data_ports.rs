//! The ports that TFTP data leaves from: each belongs to one worker.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::driver::{Driver, SocketId};

/// The data ports of one worker, opened when they are first needed.
#[derive(Debug)]
pub(crate) struct DataPorts {
    addresses: Vec<IpAddr>,
    ports: Vec<Port>,
    next: usize,
}

#[derive(Debug)]
struct Port {
    number: u16,
    v4: State,
    v6: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open(SocketId),
    /// Somebody else has it.
    Taken,
}

impl DataPorts {
    /// `addresses` are those that requests are taken on; at most one of each family.
    pub(crate) fn new(addresses: Vec<IpAddr>, ports: impl IntoIterator<Item = u16>) -> Self {
        let ports = ports.into_iter().map(|number| Port {
            number,
            v4: State::Closed,
            v6: State::Closed,
        });
        Self {
            addresses,
            ports: ports.collect(),
            next: 0,
        }
    }

    /// A socket for the next transfer, in turn; `None` when somebody else has every port.
    pub(crate) fn take<D: Driver>(&mut self, driver: &mut D, v6: bool) -> Option<SocketId> {
        let ip = self
            .addresses
            .iter()
            .copied()
            .find(|ip| ip.is_ipv6() == v6)?;
        for _ in 0..self.ports.len() {
            let at = self.next % self.ports.len();
            self.next = at + 1;
            let port = &mut self.ports[at];
            let state = if v6 { &mut port.v6 } else { &mut port.v4 };
            if matches!(state, State::Closed) {
                *state = open(driver, SocketAddr::new(ip, port.number));
            }
            if let State::Open(socket) = *state {
                return Some(socket);
            }
        }
        None
    }
}

fn open<D: Driver>(driver: &mut D, address: SocketAddr) -> State {
    match driver.bind_udp(address) {
        Ok(socket) => State::Open(socket),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            tracing::info!(%address, "a TFTP data port is taken by another program: left out");
            State::Taken
        }
        Err(error) => {
            tracing::warn!(%address, %error, "a TFTP data port cannot be opened: left out");
            State::Taken
        }
    }
}
