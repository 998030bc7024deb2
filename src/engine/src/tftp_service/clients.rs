//! Who has which transfer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::limits;

/// The transfers of one worker by their client, and how many each address has.
#[derive(Debug)]
pub(super) struct Clients {
    slots: HashMap<SocketAddr, u32>,
    counts: HashMap<IpAddr, u32>,
    most: u32,
}

impl Clients {
    /// One address may have `most` transfers at a time.
    pub(super) fn new(most: u32) -> Self {
        Self {
            slots: HashMap::with_capacity(limits::TRANSFERS),
            counts: HashMap::with_capacity(limits::TRANSFERS),
            most,
        }
    }

    /// The transfer of a client's address and port.
    pub(super) fn slot(&self, client: &SocketAddr) -> Option<u32> {
        self.slots.get(client).copied()
    }

    /// Whether an address may begin one more transfer.
    pub(super) fn may_begin(&self, client: IpAddr) -> bool {
        self.counts.get(&client).is_none_or(|n| *n < self.most)
    }

    /// A transfer began.
    pub(super) fn insert(&mut self, client: SocketAddr, slot: u32) {
        if self.slots.insert(client, slot).is_none() {
            *self.counts.entry(client.ip()).or_default() += 1;
        }
    }

    /// It ended.
    pub(super) fn remove(&mut self, client: &SocketAddr) {
        if self.slots.remove(client).is_none() {
            return;
        }
        let ip = client.ip();
        match self.counts.get_mut(&ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    #[test]
    fn each_address_has_its_own_share_and_gets_it_back() {
        let mut clients = Clients::new(2);
        clients.insert(at(1, 1000), 7);
        clients.insert(at(1, 1001), 8);
        // The same client again is no second transfer.
        clients.insert(at(1, 1001), 9);
        assert_eq!(clients.slot(&at(1, 1001)), Some(9));
        assert!(!clients.may_begin(at(1, 0).ip()));
        assert!(clients.may_begin(at(2, 0).ip()));
        clients.remove(&at(1, 1000));
        clients.remove(&at(1, 1000));
        assert!(clients.may_begin(at(1, 0).ip()));
        clients.remove(&at(1, 1001));
        assert!(clients.counts.is_empty() && clients.slots.is_empty());
    }
}
