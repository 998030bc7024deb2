//! From a decision to the answer that DHCP gives.

use std::sync::Arc;

use bootstorm_catalog::Snapshot;
use bootstorm_config::Scheme;
use bootstorm_proto::dhcp::{Answer, Asker, ClientFacts};
use bootstorm_proto::types::Family;

use crate::decision::{Boot, Decision, Outcome, Plan, Referral};
use crate::{Ports, Rules, Urls, nbp, resolve, urls, wds, windows};

/// Bits of [`ClientFacts::ipxe_features`]: sub-options 0x13 and 0x14 of option 175.
const FEATURE_HTTP: u64 = 1 << 3;
const FEATURE_HTTPS: u64 = 1 << 4;

/// One DHCP client's question and what its answer is made from.
pub(crate) struct Offer<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) ports: Ports,
    pub(crate) catalog: &'a Snapshot,
    pub(crate) client: &'a ClientFacts,
}

impl Offer<'_> {
    /// The answer that a decision leads to; it is offered only after `delay` seconds.
    pub(crate) fn answer(&self, decision: &Decision, delay: u16) -> Answer {
        let plan = match &decision.outcome {
            Outcome::Serve(plan) => plan,
            Outcome::Silent(reason) => {
                return Answer::Silent {
                    code: reason.code,
                    text: Arc::from(&*reason.text),
                };
            }
        };
        if self.client.wds.is_some() {
            // It never comes for a script: people are asked while its request waits.
            if matches!(plan.boot, Boot::Admission(_)) {
                return Answer::Later;
            }
            if let Some(action) = wds::action(&plan.boot) {
                return Answer::Wds(action);
            }
        }
        let (file, server) = match self.client.asker {
            Asker::Firmware => match &plan.boot {
                Boot::Refer(Referral {
                    tftp: Some((server, file)),
                    ..
                }) => (Ok(file.clone()), Some(*server)),
                _ => (self.boot_program(plan), None),
            },
            Asker::HttpFirmware => (self.http_program(plan), None),
            Asker::Ipxe => (self.script_url(), None),
        };
        match file {
            Ok(file) => Answer::Boot {
                file: file.into(),
                server,
                delay,
                windows: None,
            },
            Err(Refusal { code, text }) => Answer::Silent {
                code,
                text: text.into(),
            },
        }
    }

    fn boot_program(&self, plan: &Plan) -> Result<String, Refusal> {
        if self.ports.tftp.is_none() {
            return Err(refuse(
                "policy.no-listener",
                "PXE firmware loads by TFTP, which is off (listen.tftp)",
            ));
        }
        if let Some(name) = &plan.nbp {
            return self.file_of(name).map(|_| name.clone());
        }
        if let Boot::Entry(name) = &plan.boot
            && let Some(program) = self.boot_manager(name)
        {
            return Ok(program);
        }
        self.first_served(|family| nbp::find(self.rules, self.catalog, family).map(|nbp| nbp.name))
            .or_else(|| match (&plan.boot, &self.rules.default) {
                // With nothing there that shows the menu, what it would come to is booted.
                (Boot::Usual, Some(default)) => self.boot_manager(default),
                _ => None,
            })
            .ok_or_else(|| self.no_nbp())
    }

    /// The boot manager of Windows, where that loads this entry.
    fn boot_manager(&self, entry: &str) -> Option<String> {
        let entry = self.catalog.entry(entry)?;
        let signing = self.rules.windows.signing;
        let program = |family| windows::program(self.catalog, entry, family, signing);
        Some(self.first_served(program)?.path.to_string())
    }

    fn http_program(&self, plan: &Plan) -> Result<String, Refusal> {
        let urls = self.endpoint(self.rules.http_boot_scheme)?;
        if let Some(name) = &plan.nbp {
            return self.file_of(name).map(|path| urls.image(&path));
        }
        let wanted = match &plan.boot {
            Boot::Local => {
                return Err(refuse(
                    "policy.local-disk",
                    format!("{} is assigned its local disk", self.client.hardware),
                ));
            }
            Boot::Entry(name) => Some(name.as_str()),
            Boot::Usual => self.rules.default.as_deref(),
            Boot::Menu(_)
            | Boot::Script(_)
            | Boot::Wait(_)
            | Boot::Admission(_)
            | Boot::Refer(_)
            | Boot::Refuse(_) => None,
        };
        self.first_served(|family| {
            let program = wanted.and_then(|name| resolve::program_of(self.catalog, name, family));
            program.or_else(|| nbp::find(self.rules, self.catalog, family).map(|nbp| nbp.path))
        })
        .map(|path| urls.image(&path))
        .ok_or_else(|| self.no_nbp())
    }

    /// The path of the boot program that the plan names.
    fn file_of(&self, name: &str) -> Result<String, Refusal> {
        let file = self.catalog.tftp_file(name);
        file.map(|file| file.path.to_string()).map_err(|_| {
            refuse(
                "policy.unknown-nbp",
                format!("there is no boot program `{}`", name.escape_debug()),
            )
        })
    }

    fn no_nbp(&self) -> Refusal {
        let arches: Vec<String> = self.client.arches.iter().map(ToString::to_string).collect();
        let arches = arches.join(", ");
        let Some(family) = self.client.arches.iter().find_map(|a| a.family()) else {
            return refuse(
                "policy.no-family",
                format!("{arches}: there are no boot programs for this architecture"),
            );
        };
        let wanted: Vec<&str> = nbp::wanted(self.rules, family).collect();
        refuse(
            "policy.no-nbp",
            format!(
                "{arches}: no boot program for {family}: put one of {} into boot/ in the images \
             folder or name one in boot.nbp.{family}",
                wanted.join(", ")
            ),
        )
    }

    fn script_url(&self) -> Result<String, Refusal> {
        let (rules, client) = (self.rules, self.client);
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
        let urls = self.endpoint(rules.script_scheme)?;
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

    fn endpoint(&self, scheme: Scheme) -> Result<Urls, Refusal> {
        let name = scheme.name();
        let port = self.ports.of(scheme).ok_or_else(|| {
            refuse(
                "policy.no-listener",
                format!("machines are sent to {name}, but listen.{name} is off"),
            )
        })?;
        let local = || urls::plain(self.client.local).to_string();
        let host = self.rules.host.clone().unwrap_or_else(local);
        Ok(Urls::new(scheme, &host, port))
    }

    /// The first architecture that the machine names and that something is there for.
    fn first_served<T>(&self, serve: impl Fn(Family) -> Option<T>) -> Option<T> {
        self.client
            .arches
            .iter()
            .filter_map(|arch| arch.family())
            .find_map(serve)
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
