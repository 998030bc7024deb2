//! What is wrong with a configuration whose single values are all right.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::{
    Config, DataPorts, Diagnostic, InterfaceChoice, InterfaceIs, ListenAt, Listener, Place, Scheme,
    Severity, UefiOffer, classifier, identity, menu, place, policy, provider, rule, store, windows,
};

/// The longest menu timeout, in seconds.
pub(crate) const MENU_TIMEOUT_MAX: u32 = 86_400;

/// The last DISCOVER of PXE firmware says that it has been asking for so many seconds.
pub(crate) const LAST_DISCOVER: u16 = 28;

/// The longest name of an entry, in bytes.
const ENTRY_NAME_MAX: usize = 255;

/// The BOOTP `file` field without its NUL.
const BOOT_FILE_MAX: usize = 127;

/// One problem, at a key such as `listen.tftp` or `machine[1].mac`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Stable code.
    pub code: &'static str,
    /// Which key.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    pub(crate) fn bad_value(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self::error("config.bad-value", key, text)
    }

    pub(crate) fn error(
        code: &'static str,
        key: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            code,
            key: key.into(),
            text: text.into(),
            hint: None,
        }
    }

    pub(crate) fn warning(
        code: &'static str,
        key: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let severity = Severity::Warning;
        Self {
            severity,
            ..Self::error(code, key, text)
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) fn at(self, place: Place) -> Diagnostic {
        Diagnostic {
            place: Some(place),
            ..Diagnostic::from(self)
        }
    }
}

/// Without a place: the key leads the text.
impl From<Finding> for Diagnostic {
    fn from(finding: Finding) -> Self {
        Self {
            severity: finding.severity,
            code: finding.code,
            text: format!("{}: {}", finding.key, finding.text),
            hint: finding.hint,
            place: None,
        }
    }
}

/// Why `name` cannot name an entry, if it cannot. Besides ids, the name of the file or folder that
/// an entry stands for will do.
#[must_use]
pub fn entry_name_problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ' ');
    if name.trim().is_empty() {
        return Some("the name of an entry cannot be empty".to_owned());
    }
    if name.len() > ENTRY_NAME_MAX {
        return Some(format!(
            "{} bytes are too long for the name of an entry ({ENTRY_NAME_MAX})",
            name.len()
        ));
    }
    let stranger = name.chars().find(|c| !allowed(*c))?;
    Some(format!(
        "`{}` cannot name an entry: `{}` is not a letter, a digit or one of `.`, `_`, `-`, `/`",
        shortened(name),
        stranger.escape_debug()
    ))
}

impl Config {
    /// Looks at the whole: what clashes, what is missing, what will not do what was meant.
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        lint_folders(self, &mut findings);
        lint_network(self, &mut findings);
        lint_pacing(self, &mut findings);
        lint_ports(self, &mut findings);
        lint_services(self, &mut findings);
        lint_boot(self, &mut findings);
        lint_tls(self, &mut findings);
        lint_machines(self, &mut findings);
        classifier::lint(self, &mut findings);
        policy::lint(self, &mut findings);
        identity::lint(self, &mut findings);
        rule::lint(self, &mut findings);
        provider::lint(self, &mut findings);
        menu::lint(self, &mut findings);
        store::lint(self, &mut findings);
        findings
    }
}

fn lint_folders(config: &Config, findings: &mut Vec<Finding>) {
    let (images, data) = (resolved(&config.images), resolved(&config.data));
    if data.starts_with(&images) {
        findings.push(
            Finding::error(
                "config.data-in-images",
                "data",
                format!(
                    "{} lies in the images folder {}: keys and the admin token would be served",
                    config.data.display(),
                    config.images.display()
                ),
            )
            .hint("choose a folder of its own for `data`"),
        );
    } else if images.starts_with(&data) {
        findings.push(Finding::warning(
            "config.images-in-data",
            "images",
            format!(
                "{} lies in the data folder {}, which belongs to the server",
                config.images.display(),
                config.data.display()
            ),
        ));
    }
}

fn lint_network(config: &Config, findings: &mut Vec<Finding>) {
    for (index, name) in config.interfaces.iter().enumerate() {
        let key = format!("interfaces[{index}]");
        if config.interfaces[..index].contains(name) {
            findings.push(Finding::warning(
                "config.duplicate",
                key,
                format!("`{name}` is named twice"),
            ));
        }
    }
    let Some(host) = &config.host else { return };
    if !is_host_name(host) && host.parse::<std::net::IpAddr>().is_err() {
        findings.push(
            Finding::bad_value(
                "host",
                format!(
                    "`{}` is neither a host name nor an address",
                    shortened(host)
                ),
            )
            .hint("the name alone: no scheme, port or slash"),
        );
    }
}

/// Whether no request by the interface of this name is answered, as far as names tell.
pub(crate) fn is_never_answered(config: &Config, name: &str) -> bool {
    let mut chosen = config.interfaces.iter().filter(|c| !c.left_out).peekable();
    let is_other =
        |c: &InterfaceChoice| matches!(&c.which, InterfaceIs::Name(chosen) if chosen != name);
    let left_out = |c: &InterfaceChoice| c.left_out && c.is_name(name);
    config.interfaces.iter().any(left_out) || chosen.peek().is_some() && chosen.all(is_other)
}

/// Whether it has the form of a host name.
pub(crate) fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn lint_pacing(config: &Config, findings: &mut Vec<Finding>) {
    let pacing = &config.pacing;
    for name in pacing.interface.keys() {
        if is_never_answered(config, name) {
            findings.push(Finding::warning(
                "config.no-effect",
                format!("pacing.interface.{}", place::quoted(name)),
                format!(
                    "`{}` is not among the interfaces that are answered on",
                    shortened(name)
                ),
            ));
        }
    }
    if let (Some(one), Some(all)) = (pacing.per_machine, pacing.total)
        && one > all
    {
        findings.push(Finding::warning(
            "config.no-effect",
            "pacing.per_machine",
            format!("one machine can never get {one}: all together get {all}"),
        ));
    }
}

fn lint_ports(config: &Config, findings: &mut Vec<Finding>) {
    let bound: Vec<(Listener, SocketAddr)> = Listener::ALL
        .into_iter()
        .filter_map(|l| Some((l, config.listen.get(l).address()?)))
        .collect();
    for (at, (listener, address)) in bound.iter().enumerate() {
        let clash = bound[..at].iter().find(|(other, theirs)| {
            listener.is_udp() == other.is_udp() && overlap(*address, *theirs)
        });
        if let Some((other, _)) = clash {
            findings.push(Finding::error(
                "config.port-clash",
                format!("listen.{}", listener.name()),
                format!(
                    "`{}` and `{}` both want {} port {}",
                    other.name(),
                    listener.name(),
                    if listener.is_udp() { "UDP" } else { "TCP" },
                    address.port()
                ),
            ));
        }
    }
    let DataPorts::Range(range) = &config.tftp.data_ports else {
        return;
    };
    for (listener, address) in bound {
        if listener.is_udp() && range.contains(&address.port()) {
            findings.push(
                Finding::error(
                    "config.port-clash",
                    "tftp.data_ports",
                    format!(
                        "{}-{} holds port {} of `{}`",
                        range.start(),
                        range.end(),
                        address.port(),
                        listener.name()
                    ),
                )
                .hint("transfers would take that port from it"),
            );
        }
    }
}

fn lint_services(config: &Config, findings: &mut Vec<Finding>) {
    let off = |listener| config.listen.get(listener) == ListenAt::Off;
    let endpoint = |scheme| match scheme {
        Scheme::Http => Listener::Http,
        Scheme::Https => Listener::Https,
    };
    for (key, scheme) in [
        ("boot.script_scheme", config.boot.script_scheme),
        ("boot.http_boot_scheme", config.boot.http_boot_scheme),
    ] {
        let listener = endpoint(scheme);
        let name = listener.name();
        if off(listener) {
            findings.push(
                Finding::warning(
                    "config.listener-off",
                    key,
                    format!("machines are sent to {name}, but listen.{name} is off"),
                )
                .hint(format!(
                    "switch listen.{name} on or choose the other scheme for {key}"
                )),
            );
        }
    }
    if off(Listener::Dhcp) && off(Listener::Pxe) && off(Listener::Dhcp6) {
        return;
    }
    if off(Listener::Tftp) {
        findings.push(Finding::warning(
            "config.listener-off",
            "listen.tftp",
            "PXE firmware is answered but cannot fetch its boot program: TFTP is off",
        ));
    }
    if off(Listener::Pxe) && !off(Listener::Dhcp) && config.boot.uefi == UefiOffer::TwoStep {
        findings.push(
            Finding::warning(
                "config.listener-off",
                "listen.pxe",
                "UEFI firmware is told to ask again on port 4011, but listen.pxe is off",
            )
            .hint("boot.uefi = \"all-in-one\" needs no port 4011"),
        );
    }
}

fn lint_boot(config: &Config, findings: &mut Vec<Finding>) {
    if let Some(problem) = config.boot.default.as_deref().and_then(entry_name_problem) {
        findings.push(Finding::error("config.bad-entry", "boot.default", problem));
    }
    lint_delay("boot.response_delay", config.boot.response_delay, findings);
    if let Some(folder) = &config.boot.templates
        && !folder.is_dir()
    {
        findings.push(Finding::error(
            "config.no-such-file",
            "boot.templates",
            format!("{} is no folder", folder.display()),
        ));
    }
    windows::lint(&config.boot.windows, &config.images, findings);
    for (family, names) in &config.boot.nbp {
        let key = format!("boot.nbp.{family}");
        if names.is_empty() {
            findings.push(Finding::bad_value(key.as_str(), "the list is empty"));
        }
        for name in names {
            if let Some(problem) = nbp_problem(name) {
                findings.push(Finding::bad_value(
                    key.as_str(),
                    format!("`{}` {problem}", shortened(name)),
                ));
            }
        }
    }
}

/// Machines that nobody answers in time do not boot.
pub(crate) fn lint_delay(key: &str, delay: u16, findings: &mut Vec<Finding>) {
    if delay > LAST_DISCOVER {
        findings.push(Finding::warning(
            "config.delay-too-long",
            key,
            format!(
                "{delay} s: most firmware asks for the last time after {LAST_DISCOVER} s and would \
                 never be answered"
            ),
        ));
    }
}

/// Why `name` cannot be a boot program's, if it cannot.
pub(crate) fn nbp_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is no file name")
    } else if name.len() > BOOT_FILE_MAX {
        Some("is longer than the 127 bytes that a DHCP reply has room for")
    } else if name.contains("://") {
        Some("is a URL; a path below the images folder is wanted")
    } else if name.split(['/', '\\']).any(|part| part == "..") {
        Some("leaves the images folder")
    } else if name.chars().any(char::is_control) {
        Some("holds a control character")
    } else {
        None
    }
}

fn lint_tls(config: &Config, findings: &mut Vec<Finding>) {
    let tls = &config.tls;
    for (key, other, path, other_path) in [
        ("tls.certificate", "tls.key", &tls.certificate, &tls.key),
        ("tls.key", "tls.certificate", &tls.key, &tls.certificate),
    ] {
        let Some(path) = path else { continue };
        if other_path.is_none() {
            findings.push(Finding::error(
                "config.tls-half",
                key,
                format!("{key} is set but {other} is not"),
            ));
        }
        if let Err(e) = std::fs::metadata(path) {
            findings.push(Finding::error(
                "config.no-such-file",
                key,
                format!("{}: {e}", path.display()),
            ));
        }
    }
}

fn lint_machines(config: &Config, findings: &mut Vec<Finding>) {
    let (mut macs, mut guids) = (HashMap::new(), HashMap::new());
    for (index, machine) in config.machines.iter().enumerate() {
        let key = |name: &str| format!("machine[{index}].{name}");
        if let Some(mac) = machine.mac {
            note_twice(&mut macs, mac, index, key("mac"), findings);
            let [first, ..] = mac.bytes();
            if mac.bytes() == [0; 6] || first & 1 == 1 {
                findings.push(Finding::bad_value(
                    key("mac"),
                    format!("{mac} is not the address of a single machine"),
                ));
            }
        }
        if let Some(guid) = machine.guid {
            note_twice(&mut guids, guid, index, key("guid"), findings);
            if guid.is_blank() {
                findings.push(
                    Finding::bad_value(key("guid"), format!("{guid} is sent by many machines"))
                        .hint("use `mac`"),
                );
            }
        }
        if let Some(problem) = machine.boot.as_deref().and_then(entry_name_problem) {
            findings.push(Finding::error("config.bad-entry", key("boot"), problem));
        }
        if machine
            .name
            .as_ref()
            .is_some_and(|n| n.chars().any(char::is_control))
        {
            findings.push(Finding::bad_value(
                key("name"),
                "a name cannot hold control characters",
            ));
        }
    }
}

fn note_twice<T: Copy + Eq + Hash + Display>(
    seen: &mut HashMap<T, usize>,
    identity: T,
    index: usize,
    key: String,
    findings: &mut Vec<Finding>,
) {
    if let Some(first) = seen.insert(identity, index) {
        let text = format!("{identity} is also machine number {}", first + 1);
        findings.push(Finding::error("config.duplicate", key, text));
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (any || a.ip() == b.ip())
}

/// Symbolic links resolved as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors()
        .find_map(|there| {
            let rest = path.strip_prefix(there).ok()?;
            Some(there.canonicalize().ok()?.join(rest))
        })
        .unwrap_or_else(|| path.clone())
}

pub(crate) fn shortened(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
