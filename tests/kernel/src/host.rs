//! The same decisions in this process.

use std::collections::{HashMap, HashSet};

use bootstorm_ebpf_shared::{
    Bucket, Cause, Class, DHCP_PORT, Frame, Guid, Limits, Mac, Machine, Rate, Rule, Source, Span,
    Table, Tables, Which, inspect, judge, sort,
};

use crate::Verdict;

/// What the kernel's maps hold, in memory.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Ports, rates and rules.
    pub table: Table,
    /// Own addresses.
    pub own: HashSet<u128>,
    /// Known machines.
    pub known: HashMap<Mac, Bucket>,
    /// Banned MACs.
    pub banned_macs: HashSet<Mac>,
    /// Banned GUIDs.
    pub banned_guids: HashSet<Guid>,
    machines: HashMap<Mac, Bucket>,
    relays: HashMap<[u8; 4], Bucket>,
    classes: HashMap<Class, Bucket>,
}

impl Host {
    /// What becomes of a frame that arrives at `now`.
    pub fn run(&mut self, frame: &[u8], now: u64) -> Verdict {
        let (class, machine) = self.sort(frame);
        let cause = match class {
            Class::NotOurs => Cause::Passed,
            class => judge(class, machine.as_ref(), self, now),
        };
        Verdict { class, cause }
    }

    /// What a frame is.
    #[must_use]
    pub fn sort(&self, frame: &[u8]) -> (Class, Option<Machine>) {
        let mut arrived = Arrived {
            frame,
            host: self,
            machine: None,
        };
        let class = sort(&mut arrived, &self.table.settings.ports);
        (class, arrived.machine)
    }
}

impl Tables for Host {
    fn limits(&self) -> Limits {
        self.table.settings.limits
    }

    fn rule(&self, class: Class) -> Rule {
        self.table.rule(class)
    }

    fn is_banned_mac(&mut self, mac: &Mac) -> bool {
        self.banned_macs.contains(mac)
    }

    fn is_banned_guid(&mut self, guid: &Guid) -> bool {
        self.banned_guids.contains(guid)
    }

    fn take_known(&mut self, mac: &Mac, rate: Rate, now: u64) -> Option<bool> {
        Some(self.known.get_mut(mac)?.take(rate, now))
    }

    fn take(&mut self, bucket: Which<'_>, rate: Rate, now: u64) -> bool {
        let bucket = match bucket {
            Which::Machine(mac) => self.machines.entry(*mac).or_default(),
            Which::Relay(relay) => self.relays.entry(*relay).or_default(),
            Which::Class(class) => self.classes.entry(class).or_default(),
        };
        bucket.take(rate, now)
    }
}

struct Arrived<'a> {
    frame: &'a [u8],
    host: &'a Host,
    machine: Option<Machine>,
}

impl Source for Arrived<'_> {
    fn size(&self) -> usize {
        self.frame.len()
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.frame.array(at)
    }
}

impl Frame for Arrived<'_> {
    fn is_own(&mut self, address: u128) -> bool {
        self.host.own.contains(&address)
    }

    fn dhcp(&mut self, message: Span) -> Class {
        let message = self.frame.get(message.at..message.at + message.len);
        let (class, machine) = inspect(message.unwrap_or_default(), DHCP_PORT);
        self.machine = machine;
        class
    }
}
