//! Machines that the classifier treats in a way of their own.

use std::collections::HashSet;

use bootstorm_config::{Banned, Config};
use bootstorm_proto::types::MacAddress;
use bootstorm_xdp::Roster;

/// Who is known and who is banned.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// They have booted here, or were named in the web service.
    of_store: HashSet<MacAddress>,
    /// They have a table of their own in the configuration.
    of_config: HashSet<MacAddress>,
    banned: HashSet<Banned>,
}

impl Lists {
    pub(super) fn of(config: &Config) -> Self {
        let mut lists = Self::default();
        lists.configure(config);
        lists
    }

    pub(super) fn configure(&mut self, config: &Config) {
        self.of_config = config.machines.iter().filter_map(|m| m.mac).collect();
        self.banned = config.classifier.banned.iter().copied().collect();
    }

    pub(super) fn know(&mut self, machines: impl IntoIterator<Item = MacAddress>) {
        self.of_store = machines.into_iter().collect();
    }

    pub(super) fn knows(&self, mac: MacAddress) -> bool {
        self.of_config.contains(&mac) || self.of_store.contains(&mac)
    }

    pub(super) fn bans(&self, mac: MacAddress) -> bool {
        self.banned.contains(&Banned::Mac(mac))
    }

    /// Those that people wrote down come first: where not all fit, they do.
    pub(super) fn roster(&self) -> Roster {
        let others = self.of_store.difference(&self.of_config);
        let known = self.of_config.iter().chain(others);
        let mut roster = Roster {
            known: known.map(|mac| mac.bytes()).collect(),
            ..Roster::default()
        };
        for banned in &self.banned {
            match banned {
                Banned::Mac(mac) => roster.banned_macs.push(mac.bytes()),
                Banned::Guid(guid) => roster.banned_guids.push(guid.wire()),
                // Maps find whole keys only; the policy leaves these unanswered.
                Banned::Macs(_) | Banned::Guids(_) => {}
            }
        }
        roster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_the_configuration_come_first_and_each_once() {
        let mac = |last| MacAddress::new([2, 0, 0, 0, 0, last]);
        let machine = |last| bootstorm_config::Machine {
            mac: Some(mac(last)),
            guid: None,
            name: None,
            boot: None,
        };
        let mut config = Config::for_user();
        config.machines = vec![machine(9)];
        let guid = "11223344-5566-7788-99aa-bbccddeeff00";
        config.classifier.banned = vec![guid.parse().unwrap(), Banned::Mac(mac(5))];
        let mut lists = Lists::of(&config);
        lists.know([mac(1), mac(9)]);
        let roster = lists.roster();
        assert_eq!(roster.known, [mac(9).bytes(), mac(1).bytes()]);
        assert_eq!(roster.banned_macs, [mac(5).bytes()]);
        // As option 97 carries it: the first three fields are little-endian.
        assert_eq!(roster.banned_guids[0][..4], [0x44, 0x33, 0x22, 0x11]);
        assert!(lists.bans(mac(5)) && !lists.knows(mac(5)) && lists.knows(mac(1)));
    }
}
