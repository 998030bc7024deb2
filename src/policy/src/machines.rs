//! What the store knows of machines, as decisions read it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bootstorm_proto::types::{MacAddress, MachineGuid};

use crate::Identity;
use crate::cache::Versions;

/// A machine that the store knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its number in the store.
    pub id: i64,
    /// Name for people; also its host name.
    pub name: Option<String>,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// MAC addresses.
    pub macs: Vec<MacAddress>,
    /// SMBIOS serial number, as iPXE told it last.
    pub serial: Option<String>,
    /// Tags, in order.
    pub tags: Vec<String>,
    /// Named values for templates.
    pub values: BTreeMap<String, String>,
    /// What it boots each time: an entry, `local` or `menu`.
    pub boot: Option<String>,
    /// What it boots next time, once.
    pub once: Option<String>,
    /// It waits until people let it go on.
    pub held: bool,
    /// People let it in, named it or assigned it something, or it has booted here before.
    pub known: bool,
}

/// All machines. Readers never wait; a change copies one of many small parts.
#[derive(Debug, Default)]
pub struct MachineTable {
    versions: Arc<Versions>,
    by_guid: Parts<MachineGuid>,
    by_mac: Parts<MacAddress>,
}

impl MachineTable {
    pub(crate) fn new(versions: Arc<Versions>) -> Self {
        Self {
            versions,
            ..Self::default()
        }
    }

    /// The machine that an identity means: its GUID goes before its MAC, which may be a dock's that
    /// moves from machine to machine.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<Arc<Machine>> {
        let by_guid = identity.guid.and_then(|guid| self.by_guid.get(&guid));
        by_guid.or_else(|| self.by_mac.get(&identity.mac?))
    }

    /// Replaces everything.
    pub fn set_all(&self, machines: impl IntoIterator<Item = Machine>) {
        let machines: Vec<_> = machines.into_iter().map(Arc::new).collect();
        let guids = machines.iter().filter_map(|m| Some((m.guid?, m)));
        self.by_guid.set_all(guids);
        let macs = machines
            .iter()
            .flat_map(|m| m.macs.iter().map(move |mac| (*mac, m)));
        self.by_mac.set_all(macs);
        self.versions.raise_all();
    }

    /// Takes in a machine as it is now; `before` is what the table held of it.
    pub fn set(&self, before: Option<&Machine>, now: Machine) {
        if let Some(before) = before {
            self.remove(before);
        }
        let now = Arc::new(now);
        if let Some(guid) = now.guid {
            self.by_guid.change(guid, Some(Arc::clone(&now)));
        }
        for mac in &now.macs {
            self.by_mac.change(*mac, Some(Arc::clone(&now)));
        }
        self.has_changed(&now);
    }

    /// Forgets a machine.
    pub fn remove(&self, machine: &Machine) {
        if let Some(guid) = machine.guid {
            self.by_guid.change(guid, None);
        }
        for mac in &machine.macs {
            self.by_mac.change(*mac, None);
        }
        self.has_changed(machine);
    }

    fn has_changed(&self, machine: &Machine) {
        self.versions.raise(None, machine.guid);
        for mac in &machine.macs {
            self.versions.raise(Some(*mac), None);
        }
    }
}

/// Parts of a table: enough that one of 200,000 machines is copied with some hundred others.
const PARTS: usize = 512;

type Part<K> = ArcSwap<HashMap<K, Arc<Machine>>>;

/// A map in parts.
#[derive(Debug)]
struct Parts<K> {
    parts: Box<[Part<K>]>,
    hasher: RandomState,
}

impl<K> Default for Parts<K> {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Parts<K> {
    fn get(&self, key: &K) -> Option<Arc<Machine>> {
        self.part(key)?.load().get(key).cloned()
    }

    fn set_all<'a>(&self, machines: impl Iterator<Item = (K, &'a Arc<Machine>)>) {
        let mut maps: Vec<HashMap<K, Arc<Machine>>> = (0..PARTS).map(|_| HashMap::new()).collect();
        for (key, machine) in machines {
            if let Some(map) = maps.get_mut(self.number(&key)) {
                map.insert(key, Arc::clone(machine));
            }
        }
        for (part, map) in self.parts.iter().zip(maps) {
            part.store(Arc::new(map));
        }
    }

    fn change(&self, key: K, machine: Option<Arc<Machine>>) {
        let Some(part) = self.part(&key) else { return };
        part.rcu(|map| {
            let mut map = HashMap::clone(map);
            match &machine {
                Some(machine) => map.insert(key, Arc::clone(machine)),
                None => map.remove(&key),
            };
            map
        });
    }

    fn part(&self, key: &K) -> Option<&Part<K>> {
        self.parts.get(self.number(key))
    }

    fn number(&self, key: &K) -> usize {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash % PARTS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> MacAddress {
        MacAddress::new([2, 0, 0, 0, 0, last])
    }

    fn guid(byte: u8) -> MachineGuid {
        MachineGuid::from_wire([byte; 16])
    }

    fn machine(id: i64, guid: Option<MachineGuid>, macs: &[MacAddress]) -> Machine {
        Machine {
            id,
            guid,
            macs: macs.to_vec(),
            ..Machine::default()
        }
    }

    fn found(table: &MachineTable, guid: Option<MachineGuid>, mac: MacAddress) -> Option<i64> {
        let identity = Identity {
            guid,
            mac: Some(mac),
            ..Identity::default()
        };
        table.find(&identity).map(|machine| machine.id)
    }

    #[test]
    fn a_guid_goes_before_a_mac() {
        let table = MachineTable::default();
        table.set_all([
            machine(1, Some(guid(1)), &[mac(1)]),
            machine(2, Some(guid(2)), &[mac(2), mac(3)]),
        ]);
        assert_eq!(found(&table, Some(guid(1)), mac(2)), Some(1));
        assert_eq!(found(&table, Some(guid(9)), mac(3)), Some(2));
        assert_eq!(found(&table, None, mac(4)), None);
    }

    #[test]
    fn what_a_machine_no_longer_has_is_forgotten() {
        let table = MachineTable::default();
        let before = machine(1, Some(guid(1)), &[mac(1), mac(2)]);
        table.set(None, before.clone());
        table.set(Some(&before), machine(1, None, &[mac(2)]));
        assert_eq!(found(&table, Some(guid(1)), mac(1)), None);
        assert_eq!(found(&table, None, mac(2)), Some(1));
    }
}
