//! The machines, found by MAC and by address, and bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, TransferId, What};

use super::Phase;
use super::client::{Client, TRAVELS_MAX};
use super::{Happened, Page};

/// Machines that the table holds; beyond, the one that was quiet longest makes room, and of those
/// first the ones that only asked: a flood of made-up MACs drives out no machine that loads.
pub const CLIENTS_MAX: usize = 20_000;

/// A machine that asked for nothing for this long has all that it wants.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    slots: BTreeMap<u64, Slot>,
    by_mac: HashMap<MacAddress, u64>,
    by_ip: HashMap<IpAddr, u64>,
    by_transfer: HashMap<TransferId, u64>,
    /// When `by_transfer` is looked through for what is gone.
    transfers_max: usize,
    /// Who was heard last is last: those that only asked, and those under way.
    quiet: [BTreeMap<u64, u64>; 2],
    changed: BTreeSet<u64>,
    /// Machines whose last transfer ended of late.
    settling: BTreeSet<u64>,
    next_id: u64,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    client: Arc<Client>,
    /// Where it stands in `quiet`.
    heard: (usize, u64),
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: BTreeMap::new(),
            by_mac: HashMap::new(),
            by_ip: HashMap::new(),
            by_transfer: HashMap::new(),
            transfers_max: TRAVELS_MAX,
            quiet: [BTreeMap::new(), BTreeMap::new()],
            changed: BTreeSet::new(),
            settling: BTreeSet::new(),
            next_id: 1,
            clock: 0,
        }
    }

    /// Takes an event in; gives the step that it makes in a machine's history.
    pub(super) fn apply(&mut self, event: &BootEvent) -> Option<Happened> {
        let id = self.find_or_make(event)?;
        let slot = self.slots.get_mut(&id)?;
        let step = Arc::make_mut(&mut slot.client).apply(event);
        let happened = step.map(|step| Happened::of(&slot.client, step, event.ip));
        match event.what {
            What::Started { id: transfer, .. } => {
                self.by_transfer.insert(transfer, id);
                self.forget_lost_transfers();
            }
            What::Finished { id: transfer, .. } | What::Broken { id: transfer, .. } => {
                self.by_transfer.remove(&transfer);
                self.settling.insert(id);
            }
            _ => {}
        }
        self.heard(id);
        self.changed.insert(id);
        happened
    }

    /// Looks which machines have loaded all that they asked for: the next file of a boot is asked
    /// for within moments of the last. Gives those for which that is news.
    pub(super) fn settle(&mut self, now: SystemTime) -> Vec<Happened> {
        let mut settled = Vec::new();
        for id in std::mem::take(&mut self.settling) {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            if now
                .duration_since(slot.client.last_seen)
                .unwrap_or_default()
                < SETTLED
            {
                self.settling.insert(id);
            } else if let Some(step) = Arc::make_mut(&mut slot.client).settle(now) {
                let ip = slot.client.addresses.first().copied();
                settled.push(Happened::of(&slot.client, step, ip));
                self.changed.insert(id);
            }
        }
        settled
    }

    pub(super) fn by_mac(&self, mac: MacAddress) -> Option<Arc<Client>> {
        self.client(*self.by_mac.get(&mac)?)
    }

    pub(super) fn by_ip(&self, ip: IpAddr) -> Option<Arc<Client>> {
        self.client(*self.by_ip.get(&ip.to_canonical())?)
    }

    pub(super) fn page(&self, after: Option<u64>, limit: usize, phase: Option<Phase>) -> Page {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut clients: Vec<_> = self
            .slots
            .range((start, Bound::Unbounded))
            .map(|(_, slot)| &slot.client)
            .filter(|c| phase.is_none_or(|p| p == c.phase))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let more = clients.len() > limit;
        clients.truncate(limit);
        let next = clients.last().filter(|_| more).map(|c| c.id);
        Page { clients, next }
    }

    pub(super) fn counts(&self) -> [(Phase, usize); Phase::ALL.len()] {
        let mut counts = Phase::ALL.map(|p| (p, 0));
        for slot in self.slots.values() {
            counts[slot.client.phase as usize].1 += 1;
        }
        counts
    }

    /// The machines that changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<Arc<Client>> {
        let changed = std::mem::take(&mut self.changed);
        changed.iter().filter_map(|id| self.client(*id)).collect()
    }

    /// Lengths of all that could grow: machines, MACs, addresses, transfers, order.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 5] {
        [
            self.slots.len(),
            self.by_mac.len(),
            self.by_ip.len(),
            self.by_transfer.len(),
            self.quiet.iter().map(BTreeMap::len).sum(),
        ]
    }

    fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.slots.get(&id).map(|s| Arc::clone(&s.client))
    }

    fn find_or_make(&mut self, event: &BootEvent) -> Option<u64> {
        let ip = event
            .ip
            .map(|ip| ip.to_canonical())
            .filter(|ip| !ip.is_unspecified());
        let of_transfer = match event.what {
            What::Progress { id, .. } | What::Finished { id, .. } | What::Broken { id, .. } => {
                self.by_transfer.get(&id).copied()
            }
            _ => None,
        };
        if of_transfer.is_some() {
            return of_transfer;
        }
        let by_ip = ip.and_then(|ip| self.by_ip.get(&ip).copied());
        // Whoever sends lines makes up no machines with them.
        if matches!(event.what, What::Said { .. }) {
            let by_mac = event.mac.and_then(|mac| self.by_mac.get(&mac).copied());
            return by_mac.or(by_ip);
        }
        let Some(mac) = event.mac else {
            let ip = ip?;
            return Some(by_ip.unwrap_or_else(|| {
                let id = self.make(event);
                self.link_ip(id, ip);
                id
            }));
        };
        let nameless =
            by_ip.filter(|id| self.slots.get(id).is_some_and(|s| s.client.mac.is_none()));
        let id = match (self.by_mac.get(&mac).copied(), nameless) {
            (Some(id), Some(nameless)) => {
                self.merge(id, nameless);
                id
            }
            (Some(id), None) => id,
            (None, nameless) => {
                let id = nameless.unwrap_or_else(|| self.make(event));
                self.by_mac.insert(mac, id);
                if let Some(slot) = self.slots.get_mut(&id) {
                    Arc::make_mut(&mut slot.client).mac = Some(mac);
                }
                id
            }
        };
        if let Some(ip) = ip {
            self.link_ip(id, ip);
        }
        Some(id)
    }

    fn make(&mut self, event: &BootEvent) -> u64 {
        while self.slots.len() >= self.capacity.max(1) {
            let [asked, under_way] = &self.quiet;
            let oldest = asked.first_key_value().or(under_way.first_key_value());
            let Some((_, id)) = oldest else { break };
            self.remove(*id);
        }
        let id = self.next_id;
        self.next_id += 1;
        let slot = Slot {
            client: Arc::new(Client::new(id, event.at)),
            heard: (0, 0),
        };
        self.slots.insert(id, slot);
        self.heard(id);
        id
    }

    /// The address belongs to this machine from here on, whoever had it before.
    fn link_ip(&mut self, id: u64, ip: IpAddr) {
        let before = self.by_ip.insert(ip, id);
        if let Some(slot) = before
            .filter(|before| *before != id)
            .and_then(|before| self.slots.get_mut(&before))
        {
            Arc::make_mut(&mut slot.client)
                .addresses
                .retain(|a| *a != ip);
        }
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.client.addresses.first() != Some(&ip)
            && let Some(surplus) = Arc::make_mut(&mut slot.client).takes_address(ip)
        {
            self.by_ip.remove(&surplus);
        }
    }

    fn merge(&mut self, id: u64, nameless: u64) {
        let Some(other) = self.remove(nameless) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let kept = Arc::make_mut(&mut slot.client);
        let addresses = [&*kept.addresses, &*other.addresses].concat();
        kept.absorb(Arc::unwrap_or_clone(other));
        for ip in addresses {
            if kept.addresses.contains(&ip) {
                self.by_ip.insert(ip, id);
            } else {
                self.by_ip.remove(&ip);
            }
        }
        for travel in &kept.travels {
            self.by_transfer.insert(travel.id, id);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Client>> {
        let slot = self.slots.remove(&id)?;
        let (class, at) = slot.heard;
        self.quiet[class].remove(&at);
        self.changed.remove(&id);
        self.settling.remove(&id);
        if let Some(mac) = slot.client.mac {
            self.by_mac.remove(&mac);
        }
        for ip in &slot.client.addresses {
            self.by_ip.remove(ip);
        }
        for travel in &slot.client.travels {
            self.by_transfer.remove(&travel.id);
        }
        Some(slot.client)
    }

    fn heard(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let (class, at) = slot.heard;
        self.quiet[class].remove(&at);
        self.clock += 1;
        slot.heard = (usize::from(slot.client.is_under_way()), self.clock);
        self.quiet[slot.heard.0].insert(self.clock, id);
    }

    /// Machines that began anew dropped transfers without an event.
    fn forget_lost_transfers(&mut self) {
        if self.by_transfer.len() <= self.transfers_max {
            return;
        }
        let slots = &self.slots;
        self.by_transfer.retain(|transfer, owner| {
            slots
                .get(owner)
                .is_some_and(|s| s.client.travels.iter().any(|t| t.id == *transfer))
        });
        self.transfers_max = self.by_transfer.len() * 2 + TRAVELS_MAX;
    }
}
