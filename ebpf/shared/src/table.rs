//! What user space decides beforehand: ports, rates, and a rule for each class. The kernel program
//! reads it out of its maps, the engine out of memory; both follow a change at once.

use crate::bucket::Rate;
use crate::class::{Broken, Class};

/// The whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Ports and rates.
    pub settings: Settings,
    /// A rule for each class, by its number.
    pub rules: [Rule; Class::COUNT],
}

/// What holds for every class. No byte of it is padding: it is written into a map as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Rates that no class has for itself.
    pub limits: Limits,
    /// Where packets for us go.
    pub ports: Ports,
}

/// Rates of single senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// One machine, by its MAC.
    pub machine: Rate,
    /// One machine that user space knows: it pays this and nothing else.
    pub known: Rate,
    /// One relay.
    pub relay: Rate,
    /// Samples of dropped packets, for each cause.
    pub samples: Rate,
}

/// UDP and TCP ports; 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ports {
    /// DHCP.
    pub dhcp: u16,
    /// PXE boot service.
    pub pxe: u16,
    /// TFTP requests.
    pub tftp: u16,
    /// The first TFTP data port.
    pub data_first: u16,
    /// The last one.
    pub data_last: u16,
    /// The boot endpoint and the web service, TCP.
    pub boot: [u16; 4],
    /// Makes the size a multiple of eight.
    pub reserved: [u16; 3],
}

/// What happens to a class. The fields are those of a map's value: use [`Rule::action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    action: u64,
    rate: Rate,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Pass,
    /// It is dropped.
    Drop,
    /// It passes within the rates of its sender and this one, which all senders at one interface
    /// share.
    Limit(Rate),
}

impl Rule {
    /// Everything passes.
    pub const PASS: Self = Self {
        action: PASS,
        rate: Rate::UNLIMITED,
    };
    /// Everything is dropped.
    pub const DROP: Self = Self {
        action: DROP,
        rate: Rate::UNLIMITED,
    };

    /// So much passes for each interface.
    #[must_use]
    pub const fn limit(rate: Rate) -> Self {
        Self {
            action: LIMIT,
            rate,
        }
    }

    /// What it says; a number that nobody has written passes.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self.action {
            DROP => Action::Drop,
            LIMIT => Action::Limit(self.rate),
            _ => Action::Pass,
        }
    }

    /// The rule where nothing else is configured. Rubbish that nobody could answer and DHCP that
    /// is not about booting are dropped; what boots is limited far above what a storm of thousands
    /// of machines needs; everything else passes.
    #[must_use]
    pub const fn usual(class: Class) -> Self {
        match class {
            Class::Firmware(_) | Class::Ipxe | Class::HttpClient => {
                Self::limit(Rate::new(20_000, 40_000))
            }
            Class::TftpRequest => Self::limit(Rate::new(50_000, 100_000)),
            Class::DhcpNotPxe | Class::Malformed(_) => Self::DROP,
            _ => Self::PASS,
        }
    }
}

impl Table {
    /// The table of a host on which somebody else takes DHCP too: what another DHCP server, a
    /// relay or a guest may make sense of passes.
    #[must_use]
    pub fn beside_others(mut self) -> Self {
        for class in Class::all() {
            let is_theirs = match class {
                Class::DhcpNotPxe => true,
                Class::Malformed(broken) => !matches!(broken, Broken::TftpOpcode),
                _ => false,
            };
            if let (true, Some(rule)) = (is_theirs, self.rules.get_mut(usize::from(class.number())))
            {
                *rule = Rule::PASS;
            }
        }
        self
    }

    /// The rule of a class.
    #[must_use]
    pub fn rule(&self, class: Class) -> Rule {
        let rule = self.rules.get(usize::from(class.number()));
        rule.copied().unwrap_or(Rule::PASS)
    }
}

impl Default for Table {
    fn default() -> Self {
        let mut rules = [Rule::PASS; Class::COUNT];
        for (rule, class) in rules.iter_mut().zip(Class::all()) {
            *rule = Rule::usual(class);
        }
        Self {
            settings: Settings::default(),
            rules,
        }
    }
}

impl Default for Limits {
    /// Firmware and iPXE of one machine send some twenty packets in a boot of ten seconds, over
    /// three rounds; a machine in a loop sends hundreds.
    fn default() -> Self {
        Self {
            machine: Rate::new(4, 16),
            known: Rate::new(20, 64),
            relay: Rate::new(10_000, 20_000),
            samples: Rate::new(10, 10),
        }
    }
}

impl Default for Ports {
    /// Those of `--listen` where nothing else is configured.
    fn default() -> Self {
        Self {
            dhcp: crate::DHCP_PORT,
            pxe: crate::PXE_PORT,
            tftp: crate::TFTP_PORT,
            data_first: 64_001,
            data_last: 65_000,
            boot: [8080, 8050, 8051, 0],
            reserved: [0; 3],
        }
    }
}

const PASS: u64 = 0;
const DROP: u64 = 1;
const LIMIT: u64 = 2;

const _: () = assert!(size_of::<Settings>() == size_of::<Limits>() + 12 * 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Family;

    #[test]
    fn what_boots_is_limited_and_rubbish_is_dropped() {
        let table = Table::default();
        let action = |class| table.rule(class).action();
        assert!(matches!(
            action(Class::Firmware(Family::X64)),
            Action::Limit(_)
        ));
        assert_eq!(action(Class::DhcpNotPxe), Action::Drop);
        assert_eq!(action(Class::Malformed(Broken::Short)), Action::Drop);
        assert_eq!(action(Class::Malformed(Broken::TftpOpcode)), Action::Drop);
        assert_eq!(action(Class::NotOurs), Action::Pass);
        assert_eq!(action(Class::TftpOther), Action::Pass);
    }

    #[test]
    fn beside_others_nothing_is_dropped_that_they_could_read() {
        let table = Table::default().beside_others();
        let dropped = Class::all().filter(|class| table.rule(*class).action() == Action::Drop);
        assert!(dropped.eq([Class::Malformed(Broken::TftpOpcode)]));
        assert_eq!(table.rule(Class::Ipxe), Table::default().rule(Class::Ipxe));
    }
}
