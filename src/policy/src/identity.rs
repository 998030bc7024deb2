//! What of a machine's facts tells it from all others.

use bootstorm_config::{GuidPattern, IdentityConfig, MacPattern};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::Facts;

mod duplicates;
mod serials;
mod shared_macs;
mod vendor_guids;

pub(crate) use duplicates::Duplicates;
pub use duplicates::{Duplicate, Evidence};
pub(crate) use serials::differ;
pub(crate) use shared_macs::SharedMacs;

/// What identifies a machine. Its GUID goes before its MAC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// MAC address, unless several machines share it.
    pub mac: Option<MacAddress>,
    /// Machine GUID, unless its vendor gave it to many.
    pub guid: Option<MachineGuid>,
    /// Serial number: it identifies no machine by itself, but tells two apart.
    pub serial: Option<String>,
    /// What the machine sent besides and why it does not count.
    pub stripped: Vec<Reason>,
}

impl Identity {
    /// Nothing tells which machine it is.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.mac.is_none() && self.guid.is_none()
    }
}

/// What the configuration says does not identify, on top of what is built in.
#[derive(Debug, Default)]
pub struct IdentityRules {
    banned_guids: Vec<GuidPattern>,
    shared_macs: Vec<MacPattern>,
    shared_macs_file: Option<SharedMacs>,
}

impl From<&IdentityConfig> for IdentityRules {
    fn from(config: &IdentityConfig) -> Self {
        Self {
            banned_guids: config.banned_guids.clone(),
            shared_macs: config.shared_macs.clone(),
            shared_macs_file: config.shared_macs_file.clone().map(SharedMacs::new),
        }
    }
}

impl IdentityRules {
    /// A file that is broken at this moment stays what it was before the configuration changed.
    pub(crate) fn after(&self, before: &Self) {
        if let (Some(file), Some(before)) = (&self.shared_macs_file, &before.shared_macs_file) {
            file.after(before);
        }
    }

    /// The file that the list of shared MACs goes on in.
    pub(crate) const fn shared_macs_file(&self) -> Option<&SharedMacs> {
        self.shared_macs_file.as_ref()
    }

    /// What of the facts identifies the machine.
    pub(crate) fn identify(&self, facts: &Facts, duplicates: &Duplicates) -> Identity {
        let mut stripped = Vec::new();
        let mut keep = |why: Option<Reason>| {
            let keeps = why.is_none();
            stripped.extend(why);
            keeps
        };
        let guid = facts.guid.filter(|guid| {
            let why = self.guid_problem(*guid);
            keep(why.or_else(|| duplicates.problem(*guid)))
        });
        let mac = facts.mac.filter(|mac| keep(self.mac_problem(*mac)));
        Identity {
            mac,
            guid,
            serial: facts.serial.clone(),
            stripped,
        }
    }

    /// Why a GUID identifies no machine, if it does not.
    pub(crate) fn guid_problem(&self, guid: MachineGuid) -> Option<Reason> {
        if let Some(why) = vendor_guids::problem(guid) {
            return Some(Reason {
                code: "identity.vendor-guid",
                text: format!("{guid} is in many machines: {why}").into(),
            });
        }
        let pattern = self.banned_guids.iter().find(|p| p.matches(guid))?;
        Some(Reason {
            code: "identity.banned-guid",
            text: format!("{guid} is banned by `{pattern}` (identity.banned_guids)").into(),
        })
    }

    fn mac_problem(&self, mac: MacAddress) -> Option<Reason> {
        let by = if let Some(pattern) = self.shared_macs.iter().find(|p| p.matches(mac)) {
            format!("`{pattern}` of identity.shared_macs")
        } else {
            let file = self.shared_macs_file.as_ref().filter(|f| f.lists(mac))?;
            file.path().display().to_string()
        };
        Some(Reason {
            code: "identity.shared-mac",
            text: format!("{mac} moves from machine to machine, says {by}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(banned: &[&str], shared: &[&str]) -> IdentityRules {
        IdentityRules::from(&IdentityConfig {
            banned_guids: banned.iter().map(|p| p.parse().unwrap()).collect(),
            shared_macs: shared.iter().map(|p| p.parse().unwrap()).collect(),
            shared_macs_file: None,
        })
    }

    fn identify(rules: &IdentityRules, mac: &str, guid: &str) -> Identity {
        let facts = Facts {
            mac: mac.parse().ok(),
            guid: guid.parse().ok(),
            ..Facts::default()
        };
        rules.identify(&facts, &Duplicates::default())
    }

    fn codes(identity: &Identity) -> Vec<&str> {
        identity.stripped.iter().map(|reason| reason.code).collect()
    }

    const MAC: &str = "00:e0:4c:68:00:01";
    const GUID: &str = "8f2d0f6e-41b3-4d0e-9f2a-55c1d2e3f405";

    #[test]
    fn wds_03_shared_macs_and_banned_guids_do_not_identify() {
        let usual = identify(&rules(&[], &[]), MAC, GUID);
        assert!(usual.mac.is_some() && usual.guid.is_some());
        assert!(usual.stripped.is_empty());
        let docked = identify(&rules(&[], &["00:e0:4c:*"]), MAC, GUID);
        assert_eq!((docked.mac, docked.guid), (None, usual.guid));
        assert_eq!(codes(&docked), ["identity.shared-mac"]);
        let banned = identify(&rules(&["8f2d0f6e-41b3-*"], &[]), MAC, GUID);
        assert_eq!((banned.mac, banned.guid), (usual.mac, None));
        assert_eq!(codes(&banned), ["identity.banned-guid"]);
        let nobody = identify(&rules(&["8f2d*"], &["00:e0:*"]), MAC, GUID);
        assert!(nobody.is_unknown());
        assert_eq!(
            codes(&nobody),
            ["identity.banned-guid", "identity.shared-mac"]
        );
    }

    #[test]
    fn wds_04_blank_and_placeholder_guids_leave_the_mac() {
        for guid in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
        ] {
            let identity = identify(&rules(&[], &[]), MAC, guid);
            assert_eq!(codes(&identity), ["identity.vendor-guid"], "{guid}");
            assert!(identity.mac.is_some() && identity.guid.is_none());
        }
    }

    proptest! {
        /// What identifies is what was sent or nothing, and whatever is taken away has a reason.
        #[test]
        fn nothing_is_made_up_or_lost(mac: Option<[u8; 6]>, guid: Option<[u8; 16]>, banned in "[0-9a-f]{1,4}\\*", shared in "[0-9a-f]{1,4}\\*") {
            let facts = Facts {
                mac: mac.map(MacAddress::new),
                guid: guid.map(MachineGuid::from_wire),
                ..Facts::default()
            };
            let rules = rules(&[&banned], &[&shared]);
            let identity = rules.identify(&facts, &Duplicates::default());
            prop_assert!(identity.mac.is_none() || identity.mac == facts.mac);
            prop_assert!(identity.guid.is_none() || identity.guid == facts.guid);
            let taken = usize::from(identity.mac != facts.mac) + usize::from(identity.guid != facts.guid);
            prop_assert_eq!(identity.stripped.len(), taken);
        }
    }
}
