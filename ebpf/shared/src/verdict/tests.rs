//! Judgements with tables that are as simple as can be.

extern crate std;

use std::collections::{HashMap, HashSet};

use super::*;
use crate::bucket::Bucket;
use crate::class::{Broken, Family};
use crate::table::Table;

const SECOND: u64 = 1_000_000_000;
const FIRMWARE: Class = Class::Firmware(Family::X64);

struct Memory {
    table: Table,
    banned: HashSet<std::vec::Vec<u8>>,
    known: HashMap<Mac, Bucket>,
    machines: HashMap<Mac, Bucket>,
    relays: HashMap<[u8; 4], Bucket>,
    classes: HashMap<Class, Bucket>,
}

impl Memory {
    fn new() -> Self {
        Self {
            table: Table::default(),
            banned: HashSet::new(),
            known: HashMap::new(),
            machines: HashMap::new(),
            relays: HashMap::new(),
            classes: HashMap::new(),
        }
    }

    /// The causes of so many packets of one machine at one moment.
    fn causes(&mut self, machine: Machine, packets: usize, now: u64) -> HashMap<Cause, usize> {
        let mut causes = HashMap::new();
        for _ in 0..packets {
            let cause = judge(FIRMWARE, Some(&machine), self, now);
            *causes.entry(cause).or_insert(0) += 1;
        }
        causes
    }
}

impl Tables for Memory {
    fn limits(&self) -> Limits {
        self.table.settings.limits
    }

    fn rule(&self, class: Class) -> Rule {
        self.table.rule(class)
    }

    fn is_banned_mac(&mut self, mac: &Mac) -> bool {
        self.banned.contains(&mac[..])
    }

    fn is_banned_guid(&mut self, guid: &Guid) -> bool {
        self.banned.contains(&guid[..])
    }

    fn take_known(&mut self, mac: &Mac, rate: Rate, now: u64) -> Option<bool> {
        self.known.get_mut(mac).map(|bucket| bucket.take(rate, now))
    }

    fn take(&mut self, bucket: Which<'_>, rate: Rate, now: u64) -> bool {
        match bucket {
            Which::Machine(mac) => self.machines.entry(*mac).or_default().take(rate, now),
            Which::Relay(relay) => self.relays.entry(*relay).or_default().take(rate, now),
            Which::Class(class) => self.classes.entry(class).or_default().take(rate, now),
        }
    }
}

fn machine(number: u32) -> Machine {
    let [a, b, c, d] = number.to_be_bytes();
    Machine {
        mac: [2, 0, a, b, c, d],
        relay: [0; 4],
        guid: None,
    }
}

#[test]
fn a_machine_gets_its_burst_and_no_more() {
    let mut memory = Memory::new();
    let causes = memory.causes(machine(1), 100, SECOND);
    assert_eq!(causes[&Cause::Passed], 16);
    assert_eq!(causes[&Cause::MachineRate], 84);
    assert_eq!(memory.causes(machine(2), 1, SECOND)[&Cause::Passed], 1);
}

#[test]
fn spoofed_machines_change_nothing_for_known_ones() {
    let mut memory = Memory::new();
    let known = machine(7);
    memory.known.insert(known.mac, Bucket::default());
    let mut flooded = 0;
    for number in 100..100_100 {
        flooded += usize::from(
            memory
                .causes(machine(number), 1, SECOND)
                .contains_key(&Cause::InterfaceRate),
        );
    }
    assert_eq!(flooded, 60_000);
    let causes = memory.causes(known, 70, SECOND);
    assert_eq!(causes[&Cause::PassedKnown], 64);
    assert_eq!(causes[&Cause::KnownRate], 6);
}

#[test]
fn a_relay_has_a_rate_of_its_own() {
    let mut memory = Memory::new();
    let behind = |number| Machine {
        relay: [10, 0, 0, 1],
        ..machine(number)
    };
    for number in 0..20_000 {
        assert_eq!(memory.causes(behind(number), 1, SECOND)[&Cause::Passed], 1);
    }
    assert_eq!(
        memory.causes(behind(20_000), 1, SECOND)[&Cause::RelayRate],
        1
    );
    assert_eq!(memory.causes(machine(20_001), 1, SECOND)[&Cause::Passed], 1);
}

#[test]
fn a_banned_machine_is_dropped_where_it_boots_and_nowhere_else() {
    let mut memory = Memory::new();
    let mut banned = machine(9);
    memory.banned.insert(banned.mac.to_vec());
    memory.known.insert(banned.mac, Bucket::default());
    assert_eq!(
        judge(FIRMWARE, Some(&banned), &mut memory, SECOND),
        Cause::BannedMac
    );
    memory.table = memory.table.beside_others();
    assert_eq!(
        judge(Class::DhcpNotPxe, Some(&banned), &mut memory, SECOND),
        Cause::Passed
    );
    banned = Machine {
        guid: Some([7; 16]),
        ..machine(10)
    };
    memory.banned.insert([7; 16].to_vec());
    assert_eq!(
        judge(Class::Ipxe, Some(&banned), &mut memory, SECOND),
        Cause::BannedGuid
    );
}

#[test]
fn what_a_known_machine_asks_after_its_boot_is_overheard() {
    let mut memory = Memory::new();
    let known = machine(7);
    memory.known.insert(known.mac, Bucket::default());
    let mut ask = |class| judge(class, Some(&known), &mut memory, SECOND);
    assert_eq!(ask(Class::DhcpNotPxe), Cause::PassedKnown);
    assert_eq!(ask(Class::Malformed(Broken::OptionPastEnd)), Cause::Rule);
}

#[test]
fn a_dropped_class_takes_from_no_bucket() {
    let mut memory = Memory::new();
    let class = Class::Malformed(Broken::Short);
    assert_eq!(judge(class, None, &mut memory, SECOND), Cause::Rule);
    let cause = judge(Class::DhcpNotPxe, Some(&machine(1)), &mut memory, SECOND);
    assert_eq!(cause, Cause::Rule);
    assert!(memory.machines.is_empty() && memory.classes.is_empty());
}

#[test]
fn numbers_are_dense_and_names_differ() {
    for (at, cause) in Cause::all().enumerate() {
        assert_eq!(usize::from(cause.number()), at);
        assert_eq!(Cause::of(cause.number()), Some(cause));
        assert_eq!(cause.code().is_some(), cause.drops());
        assert!(
            Cause::all()
                .take(at)
                .all(|other| other.name() != cause.name())
        );
    }
    assert_eq!(Cause::of(Cause::COUNT as u8), None);
    let places: HashSet<u32> = Class::all()
        .flat_map(|class| Cause::all().map(move |cause| counter(class, cause)))
        .collect();
    assert_eq!(places.len(), COUNTERS);
    assert!(places.iter().all(|place| (*place as usize) < COUNTERS));
}
