//! From a file to the checked model, with everything that is wrong with it.

use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bootstorm_proto::types::{BlockSize, Family, WindowSize};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::lint::{Finding, MENU_TIMEOUT_MAX};
use crate::{Config, Diagnostic, Listener, Machine, Rate, Severity, wire};
use crate::{
    classifier, events, identity, listen, memory, menu, model, place, policy, provider, rule,
    store, windows,
};

/// The largest file that is read, in bytes: some hundred thousand machines.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// After so many problems of shape the file is not what it claims to be.
const SHAPE_PROBLEMS_MAX: usize = 64;

/// A file that was read.
#[derive(Clone, Debug)]
#[must_use]
pub struct Loaded {
    /// The configuration; `None` when there are errors.
    pub config: Option<Config>,
    /// Everything that is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// A configuration with errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Everything that is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.diagnostics.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}

impl Loaded {
    /// The configuration and its warnings.
    ///
    /// # Errors
    /// [`Rejected`] when there is an error among the diagnostics.
    pub fn accept(self) -> Result<(Config, Vec<Diagnostic>), Rejected> {
        let diagnostics = self.diagnostics;
        match self.config {
            Some(config) => Ok((config, diagnostics)),
            None => Err(Rejected { diagnostics }),
        }
    }

    /// The worst that was found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.diagnostics.iter().map(|d| d.severity).max()
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at the file's own folder.
    pub fn load(path: &Path) -> Loaded {
        Self::load_with(path, |_| Vec::new())
    }

    /// The same, with what others find wrong with it.
    pub fn load_with(path: &Path, lint: impl FnOnce(&Self) -> Vec<Finding>) -> Loaded {
        match read(path) {
            Ok(text) => Self::parse_with(&text, path, lint),
            Err(diagnostic) => Loaded {
                config: None,
                diagnostics: vec![*diagnostic],
            },
        }
    }

    /// The same for a text that `path` is said to hold.
    pub fn parse(text: &str, path: &Path) -> Loaded {
        Self::parse_with(text, path, |_| Vec::new())
    }

    fn parse_with(text: &str, path: &Path, lint: impl FnOnce(&Self) -> Vec<Finding>) -> Loaded {
        let (mut table, errors) = DeTable::parse_recoverable(text);
        let mut diagnostics: Vec<_> = errors
            .iter()
            .map(|e| Diagnostic::syntax(e, text, path))
            .collect();
        let mut config = Self::default();
        if diagnostics.is_empty() {
            let original = table.get_ref().clone();
            let file = read_shape(&mut table, text, path, &mut diagnostics);
            let folder = path.parent().unwrap_or(Path::new(""));
            let mut findings = take(&mut config, file, folder);
            findings.extend(config.lint());
            let told = |other: &Finding| {
                let errors = findings
                    .iter()
                    .filter(|own| own.severity == Severity::Error);
                errors
                    .map(|own| &own.key)
                    .any(|key| key.starts_with(&other.key))
            };
            // What follows from a mistake that is told already is no other mistake.
            let others: Vec<_> = lint(&config).into_iter().filter(|f| !told(f)).collect();
            findings.extend(others);
            diagnostics.extend(findings.into_iter().map(|finding| {
                let at = place::of_key(&original, &finding.key).map_or(0, |span| span.start);
                finding.at(place::of_offset(path, text, at))
            }));
        }
        let position = |d: &Diagnostic| d.place.as_ref().map(|p| (p.line, p.column));
        diagnostics.sort_by_key(position);
        let good = diagnostics.iter().all(|d| d.severity < Severity::Error);
        Loaded {
            config: good.then_some(config),
            diagnostics,
        }
    }
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let error = |code, text: String, hint: &str, offset: Option<(&str, usize)>| {
        Box::new(Diagnostic {
            severity: Severity::Error,
            code,
            text,
            hint: Some(hint.to_owned()),
            place: Some(offset.map_or_else(
                || place::of_offset(path, "", 0),
                |(text, offset)| place::of_offset(path, text, offset),
            )),
        })
    };
    let unreadable = |e: std::io::Error| {
        error(
            "config.unreadable",
            format!("the file cannot be read: {e}"),
            "without --config the built-in defaults are used",
            None,
        )
    };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_MAX {
        return Err(error(
            "config.too-large",
            format!("{size} bytes are more than a configuration may have ({FILE_MAX})"),
            "is this the right file?",
            None,
        ));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&e.as_bytes()[..good]).into_owned();
        error(
            "config.syntax",
            "this is not UTF-8 text".to_owned(),
            "save the file as UTF-8",
            Some((&text, good)),
        )
    })
}

/// Serde stops at the first problem: note it, take it out, and look again.
fn read_shape(
    table: &mut Spanned<DeTable<'_>>,
    text: &str,
    path: &Path,
    diagnostics: &mut Vec<Diagnostic>,
) -> wire::File {
    for _ in 0..SHAPE_PROBLEMS_MAX {
        match wire::File::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(file) => return file,
            Err(e) => {
                diagnostics.push(Diagnostic::shape(&e, text, path));
                let span = e.span().unwrap_or(0..0);
                if !place::remove(table.get_mut(), &span) {
                    break;
                }
            }
        }
    }
    wire::File::default()
}

/// Lays the file over the defaults.
fn take(config: &mut Config, file: wire::File, folder: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let in_folder = |path: PathBuf| folder.join(path);
    if let Some(images) = file.images {
        config.images = in_folder(images);
    }
    if let Some(data) = file.data {
        config.data = in_folder(data);
    }
    let interfaces = file.interfaces.unwrap_or_default();
    config.interfaces = all_or_none(interfaces.iter().enumerate().map(|(index, text)| {
        let key = || format!("interfaces[{index}]");
        read_or_note(Some(text), key, &mut findings)
    }));
    config.host = file.host.map(|host| host.to_ascii_lowercase());
    config.workers = file.workers;
    config.driver = file.driver.unwrap_or(config.driver);
    config.xdp = file.xdp.unwrap_or(config.xdp);
    config.xdp_replace = file.xdp_replace.unwrap_or(config.xdp_replace);
    config.log_format = file.log_format.unwrap_or(config.log_format);
    config.tls.certificate = file.tls.certificate.map(in_folder);
    config.tls.key = file.tls.key.map(in_folder);
    config.tls.dhe = file.tls.dhe.unwrap_or(config.tls.dhe);
    config.tls.kernel = file.tls.kernel.unwrap_or(config.tls.kernel);
    take_listen(config, &file.listen, &mut findings);
    config.boot.templates = file.boot.templates.clone().map(in_folder);
    take_boot(config, file.boot, folder, &mut findings);
    take_tftp(config, &file.tftp, &mut findings);
    match file.memory.pin.as_deref().map(memory::parse_pin) {
        None => {}
        Some(Ok(pin)) => config.memory.pin = pin,
        Some(Err(text)) => findings.push(Finding::bad_value("memory.pin", text)),
    }
    take_pacing(config, file.pacing, &mut findings);
    classifier::take(&mut config.classifier, file.classifier, &mut findings);
    take_machines(config, file.machine, &mut findings);
    policy::take(&mut config.policy, file.policy, &mut findings);
    identity::take(&mut config.identity, file.identity, folder, &mut findings);
    store::take(&mut config.store, file.store, &mut findings);
    events::take(&mut config.events, file.events, &mut findings);
    for (index, written) in file.rule.into_iter().enumerate() {
        config.rules.push(rule::take(index, written, &mut findings));
    }
    let providers = file.provider.into_iter().enumerate();
    config.providers = all_or_none(
        providers.map(|(index, written)| provider::take(index, written, folder, &mut findings)),
    );
    for (index, written) in file.menu.into_iter().enumerate() {
        let menu = menu::take(index, written, folder, &mut findings);
        config.menus.push(menu);
    }
    findings
}

fn take_listen(config: &mut Config, listen: &wire::Listen, findings: &mut Vec<Finding>) {
    for listener in Listener::ALL {
        let written = match listener {
            Listener::Dhcp => &listen.dhcp,
            Listener::Pxe => &listen.pxe,
            Listener::Dhcp6 => &listen.dhcp6,
            Listener::Tftp => &listen.tftp,
            Listener::Http => &listen.http,
            Listener::Https => &listen.https,
            Listener::Web => &listen.web,
            Listener::Syslog => &listen.syslog,
        };
        match written
            .as_deref()
            .map(|w| listen::parse_address(listener, w))
        {
            None => {}
            Some(Ok(at)) => *config.listen.get_mut(listener) = at,
            Some(Err(e)) => findings.push(Finding::bad_value(
                format!("listen.{}", listener.name()),
                e.to_string(),
            )),
        }
    }
}

fn take_boot(config: &mut Config, boot: wire::Boot, folder: &Path, findings: &mut Vec<Finding>) {
    let to = &mut config.boot;
    windows::take(&mut to.windows, boot.windows, folder, findings);
    to.default = boot.default;
    to.script_scheme = boot.script_scheme.unwrap_or(to.script_scheme);
    to.http_boot_scheme = boot.http_boot_scheme.unwrap_or(to.http_boot_scheme);
    to.uefi = boot.uefi.unwrap_or(to.uefi);
    to.local = boot.local.unwrap_or(to.local);
    to.response_delay = boot.response_delay.unwrap_or(to.response_delay);
    match boot.menu_timeout {
        None => {}
        Some(seconds) if seconds <= MENU_TIMEOUT_MAX => {
            to.menu_timeout = Duration::from_secs(seconds.into());
        }
        Some(seconds) => findings.push(Finding::bad_value(
            "boot.menu_timeout",
            format!("{seconds} seconds are more than a day ({MENU_TIMEOUT_MAX}); 0 waits for ever"),
        )),
    }
    let nbp = boot.nbp;
    let families = [
        (Family::Bios, nbp.bios),
        (Family::Ia32, nbp.ia32),
        (Family::X64, nbp.x64),
        (Family::Arm32, nbp.arm32),
        (Family::Arm64, nbp.arm64),
        (Family::Riscv32, nbp.riscv32),
        (Family::Riscv64, nbp.riscv64),
        (Family::Loong32, nbp.loong32),
        (Family::Loong64, nbp.loong64),
    ];
    for (family, names) in families {
        if let Some(wire::Names(names)) = names {
            to.nbp.insert(family, names);
        }
    }
}

fn take_tftp(config: &mut Config, tftp: &wire::Tftp, findings: &mut Vec<Finding>) {
    let to = &mut config.tftp;
    match tftp.data_ports.as_deref().map(model::parse_data_ports) {
        None => {}
        Some(Ok(ports)) => to.data_ports = ports,
        Some(Err(text)) => findings.push(Finding::bad_value("tftp.data_ports", text)),
    }
    match tftp.max_window.map(WindowSize::try_from) {
        None => {}
        Some(Ok(window)) => to.max_window = window,
        Some(Err(e)) => findings.push(Finding::bad_value("tftp.max_window", e.to_string())),
    }
    match tftp.max_block.map(BlockSize::try_from) {
        None => {}
        Some(Ok(block)) => to.max_block = Some(block),
        Some(Err(e)) => findings.push(Finding::bad_value("tftp.max_block", e.to_string())),
    }
    match tftp.rollover {
        None => {}
        Some(number @ (0 | 1)) => to.rollover = number,
        Some(number) => findings.push(Finding::bad_value(
            "tftp.rollover",
            format!("block numbers can go on at 0 or 1 after 65535, not at {number}"),
        )),
    }
    match tftp.max_transfers_per_client {
        None => {}
        Some(0) => findings.push(Finding::bad_value(
            "tftp.max_transfers_per_client",
            "a client that may have no transfer cannot boot: at least 1".to_owned(),
        )),
        Some(most) => to.max_transfers_per_client = most,
    }
}

fn take_pacing(config: &mut Config, pacing: wire::Pacing, findings: &mut Vec<Finding>) {
    let to = &mut config.pacing;
    let mut read = |text: Option<String>, key: &str| {
        let text = text.filter(|text| text != "none");
        read_or_note::<Rate>(text.as_deref(), || format!("pacing.{key}"), findings)
    };
    to.per_machine = read(pacing.per_machine, "per_machine");
    to.total = read(pacing.total, "total");
    for (name, rate) in pacing.interface {
        let rate = read(Some(rate), &format!("interface.{}", place::quoted(&name)));
        to.interface.insert(name, rate);
    }
    to.machines = pacing.machines.and_then(NonZeroU32::new);
}

fn take_machines(config: &mut Config, machines: Vec<wire::Machine>, findings: &mut Vec<Finding>) {
    for (index, machine) in machines.into_iter().enumerate() {
        let key = |name: &str| format!("machine[{index}].{name}");
        let problems = findings.len();
        let mac = read_or_note(machine.mac.as_deref(), || key("mac"), findings);
        let guid = read_or_note(machine.guid.as_deref(), || key("guid"), findings);
        if mac.is_none() && guid.is_none() && findings.len() == problems {
            findings.push(Finding::bad_value(
                format!("machine[{index}]"),
                "a machine needs `mac` or `guid`",
            ));
        }
        config.machines.push(Machine {
            mac,
            guid,
            name: machine.name,
            boot: machine.boot,
        });
    }
}

/// A list with a hole would count its items wrongly: what is wrong with them as a whole is told when
/// all of them can be read.
pub(crate) fn all_or_none<T>(items: impl Iterator<Item = Option<T>>) -> Vec<T> {
    let read: Vec<Option<T>> = items.collect();
    read.into_iter().collect::<Option<_>>().unwrap_or_default()
}

pub(crate) fn read_or_note<T>(
    text: Option<&str>,
    key: impl Fn() -> String,
    findings: &mut Vec<Finding>,
) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    match text?.parse() {
        Ok(value) => Some(value),
        Err(e) => {
            findings.push(Finding::bad_value(key(), format!("{e}")));
            None
        }
    }
}

#[cfg(test)]
mod tests;
