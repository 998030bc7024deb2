//! The ports that TFTP data leaves from: each belongs to one worker.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::driver::{Driver, SocketId};

/// While none can be had, they are tried no more often than this, however many machines ask.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The data ports of one worker, opened when they are first needed.
#[derive(Debug)]
pub(crate) struct DataPorts {
    addresses: Vec<IpAddr>,
    ports: Vec<Port>,
    next: usize,
    try_again: Option<Instant>,
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
            try_again: None,
        }
    }

    /// A socket for the next transfer, in turn; `None` when somebody else has every port.
    pub(crate) fn take<D: Driver>(&mut self, driver: &mut D, v6: bool) -> Option<SocketId> {
        let ip = self
            .addresses
            .iter()
            .copied()
            .find(|ip| ip.is_ipv6() == v6)?;
        if let Some(socket) = self.in_turn(driver, ip) {
            return Some(socket);
        }
        // Whoever had them may have ended: a server before this one, whose sockets the kernel
        // closes a while after it.
        let now = driver.now();
        if self.try_again.is_some_and(|at| now < at) {
            return None;
        }
        self.try_again = Some(now + TRY_AGAIN);
        for port in &mut self.ports {
            port.give_another_try(v6);
        }
        self.in_turn(driver, ip)
    }

    fn in_turn<D: Driver>(&mut self, driver: &mut D, ip: IpAddr) -> Option<SocketId> {
        for _ in 0..self.ports.len() {
            let at = self.next % self.ports.len();
            self.next = at + 1;
            let port = &mut self.ports[at];
            let number = port.number;
            let state = port.state(ip.is_ipv6());
            if matches!(state, State::Closed) {
                *state = open(driver, SocketAddr::new(ip, number));
            }
            if let State::Open(socket) = *state {
                return Some(socket);
            }
        }
        None
    }
}

impl Port {
    fn state(&mut self, v6: bool) -> &mut State {
        if v6 { &mut self.v6 } else { &mut self.v4 }
    }

    fn give_another_try(&mut self, v6: bool) {
        let state = self.state(v6);
        if matches!(state, State::Taken) {
            *state = State::Closed;
        }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::driver::sim::{Sim, Weather};

    #[test]
    fn ports_that_others_gave_back_are_found_a_second_later() {
        let calm = Weather {
            loss: 0,
            twice: 0,
            late: 0,
            delay: Duration::ZERO,
        };
        let mut driver = Sim::new(1, calm);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let theirs = [64001, 64002].map(|port| driver.attach(SocketAddr::new(ip, port)));
        let mut ports = DataPorts::new(vec![ip], 64001..=64002);
        assert_eq!(ports.take(&mut driver, false), None);
        for socket in theirs {
            driver.detach(socket);
        }
        assert_eq!(ports.take(&mut driver, false), None);
        let later = driver.now() + TRY_AGAIN;
        driver.wait(Some(later)).unwrap();
        let [first, second, third] = [(); 3].map(|()| ports.take(&mut driver, false).unwrap());
        assert_ne!(first, second);
        assert_eq!(first, third);
    }
}
