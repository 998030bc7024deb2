//! The programs that the lab runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// A program, the Debian package that brings it, and what it is for.
type Need = (&'static str, &'static str, &'static str);

const ALWAYS: &[Need] = &[
    ("unshare", "util-linux", "makes the namespaces"),
    ("nsenter", "util-linux", "runs the server in its own"),
    ("ip", "iproute2", "makes links and routes"),
];
const TO_SHAPE: &[Need] = &[
    ("tc", "iproute2", "limits the line's rate"),
    ("nft", "nftables", "loses packets"),
    ("ethtool", "ethtool", "makes each packet one frame"),
];

/// Refuses what cannot work for want of a program; says which packages bring the missing ones.
pub(super) fn check(shaped: bool) -> anyhow::Result<()> {
    let shaping: &[Need] = if shaped { TO_SHAPE } else { &[] };
    let needed = ALWAYS.iter().chain(shaping);
    let missing: Vec<&Need> = needed.filter(|(program, ..)| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what: Vec<String> = missing
        .iter()
        .map(|(program, _, why)| format!("`{program}` ({why})"))
        .collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    bail!(
        "the lab needs {}; on Debian and Ubuntu: apt-get install {}",
        what.join(", "),
        packages.join(" ")
    )
}

/// Whether a program is where root finds it.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.iter().map(|folder| Path::new(folder).to_owned()))
        .any(|folder| folder.join(program).is_file())
}

/// Where users that are not root do not look.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A command for one of these programs, found also where users do not look.
pub(super) fn program(name: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for folder in SYSTEM {
        path.push(":");
        path.push(folder);
    }
    let mut command = Command::new(name);
    command.env("PATH", path);
    command
}

/// Runs it to its end; what it said is in the error.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let said = command
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !said.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            shown(command),
            said.status,
            String::from_utf8_lossy(&said.stderr).trim()
        );
    }
    Ok(())
}

/// The command as somebody would type it.
pub(super) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
