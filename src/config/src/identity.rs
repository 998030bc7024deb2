//! What does not tell one machine from another: the `[identity]` table.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::lint::Finding;
use crate::load::{all_or_none, read_or_note};
use crate::{Config, GuidPattern, MacPattern};

/// The `[identity]` table, on top of what is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Machine GUIDs that vendors gave to many machines.
    pub banned_guids: Vec<GuidPattern>,
    /// MAC addresses that move from machine to machine: docks, adapters.
    pub shared_macs: Vec<MacPattern>,
    /// A file with more of them, one a line.
    pub shared_macs_file: Option<PathBuf>,
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    banned_guids: Vec<String>,
    shared_macs: Vec<String>,
    shared_macs_file: Option<PathBuf>,
}

pub(crate) fn take(
    to: &mut IdentityConfig,
    written: Written,
    folder: &Path,
    findings: &mut Vec<Finding>,
) {
    to.banned_guids = read_list(&written.banned_guids, "banned_guids", findings);
    to.shared_macs = read_list(&written.shared_macs, "shared_macs", findings);
    to.shared_macs_file = written.shared_macs_file.map(|path| folder.join(path));
}

fn read_list<T: FromStr<Err = String>>(
    texts: &[String],
    list: &str,
    findings: &mut Vec<Finding>,
) -> Vec<T> {
    let texts = texts.iter().enumerate();
    all_or_none(texts.map(|(index, text)| {
        let key = || format!("identity.{list}[{index}]");
        read_or_note(Some(text), key, findings)
    }))
}

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    let identity = &config.identity;
    lint_duplicates(&identity.banned_guids, "banned_guids", findings);
    lint_duplicates(&identity.shared_macs, "shared_macs", findings);
    if let Some(path) = &identity.shared_macs_file
        && let Err(e) = std::fs::metadata(path)
    {
        findings.push(Finding::error(
            "config.no-such-file",
            "identity.shared_macs_file",
            format!("{}: {e}", path.display()),
        ));
    }
    for (index, machine) in config.machines.iter().enumerate() {
        let shared = machine.mac.filter(|mac| {
            let mut patterns = identity.shared_macs.iter();
            patterns.any(|pattern| pattern.matches(*mac))
        });
        if let Some(mac) = shared.filter(|_| machine.guid.is_none()) {
            let text = format!("{mac} is in identity.shared_macs: it identifies no machine");
            let key = format!("machine[{index}].mac");
            findings.push(Finding::warning("config.no-effect", key, text).hint("use `guid`"));
        }
    }
}

fn lint_duplicates<T: PartialEq + std::fmt::Display>(
    patterns: &[T],
    list: &str,
    findings: &mut Vec<Finding>,
) {
    for (index, pattern) in patterns.iter().enumerate() {
        if let Some(first) = patterns[..index].iter().position(|p| p == pattern) {
            let text = format!("{pattern} is also number {}", first + 1);
            let key = format!("identity.{list}[{index}]");
            findings.push(Finding::warning("config.duplicate", key, text));
        }
    }
}
