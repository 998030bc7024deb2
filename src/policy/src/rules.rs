//! What the configuration and the store say about machines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bootstorm_config::{Banned, Config, Listen, Scheme};
use bootstorm_proto::types::{Family, MacAddress, MachineGuid};

/// The configuration, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the menu takes after its time-out: an entry, `local`, or `None` for the local disk.
    pub default: Option<String>,
    /// How long the menu waits; zero is for ever.
    pub menu_timeout: Duration,
    /// Scheme of script URLs.
    pub script_scheme: Scheme,
    /// Scheme of the URLs for UEFI HTTP Boot.
    pub http_boot_scheme: Scheme,
    /// Name in URLs instead of the interface's address.
    pub host: Option<String>,
    /// Boot programs to look for instead of the built-in list.
    pub nbp: BTreeMap<Family, Vec<String>>,
    /// Seconds that a machine must have been asking before it is offered anything, unless it has
    /// something assigned.
    pub response_delay: u16,
    /// Assignments of the configuration.
    pub assignments: Assignments,
    /// Machines that boot nothing.
    pub banned: HashSet<Banned>,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let machines = config.machines.iter().filter_map(|machine| {
            Some(Assignment {
                mac: machine.mac,
                guid: machine.guid,
                boot: machine.boot.clone()?,
            })
        });
        Self {
            default: config.boot.default.clone(),
            menu_timeout: config.boot.menu_timeout,
            script_scheme: config.boot.script_scheme,
            http_boot_scheme: config.boot.http_boot_scheme,
            host: config.host.clone(),
            nbp: config.boot.nbp.clone(),
            response_delay: config.boot.response_delay,
            assignments: Assignments::new(machines),
            banned: config.classifier.banned.iter().copied().collect(),
        }
    }
}

/// What one machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// MAC address.
    pub mac: Option<MacAddress>,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// An entry's id, `local` or `menu`.
    pub boot: String,
}

/// Assignments by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    by_mac: HashMap<MacAddress, String>,
    by_guid: HashMap<MachineGuid, String>,
}

impl Assignments {
    /// Makes the table; of two for the same machine the later wins.
    #[must_use]
    pub fn new(list: impl IntoIterator<Item = Assignment>) -> Self {
        let mut table = Self::default();
        for Assignment { mac, guid, boot } in list {
            if let Some(guid) = guid.filter(|g| !g.is_blank()) {
                table.by_guid.insert(guid, boot.clone());
            }
            if let Some(mac) = mac {
                table.by_mac.insert(mac, boot);
            }
        }
        table
    }

    /// What the machine boots: its GUID goes before its MAC, which may be a dock's that moves from
    /// machine to machine.
    #[must_use]
    pub fn of(&self, mac: Option<MacAddress>, guid: Option<MachineGuid>) -> Option<&str> {
        let guid = guid.filter(|g| !g.is_blank());
        let by_guid = guid.and_then(|guid| self.by_guid.get(&guid));
        let by_mac = || self.by_mac.get(&mac?);
        by_guid.or_else(by_mac).map(String::as_str)
    }
}

/// Ports that machines are sent to; `None` for a listener that is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// TFTP.
    pub tftp: Option<u16>,
    /// Plain boot endpoint.
    pub http: Option<u16>,
    /// Boot endpoint over TLS.
    pub https: Option<u16>,
}

impl From<&Listen> for Ports {
    fn from(listen: &Listen) -> Self {
        Self {
            tftp: listen.tftp.address().map(|a| a.port()),
            http: listen.http.address().map(|a| a.port()),
            https: listen.https.address().map(|a| a.port()),
        }
    }
}

impl Ports {
    pub(crate) const fn of(self, scheme: Scheme) -> Option<u16> {
        match scheme {
            Scheme::Http => self.http,
            Scheme::Https => self.https,
        }
    }
}
