//! The configuration, as decisions read it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bootstorm_config::{
    Banned, Config, Finding, Listen, LocalBoot, PolicyConfig, ProviderKind, Scheme, Severity,
    WindowsBoot,
};
use bootstorm_proto::types::Family;

use crate::chain::{Chain, configured};
use crate::identity::IdentityRules;
use crate::matcher::Matcher;
use crate::menus::Menus;
use crate::providers::Rule;
use crate::windows::VariablesFolder;
use crate::{Machine, MachineTable, Templates};

/// The configuration, as far as decisions need it.
#[derive(Clone, Debug)]
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
    /// How iPXE leaves for the next boot device.
    pub local: LocalBoot,
    /// What boot managers of Windows are told.
    pub windows: WindowsBoot,
    /// Where variables of machines lie.
    pub variables: Option<Arc<VariablesFolder>>,
    /// Scripts that are written as templates.
    pub templates: Arc<Templates>,
    /// Menus of the configuration.
    pub menus: Arc<Menus>,
    /// Who is answered, and when.
    pub policy: PolicyConfig,
    /// What does not tell machines apart.
    pub identity: Arc<IdentityRules>,
    /// Somebody decides by how long a machine has been asking.
    pub looks_at_secs: bool,
    /// Somebody decides by what only iPXE tells of a machine, and only when it is asked.
    pub asks_machines: bool,
    /// Machines that the configuration lists.
    pub machines: Arc<MachineTable>,
    /// Who is asked what a machine boots.
    pub chain: Chain,
    /// Machines that boot nothing.
    pub banned: HashSet<Banned>,
    /// Beginnings of addresses and GUIDs of machines that boot nothing.
    pub banned_beginnings: Vec<Banned>,
}

/// What of a configuration [`Rules`] cannot be made of.
#[must_use]
pub fn lint(config: &Config) -> Vec<Finding> {
    let read = expressions(config).map(|(key, when)| (key, Matcher::compile(when)));
    read.filter_map(|(key, read)| {
        Some(Finding {
            severity: Severity::Error,
            code: "policy.bad-rule",
            key,
            text: read.err()?.to_string(),
            hint: None,
        })
    })
    .collect()
}

/// Every expression over the facts, and the key that it is the value of.
fn expressions(config: &Config) -> impl Iterator<Item = (String, &str)> {
    let rules = config.rules.iter().enumerate();
    let rules = rules.map(|(index, rule)| (format!("rule[{index}].when"), rule.when.as_deref()));
    let providers = config.providers.iter().enumerate();
    let providers = providers.map(|(index, provider)| {
        let ProviderKind::Referral(referral) = &provider.kind else {
            return (String::new(), None);
        };
        (format!("provider[{index}].when"), referral.when.as_deref())
    });
    let menus = config.menus.iter().enumerate();
    let items = menus.flat_map(|(menu, config)| {
        let items = config.items.iter().enumerate();
        items.map(move |(item, config)| {
            (
                format!("menu[{menu}].item[{item}].when"),
                config.when.as_deref(),
            )
        })
    });
    let all = rules.chain(providers).chain(items);
    all.filter_map(|(key, when)| Some((key, when?)))
}

/// Ask [`lint`] first: a rule that cannot be read, and all behind it, fit nobody.
impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let rules = config.rules.iter().enumerate();
        let rules: Arc<[Rule]> = rules
            .map_while(|(index, rule)| Rule::new(rule, index).ok())
            .collect();
        let machines = Arc::new(listed(&config.machines));
        let is_beginning = |banned: &Banned| matches!(banned, Banned::Macs(_) | Banned::Guids(_));
        let all = config.classifier.banned.iter().copied();
        let (banned_beginnings, whole): (Vec<_>, Vec<_>) = all.partition(is_beginning);
        Self {
            default: config.boot.default.clone(),
            menu_timeout: config.boot.menu_timeout,
            script_scheme: config.boot.script_scheme,
            http_boot_scheme: config.boot.http_boot_scheme,
            host: config.host.clone(),
            nbp: config.boot.nbp.clone(),
            local: config.boot.local,
            windows: config.boot.windows.clone(),
            variables: config
                .boot
                .windows
                .variables
                .clone()
                .map(|folder| Arc::new(VariablesFolder::new(folder))),
            menus: Arc::new(Menus::new(&config.menus)),
            templates: Arc::new(Templates::new(config.boot.templates.clone())),
            policy: PolicyConfig {
                delay: config.policy.delay.max(config.boot.response_delay),
                ..config.policy.clone()
            },
            identity: Arc::new(IdentityRules::from(&config.identity)),
            looks_at_secs: expressions(config).any(|(_, when)| when.contains("secs")),
            asks_machines: asks_machines(config),
            chain: configured::chain(config, &machines, &rules),
            machines,
            banned: whole.into_iter().collect(),
            banned_beginnings,
        }
    }
}

/// Whoever is asked about machines, and templates, get all there is to know.
fn asks_machines(config: &Config) -> bool {
    let told = ["smbios", "ipxe", "hostname", "params"];
    let mut providers = config.providers.iter();
    expressions(config).any(|(_, when)| told.iter().any(|name| when.contains(name)))
        || config.boot.templates.is_some()
        || providers.any(|provider| match provider.kind {
            ProviderKind::Exec(_)
            | ProviderKind::Webhook(_)
            | ProviderKind::Sql(_)
            | ProviderKind::ConfigMgr(_)
            | ProviderKind::Approval(_) => true,
            // The script that sends a machine on has it tell all it knows.
            ProviderKind::Referral(_)
            | ProviderKind::Static
            | ProviderKind::Machines
            | ProviderKind::Menu => false,
        })
}

fn listed(machines: &[bootstorm_config::Machine]) -> MachineTable {
    let table = MachineTable::default();
    table.set_all(machines.iter().map(|machine| Machine {
        name: machine.name.clone(),
        guid: machine.guid,
        macs: machine.mac.into_iter().collect(),
        boot: machine.boot.clone(),
        admitted: true,
        known: true,
        ..Machine::default()
    }));
    table
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
