//! What the store knows of machines, as decisions read it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bootstorm_proto::types::{MacAddress, MachineGuid};

use crate::Identity;
use crate::cache::Versions;
use crate::identity::differ;

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
    /// What it has reported done, and does not boot by itself until people say so anew.
    pub done: Option<String>,
    /// People let it in, named it or assigned it something.
    pub admitted: bool,
    /// The same, or it has booted here before.
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
    /// moves from machine to machine, and neither counts when the serial number says that it is
    /// another one.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<Arc<Machine>> {
        self.look_up(identity).machine
    }

    pub(crate) fn look_up(&self, identity: &Identity) -> LookUp {
        let mut found = LookUp::default();
        if let Some(guid) = identity.guid {
            // Old iPXE shows the bytes of a GUID as they lie in memory.
            let swapped = MachineGuid::from_wire(guid.as_read());
            for guid in [guid, swapped] {
                found.take_one(&self.by_guid.get(&guid), identity);
            }
        }
        if let Some(mac) = identity.mac {
            found.take_one(&self.by_mac.get(&mac), identity);
        }
        found
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
            self.by_guid.add(guid, &now);
        }
        for mac in &now.macs {
            self.by_mac.add(*mac, &now);
        }
        self.has_changed(&now);
    }

    /// Forgets a machine: whatever has its number.
    pub fn remove(&self, machine: &Machine) {
        if let Some(guid) = machine.guid {
            self.by_guid.remove(guid, machine.id);
        }
        for mac in &machine.macs {
            self.by_mac.remove(*mac, machine.id);
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

/// What the table holds for an identity.
#[derive(Debug, Default)]
pub(crate) struct LookUp {
    /// The machine that is meant.
    pub(crate) machine: Option<Arc<Machine>>,
    /// One that has its GUID or MAC and is another all the same.
    pub(crate) other: Option<Arc<Machine>>,
}

impl LookUp {
    /// Takes the one of `machines`, which share a GUID or a MAC, that is meant.
    fn take_one(&mut self, machines: &[Arc<Machine>], identity: &Identity) {
        if self.machine.is_some() {
            return;
        }
        let (others, mut same): (Vec<_>, Vec<_>) =
            machines.iter().partition(|m| m.is_another(identity));
        if same.len() > 1 {
            same.retain(|m| m.has_mac(identity) || m.has_serial(identity));
        }
        if let [machine] = same.as_slice() {
            self.machine = Some(Arc::clone(machine));
        } else if let Some(other) = others.first().or(same.first()) {
            self.other = Some(Arc::clone(other));
        }
    }
}

impl Machine {
    /// The serial number says that it is another machine, and no two others say that it is not.
    fn is_another(&self, identity: &Identity) -> bool {
        let has_guid = self.guid.is_some() && self.guid == identity.guid;
        differ(self.serial.as_deref(), identity.serial.as_deref())
            && !(has_guid && self.has_mac(identity))
    }

    fn has_mac(&self, identity: &Identity) -> bool {
        identity.mac.is_some_and(|mac| self.macs.contains(&mac))
    }

    fn has_serial(&self, identity: &Identity) -> bool {
        self.serial.is_some() && self.serial == identity.serial
    }
}

/// Parts of a table: enough that one of 200,000 machines is copied with some hundred others.
const PARTS: usize = 512;

type Part<K> = ArcSwap<HashMap<K, Vec<Arc<Machine>>>>;

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
    fn get(&self, key: &K) -> Vec<Arc<Machine>> {
        let found = self
            .part(key)
            .and_then(|part| part.load().get(key).cloned());
        found.unwrap_or_default()
    }

    fn set_all<'a>(&self, machines: impl Iterator<Item = (K, &'a Arc<Machine>)>) {
        let mut maps: Vec<HashMap<K, Vec<_>>> = (0..PARTS).map(|_| HashMap::new()).collect();
        for (key, machine) in machines {
            if let Some(map) = maps.get_mut(self.number(&key)) {
                map.entry(key).or_default().push(Arc::clone(machine));
            }
        }
        for (part, map) in self.parts.iter().zip(maps) {
            part.store(Arc::new(map));
        }
    }

    fn add(&self, key: K, machine: &Arc<Machine>) {
        self.change(&key, |map| {
            map.entry(key).or_default().push(Arc::clone(machine));
        });
    }

    fn remove(&self, key: K, id: i64) {
        self.change(&key, |map| {
            let Some(machines) = map.get_mut(&key) else {
                return;
            };
            machines.retain(|machine| machine.id != id);
            if machines.is_empty() {
                map.remove(&key);
            }
        });
    }

    fn change(&self, key: &K, change: impl Fn(&mut HashMap<K, Vec<Arc<Machine>>>)) {
        let Some(part) = self.part(key) else { return };
        part.rcu(|map| {
            let mut map = HashMap::clone(map);
            change(&mut map);
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

    fn serial_of(id: i64, guid: MachineGuid, last: u8, serial: &str) -> Machine {
        Machine {
            serial: Some(serial.to_owned()),
            ..machine(id, Some(guid), &[mac(last)])
        }
    }

    fn look_up(table: &MachineTable, guid: u8, last: u8, serial: Option<&str>) -> LookUp {
        table.look_up(&Identity {
            guid: Some(MachineGuid::from_wire([guid; 16])),
            mac: Some(mac(last)),
            serial: serial.map(str::to_owned),
            stripped: Vec::new(),
        })
    }

    #[test]
    fn twopxe_21_a_serial_number_tells_machines_with_one_guid_apart() {
        let table = MachineTable::default();
        table.set_all([serial_of(1, guid(1), 1, "A1")]);
        let id = |last, serial| look_up(&table, 1, last, serial).machine.map(|m| m.id);
        assert_eq!(id(2, None), Some(1), "its second card");
        assert_eq!(id(2, Some("a1 ")), Some(1));
        assert_eq!(id(2, Some("Default string")), Some(1));
        assert_eq!(id(2, Some("B2")), None);
        assert_eq!(
            id(1, Some("B2")),
            Some(1),
            "a repaired board: two of three agree"
        );
        let another = look_up(&table, 1, 2, Some("B2")).other;
        assert_eq!(another.map(|m| m.id), Some(1));
    }

    #[test]
    fn twopxe_21_a_serial_number_tells_who_has_the_adapter() {
        let table = MachineTable::default();
        table.set_all([serial_of(1, guid(1), 1, "A1")]);
        let id = |serial| look_up(&table, 2, 1, serial).machine.map(|m| m.id);
        assert_eq!(id(None), Some(1));
        assert_eq!(id(Some("B2")), None, "the adapter is at another machine");
    }

    #[test]
    fn of_stored_machines_with_one_guid_mac_or_serial_says_which() {
        let table = MachineTable::default();
        table.set_all([
            serial_of(1, guid(1), 1, "A1"),
            serial_of(2, guid(1), 2, "B2"),
        ]);
        let id = |last, serial| look_up(&table, 1, last, serial).machine.map(|m| m.id);
        assert_eq!(id(2, None), Some(2));
        assert_eq!(id(9, Some("A1")), Some(1));
        assert_eq!(id(9, None), None);
        table.remove(&serial_of(2, guid(1), 2, "B2"));
        assert_eq!(id(9, None), Some(1));
    }

    #[test]
    fn a_guid_is_found_in_either_byte_order() {
        let table = MachineTable::default();
        let guid: MachineGuid = "11223344-5566-7788-99aa-bbccddeeff00".parse().unwrap();
        table.set_all([machine(1, Some(guid), &[])]);
        let swapped = MachineGuid::from_wire(guid.as_read());
        assert_eq!(found(&table, Some(swapped), mac(1)), Some(1));
    }
}
