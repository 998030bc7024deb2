//! The decisions.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bootstorm_catalog::{Catalog, Entry, EntryKind, Snapshot};
use bootstorm_config::{Banned, Scheme};
use bootstorm_proto::dhcp::{Answer, Asker, ClientFacts};
use bootstorm_proto::types::{Family, MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::rules::Assignments;
use crate::{Assignment, BootPlan, Choice, Facts, Menu, Ports, Rules, Urls, nbp, urls};

/// What a machine is assigned to boot from its own disk.
const LOCAL: &str = "local";
/// What a machine is assigned to get the menu whatever the default is.
const MENU: &str = "menu";

/// Bits of [`ClientFacts::ipxe_features`]: sub-options 0x13 and 0x14 of option 175.
const FEATURE_HTTP: u64 = 1 << 3;
const FEATURE_HTTPS: u64 = 1 << 4;

/// Who is answered, with what.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    stored: ArcSwap<Assignments>,
    ports: ArcSwap<Ports>,
    catalog: Arc<Catalog>,
}

impl Policy {
    /// A policy without stored assignments.
    #[must_use]
    pub fn new(rules: Rules, ports: Ports, catalog: Arc<Catalog>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            stored: ArcSwap::default(),
            ports: ArcSwap::from_pointee(ports),
            catalog,
        }
    }

    /// Replaces the rules, as after SIGHUP.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Replaces the stored assignments; they go before those of the configuration.
    pub fn set_assignments(&self, list: impl IntoIterator<Item = Assignment>) {
        self.stored.store(Arc::new(Assignments::new(list)));
    }

    /// Tells which ports were really bound.
    pub fn set_ports(&self, ports: Ports) {
        self.ports.store(Arc::new(ports));
    }

    /// What a DHCP client boots. Called on the packet path: reads memory only.
    #[must_use]
    pub fn dhcp(&self, client: &ClientFacts) -> Answer {
        let rules = self.rules.load();
        let ports = **self.ports.load();
        let decided = match (
            banned(&rules, client.hardware.mac(), client.guid),
            client.asker,
        ) {
            (Some(refusal), _) => Err(refusal),
            (None, Asker::Firmware) => self.boot_program(&rules, ports, client),
            (None, Asker::HttpFirmware) => self.http_program(&rules, ports, client),
            (None, Asker::Ipxe) => script_url(&rules, ports, client),
        };
        match decided {
            Ok(file) => Answer::Boot {
                file,
                server: None,
                delay: if self.is_assigned(&rules, client) {
                    0
                } else {
                    rules.response_delay
                },
            },
            Err(Refusal { code, text }) => Answer::Silent { code, text },
        }
    }

    /// What the script of a machine does.
    #[must_use]
    pub fn boot(&self, machine: &Facts) -> BootPlan {
        let rules = self.rules.load();
        if let Some(Refusal { code, text }) = banned(&rules, machine.mac, machine.guid) {
            let text = text.into();
            return BootPlan::Refuse(Reason { code, text });
        }
        let catalog = self.catalog.snapshot();
        let family = machine.family.or_else(|| machine.arch()?.family());
        let stored = self.stored.load();
        let assigned = assigned(&rules, &stored, machine.mac, machine.guid);
        match assigned {
            Some(LOCAL) => BootPlan::Local,
            Some(MENU) => BootPlan::Menu(menu(&rules, &catalog, family, None)),
            Some(name) => match bootable(&catalog, name, family) {
                Ok(entry) => BootPlan::Entry(choice(&catalog, entry, family)),
                // Nothing may be installed that was not asked for: the default is left out too.
                Err(notice) => BootPlan::Menu(Menu {
                    default: None,
                    ..menu(&rules, &catalog, family, Some(notice))
                }),
            },
            None => BootPlan::Menu(menu(&rules, &catalog, family, None)),
        }
    }

    fn is_assigned(&self, rules: &Rules, client: &ClientFacts) -> bool {
        let stored = self.stored.load();
        assigned(rules, &stored, client.hardware.mac(), client.guid).is_some()
    }

    fn boot_program(
        &self,
        rules: &Rules,
        ports: Ports,
        client: &ClientFacts,
    ) -> Result<String, Refusal> {
        if ports.tftp.is_none() {
            return Err(refuse(
                "policy.no-listener",
                "PXE firmware loads by TFTP, which is off (listen.tftp)",
            ));
        }
        let catalog = self.catalog.snapshot();
        first_served(client, |family| {
            nbp::find(rules, &catalog, family).map(|nbp| nbp.name)
        })
        .ok_or_else(|| no_nbp(rules, client))
    }

    fn http_program(
        &self,
        rules: &Rules,
        ports: Ports,
        client: &ClientFacts,
    ) -> Result<String, Refusal> {
        let urls = endpoint(rules, ports, rules.http_boot_scheme, client)?;
        let catalog = self.catalog.snapshot();
        let stored = self.stored.load();
        let assigned = assigned(rules, &stored, client.hardware.mac(), client.guid);
        if assigned == Some(LOCAL) {
            return Err(refuse(
                "policy.local-disk",
                format!("{} is assigned its local disk", client.hardware),
            ));
        }
        let wanted = assigned.or(rules.default.as_deref());
        first_served(client, |family| {
            let program = wanted.and_then(|name| program_of(&catalog, name, family));
            program.or_else(|| nbp::find(rules, &catalog, family).map(|nbp| nbp.path))
        })
        .map(|path| urls.image(&path))
        .ok_or_else(|| no_nbp(rules, client))
    }
}

struct Refusal {
    code: &'static str,
    text: String,
}

fn refuse(code: &'static str, text: impl Into<String>) -> Refusal {
    let text = text.into();
    Refusal { code, text }
}

/// The classifier drops what such a machine asks before anybody reads it. This one holds for DHCPv6
/// and for scripts too, and tells people who ask what would be.
fn banned(rules: &Rules, mac: Option<MacAddress>, guid: Option<MachineGuid>) -> Option<Refusal> {
    let is_banned = |identity| rules.banned.contains(&identity);
    if let Some(mac) = mac.filter(|mac| is_banned(Banned::Mac(*mac))) {
        let text = format!("{mac} is banned (classifier.banned)");
        return Some(refuse("classifier.banned-mac", text));
    }
    let guid = guid.filter(|guid| is_banned(Banned::Guid(*guid)))?;
    let text = format!("machine GUID {guid} is banned (classifier.banned)");
    Some(refuse("classifier.banned-guid", text))
}

fn no_nbp(rules: &Rules, client: &ClientFacts) -> Refusal {
    let arches: Vec<String> = client.arches.iter().map(ToString::to_string).collect();
    let arches = arches.join(", ");
    let Some(family) = client.arches.iter().find_map(|a| a.family()) else {
        return refuse(
            "policy.no-family",
            format!("{arches}: there are no boot programs for this architecture"),
        );
    };
    let wanted: Vec<&str> = nbp::wanted(rules, family).collect();
    refuse(
        "policy.no-nbp",
        format!(
            "{arches}: no boot program for {family}: put one of {} into boot/ in the images \
             folder or name one in boot.nbp.{family}",
            wanted.join(", ")
        ),
    )
}

fn script_url(rules: &Rules, ports: Ports, client: &ClientFacts) -> Result<String, Refusal> {
    let (feature, code) = match rules.script_scheme {
        Scheme::Http => (FEATURE_HTTP, "policy.ipxe-no-http"),
        Scheme::Https => (FEATURE_HTTPS, "policy.ipxe-no-https"),
    };
    let scheme = rules.script_scheme.name();
    // Builds that send no flags at all are old or cut down; nearly all of them know HTTP.
    if client.ipxe_features != 0 && client.ipxe_features & feature == 0 {
        return Err(refuse(
            code,
            format!(
                "this iPXE says that it cannot do {scheme}: load a fuller build (boot/ in the \
                 images folder) or choose another boot.script_scheme"
            ),
        ));
    }
    let urls = endpoint(rules, ports, rules.script_scheme, client)?;
    let mut url = format!("{}/boot", urls.base());
    let mut separator = '?';
    let mut add = |name: &str, value: String| {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        url.push_str(&value);
        separator = '&';
    };
    if let Some(mac) = client.hardware.mac() {
        add("mac", mac.to_string());
    }
    if let Some(arch) = client.arches.first() {
        add("arch", arch.0.to_string());
    }
    if let Some(guid) = client.guid.filter(|g| !g.is_blank()) {
        add("uuid", guid.to_string());
    }
    Ok(url)
}

fn endpoint(
    rules: &Rules,
    ports: Ports,
    scheme: Scheme,
    client: &ClientFacts,
) -> Result<Urls, Refusal> {
    let name = scheme.name();
    let port = ports.of(scheme).ok_or_else(|| {
        refuse(
            "policy.no-listener",
            format!("machines are sent to {name}, but listen.{name} is off"),
        )
    })?;
    let local = || urls::plain(client.local).to_string();
    let host = rules.host.clone().unwrap_or_else(local);
    Ok(Urls::new(scheme, &host, port))
}

/// The first architecture that the machine names and that something is there for.
fn first_served<T>(client: &ClientFacts, serve: impl Fn(Family) -> Option<T>) -> Option<T> {
    client
        .arches
        .iter()
        .filter_map(|arch| arch.family())
        .find_map(serve)
}

fn assigned<'a>(
    rules: &'a Rules,
    stored: &'a Assignments,
    mac: Option<MacAddress>,
    guid: Option<MachineGuid>,
) -> Option<&'a str> {
    stored
        .of(mac, guid)
        .or_else(|| rules.assignments.of(mac, guid))
}

/// The EFI program that an entry stands for.
fn program_of(catalog: &Snapshot, name: &str, family: Family) -> Option<String> {
    match &bootable(catalog, name, Some(family)).ok()?.kind {
        EntryKind::Efi { program, .. } => Some(program.clone()),
        EntryKind::Linux { .. } | EntryKind::Wim { .. } | EntryKind::Iso { .. } => None,
    }
}

/// The entry of that name, or why the machine cannot boot it.
fn bootable<'a>(
    catalog: &'a Snapshot,
    name: &str,
    family: Option<Family>,
) -> Result<&'a Entry, Reason> {
    let Some(entry) = catalog.entry(name) else {
        return Err(Reason {
            code: "policy.unknown-entry",
            text: Cow::from(format!("there is no entry `{}`", name.escape_debug())),
        });
    };
    if let Some(reason) = &entry.unbootable {
        return Err(reason.clone());
    }
    match family {
        Some(family) if !entry.boots(family) => Err(Reason {
            code: "policy.wrong-family",
            text: Cow::from(format!("`{}` does not boot on {family}", entry.id)),
        }),
        _ => Ok(entry),
    }
}

fn menu(rules: &Rules, catalog: &Snapshot, family: Option<Family>, notice: Option<Reason>) -> Menu {
    let offered = |entry: &&Entry| {
        !entry.hidden
            && entry.unbootable.is_none()
            && family.is_none_or(|family| entry.boots(family))
    };
    let mut choices: Vec<Choice> = catalog
        .entries()
        .iter()
        .filter(offered)
        .map(|entry| choice(catalog, entry, family))
        .collect();
    let default = rules
        .default
        .as_deref()
        .filter(|d| ![LOCAL, MENU].contains(d));
    let default = default.map(|name| bootable(catalog, name, family));
    let (default, missing) = match default {
        None => (None, None),
        Some(Ok(entry)) => {
            if !choices.iter().any(|c| c.entry.id == entry.id) {
                choices.push(choice(catalog, entry, family));
            }
            (Some(entry.id.clone()), None)
        }
        Some(Err(reason)) => (None, Some(reason)),
    };
    Menu {
        choices,
        default,
        timeout: rules.menu_timeout,
        notice: notice.or(missing),
    }
}

fn choice(catalog: &Snapshot, entry: &Entry, family: Option<Family>) -> Choice {
    let is_iso = matches!(entry.kind, EntryKind::Iso { .. });
    let wants_memdisk = is_iso && family.is_none_or(|f| f == Family::Bios);
    let memdisk = || Some(catalog.tftp_file("memdisk").ok()?.path.to_string());
    let mut entry = entry.clone();
    if let EntryKind::Linux { initrds, .. } = &mut entry.kind {
        // iPXE of 2019 hangs on a BIOS when it is to start a kernel with an empty initrd.
        initrds.retain(|path| catalog.file(path).map_or(true, |file| !file.is_empty()));
    }
    Choice {
        entry,
        memdisk: wants_memdisk.then(memdisk).flatten(),
    }
}

#[cfg(test)]
mod tests;
