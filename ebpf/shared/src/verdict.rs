//! Whether a packet passes, and why: the same in the kernel and in user space.

use crate::bucket::Rate;
use crate::class::Class;
use crate::table::{Action, Limits, Rule};

/// A hardware address of six bytes.
pub type Mac = [u8; 6];
/// A machine GUID as option 97 carries it (RFC 4578, section 2.3), without the type byte.
pub type Guid = [u8; 16];

/// Who sent a DHCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `chaddr`, where it is an Ethernet address.
    pub mac: Mac,
    /// `giaddr`; zero for a machine of this network.
    pub relay: [u8; 4],
    /// Option 97.
    pub guid: Option<Guid>,
}

/// Why a packet passed or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// It passed.
    Passed,
    /// It passed as a known machine's.
    PassedKnown,
    /// Its class is dropped.
    Rule,
    /// The machine asks too often.
    MachineRate,
    /// A known machine asks too often.
    KnownRate,
    /// The relay passes on too much.
    RelayRate,
    /// All machines at this interface ask too often.
    InterfaceRate,
    /// The machine's MAC is banned.
    BannedMac,
    /// The machine's GUID is banned.
    BannedGuid,
}

/// What a judgement looks up.
pub trait Tables {
    /// The rates of single senders.
    fn limits(&self) -> Limits;
    /// The rule of a class.
    fn rule(&self, class: Class) -> Rule;
    /// Whether machines with this MAC are banned.
    fn is_banned_mac(&mut self, mac: &Mac) -> bool;
    /// Whether machines with this GUID are banned.
    fn is_banned_guid(&mut self, guid: &Guid) -> bool;
    /// Takes a packet out of a known machine's bucket; `None` if nobody knows it.
    fn take_known(&mut self, mac: &Mac, rate: Rate, now: u64) -> Option<bool>;
    /// Takes a packet out of a bucket that is made when it is first needed.
    fn take(&mut self, bucket: Which<'_>, rate: Rate, now: u64) -> bool;
}

/// Names a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// A machine that is not known.
    Machine(&'a Mac),
    /// A relay.
    Relay(&'a [u8; 4]),
    /// Everything of this class at the interface that it came in on.
    Class(Class),
}

/// Judges one packet at `now`, in nanoseconds of a clock that does not go back.
///
/// Known machines pay out of their own bucket alone: a flood of made-up addresses empties those of
/// its interface and changes nothing for them. Their DHCP passes even when it is not about booting:
/// it tells which address the installer that booted on them has.
#[inline]
pub fn judge<T: Tables>(
    class: Class,
    machine: Option<&Machine>,
    tables: &mut T,
    now: u64,
) -> Cause {
    if let (true, Some(machine)) = (class.boots(), machine) {
        if tables.is_banned_mac(&machine.mac) {
            return Cause::BannedMac;
        }
        if let Some(guid) = &machine.guid
            && tables.is_banned_guid(guid)
        {
            return Cause::BannedGuid;
        }
    }
    let rule = tables.rule(class).action();
    match rule {
        Action::Pass => return Cause::Passed,
        Action::Drop if class != Class::DhcpNotPxe => return Cause::Rule,
        Action::Drop | Action::Limit(_) => {}
    }
    let limits = tables.limits();
    if let Some(machine) = machine {
        match tables.take_known(&machine.mac, limits.known, now) {
            Some(true) => return Cause::PassedKnown,
            Some(false) => return Cause::KnownRate,
            None => {}
        }
    }
    let Action::Limit(rate) = rule else {
        return Cause::Rule;
    };
    if let Some(machine) = machine {
        if !tables.take(Which::Machine(&machine.mac), limits.machine, now) {
            return Cause::MachineRate;
        }
        if machine.relay != [0; 4] && !tables.take(Which::Relay(&machine.relay), limits.relay, now)
        {
            return Cause::RelayRate;
        }
    }
    if tables.take(Which::Class(class), rate, now) {
        Cause::Passed
    } else {
        Cause::InterfaceRate
    }
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = CAUSES.len();

    /// Every cause, in the order of its number.
    pub fn all() -> impl Iterator<Item = Self> {
        CAUSES.into_iter()
    }

    /// Its number in maps: below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The cause of a number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        CAUSES.get(usize::from(number)).copied()
    }

    /// Whether the packet is dropped.
    #[must_use]
    pub const fn drops(self) -> bool {
        !matches!(self, Self::Passed | Self::PassedKnown)
    }

    /// The name, as labels of metrics spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::PassedKnown => "passed-known",
            Self::Rule => "rule",
            Self::MachineRate => "machine-rate",
            Self::KnownRate => "known-rate",
            Self::RelayRate => "relay-rate",
            Self::InterfaceRate => "interface-rate",
            Self::BannedMac => "banned-mac",
            Self::BannedGuid => "banned-guid",
        }
    }

    /// The reason code of a drop.
    #[must_use]
    pub const fn code(self) -> Option<&'static str> {
        Some(match self {
            Self::Passed | Self::PassedKnown => return None,
            Self::Rule => "classifier.rule",
            Self::MachineRate => "classifier.machine-rate",
            Self::KnownRate => "classifier.known-rate",
            Self::RelayRate => "classifier.relay-rate",
            Self::InterfaceRate => "classifier.interface-rate",
            Self::BannedMac => "classifier.banned-mac",
            Self::BannedGuid => "classifier.banned-guid",
        })
    }

    /// The same for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::PassedKnown => "passed as a known machine",
            Self::Rule => "dropped by the classifier: the rule of its class",
            Self::MachineRate => "dropped by the classifier: per-MAC rate",
            Self::KnownRate => "dropped by the classifier: rate of a known machine",
            Self::RelayRate => "dropped by the classifier: rate of its relay",
            Self::InterfaceRate => "dropped by the classifier: rate of the whole interface",
            Self::BannedMac => "dropped by the classifier: its MAC is banned",
            Self::BannedGuid => "dropped by the classifier: its machine GUID is banned",
        }
    }
}

/// How many counters there are: one for each class and cause.
pub const COUNTERS: usize = Class::COUNT * Cause::COUNT;

/// The place of a counter: below [`COUNTERS`].
#[must_use]
pub const fn counter(class: Class, cause: Cause) -> u32 {
    class.number() as u32 * Cause::COUNT as u32 + cause.number() as u32
}

/// The value of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames, in user space of their payloads.
    pub bytes: u64,
}

const CAUSES: [Cause; 9] = [
    Cause::Passed,
    Cause::PassedKnown,
    Cause::Rule,
    Cause::MachineRate,
    Cause::KnownRate,
    Cause::RelayRate,
    Cause::InterfaceRate,
    Cause::BannedMac,
    Cause::BannedGuid,
];

#[cfg(test)]
mod tests;
