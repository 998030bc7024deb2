//! The classifier in user space: the same judgement as in the kernel program, before anything else
//! looks at a packet.
//!
//! It judges what the program has judged too. Fragments pass there, and their whole is judged by
//! nobody else; and when a program is taken off its interface, nobody has to notice.

mod buckets;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use bootstorm_ebpf_shared::{
    Bucket, Cause, Class, DHCP_PORT, Guid, Limits, Mac, Rate, Rule, TFTP_PORT, Tables, Which,
    counter, inspect, judge,
};
use bootstorm_proto::dhcp::ClientFacts;
use bootstorm_proto::types::{HardwareAddress, MacAddress};

use crate::limits;
use settings::{Ledger, Rules};

pub use settings::{GateSettings, Roster};

/// The gate of one worker.
#[derive(Debug)]
pub struct Gate {
    settings: Arc<GateSettings>,
    rules: Cache<Arc<ArcSwap<Rules>>, Arc<Rules>>,
    ledger: Arc<Ledger>,
    samples: [Bucket; Cause::COUNT],
    dhcp_workers: u32,
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// UDP 67 and 4011.
    Dhcp,
    /// UDP 69.
    Tftp,
}

/// How a packet that passed goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// At once.
    AtOnce,
    /// It is a boot request of a machine that is not known: after those of machines that are.
    Stranger,
}

/// A packet that is to go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub cause: Cause,
    /// Whose it was, where it shows that.
    pub mac: Option<MacAddress>,
    /// Few enough were told lately for this one to be told too.
    pub is_told: bool,
}

impl Gate {
    /// The gate of a worker, by its number: one below what the settings were made for.
    #[must_use]
    pub fn new(settings: &Arc<GateSettings>, worker: usize) -> Self {
        Self {
            ledger: settings.ledger(worker),
            rules: Cache::new(settings.rules()),
            samples: [Bucket::default(); Cause::COUNT],
            dhcp_workers: settings.workers().min(limits::DHCP_WORKERS as u32),
            settings: Arc::clone(settings),
        }
    }

    /// Judges a datagram that came in on an interface.
    ///
    /// What the rules drop as broken or none of ours goes on: the parser says what is wrong with it
    /// and answers nothing.
    ///
    /// # Errors
    /// [`Stopped`] when it is to go no further.
    pub fn judge(
        &mut self,
        service: Service,
        interface: u32,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Passed, Stopped> {
        let now = self.settings.clock(now);
        let rules: &Rules = self.rules.load();
        let (port, parts) = match service {
            Service::Dhcp => (DHCP_PORT, self.dhcp_workers),
            Service::Tftp => (TFTP_PORT, self.settings.workers()),
        };
        let (class, machine) = inspect(bytes, port);
        let mut tables = View {
            rules,
            ledger: &self.ledger,
            interface,
            parts,
        };
        let cause = judge(class, machine.as_ref(), &mut tables, now);
        self.ledger.count(counter(class, cause), bytes.len());
        let is_parsers =
            service == Service::Dhcp && matches!(class, Class::DhcpNotPxe | Class::Malformed(_));
        if !cause.drops() || cause == Cause::Rule && is_parsers {
            let stranger = service == Service::Dhcp && class.boots() && !rules.knows(chaddr(bytes));
            return Ok(passed(stranger));
        }
        let mac = machine.map(|machine| MacAddress::new(machine.mac));
        Err(self.stopped(cause, mac, now))
    }

    /// Judges a request of which [`judge`](Self::judge) did not see the machine: DHCPv6, or DHCP
    /// with another link than Ethernet. It pays for itself alone.
    ///
    /// # Errors
    /// [`Stopped`] when it is not to be answered.
    pub fn judge_parsed(&mut self, facts: &ClientFacts, now: Instant) -> Result<(), Stopped> {
        let now = self.settings.clock(now);
        let mac = facts.hardware.mac();
        let machines = &self.rules.load().machines;
        let cause = if mac.is_some_and(|mac| machines.banned_macs.contains(&mac.bytes())) {
            Cause::BannedMac
        } else if facts
            .guid
            .is_some_and(|guid| machines.banned_guids.contains(&guid.wire()))
        {
            Cause::BannedGuid
        } else {
            let rate = self.rules.load().table.settings.limits.machine;
            let key = hardware_key(&facts.hardware);
            if self.ledger.machines.take(key, rate, now) {
                return Ok(());
            }
            Cause::MachineRate
        };
        Err(self.stopped(cause, mac, now))
    }

    fn stopped(&mut self, cause: Cause, mac: Option<MacAddress>, now: u64) -> Stopped {
        let rate = self.rules.load().table.settings.limits.samples;
        let rate = rate.shared_by(self.dhcp_workers);
        let bucket = self.samples.get_mut(usize::from(cause.number()));
        Stopped {
            cause,
            mac,
            is_told: bucket.is_some_and(|bucket| bucket.take(rate, now)),
        }
    }
}

const fn passed(stranger: bool) -> Passed {
    if stranger {
        Passed::Stranger
    } else {
        Passed::AtOnce
    }
}

/// The hardware address of a DHCP message, where it is as long as a MAC (RFC 2131, section 2).
fn chaddr(message: &[u8]) -> Option<&Mac> {
    let six = message.get(2) == Some(&6);
    message.get(28..)?.first_chunk().filter(|_| six)
}

/// What [`judge`] looks up for one packet.
struct View<'a> {
    rules: &'a Rules,
    ledger: &'a Ledger,
    interface: u32,
    /// Workers that share the rates of relays and interfaces.
    parts: u32,
}

impl Tables for View<'_> {
    fn limits(&self) -> Limits {
        self.rules.table.settings.limits
    }

    fn rule(&self, class: Class) -> Rule {
        self.rules.table.rule(class)
    }

    fn is_banned_mac(&mut self, mac: &Mac) -> bool {
        let banned = &self.rules.machines.banned_macs;
        !banned.is_empty() && banned.contains(mac)
    }

    fn is_banned_guid(&mut self, guid: &Guid) -> bool {
        let banned = &self.rules.machines.banned_guids;
        !banned.is_empty() && banned.contains(guid)
    }

    fn take_known(&mut self, mac: &Mac, rate: Rate, now: u64) -> Option<bool> {
        let known = self.rules.machines.known.contains(mac);
        known.then(|| self.ledger.known.take(mac_key(mac), rate, now))
    }

    fn take(&mut self, bucket: Which<'_>, rate: Rate, now: u64) -> bool {
        let shared = rate.shared_by(self.parts);
        match bucket {
            Which::Machine(mac) => self.ledger.machines.take(mac_key(mac), rate, now),
            Which::Relay(relay) => {
                let key = OURS | u64::from(u32::from_be_bytes(*relay));
                self.ledger.relays.take(key, shared, now)
            }
            Which::Class(class) => {
                let key = OURS | u64::from(self.interface) << 8 | u64::from(class.number());
                self.ledger.classes.take(key, shared, now)
            }
        }
    }
}

/// A bit that makes every key differ from 0.
const OURS: u64 = 1 << 63;

fn mac_key(mac: &Mac) -> u64 {
    let [a, b, c, d, e, f] = *mac;
    OURS | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Never that of a MAC, so that a machine's DHCPv6 does not use up its DHCP.
fn hardware_key(hardware: &HardwareAddress) -> u64 {
    let bytes = hardware.bytes().iter().copied().chain([hardware.htype()]);
    let mixed = bytes.fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(byte))
            .wrapping_mul(FNV_PRIME)
            .rotate_left(29)
    });
    OURS | 1 << 62 | mixed
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
