//! Licences and sources of everything that is linked in: cargo-deny.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use bootstorm_e2e::command;

use crate::e2e::Count;
use crate::{tools, workspace};

const VERSION: &str = "0.20.2";

/// The workspaces that something shipped comes from, and where they run if that is not what
/// deny.toml says.
const MANIFESTS: [(&str, &[&str]); 3] = [
    ("Cargo.toml", &[]),
    ("ebpf/Cargo.toml", &[]),
    (
        "src/winpe/Cargo.toml",
        &["--target", "x86_64-pc-windows-gnu"],
    ),
];

/// Installs cargo-deny into the build folder when it is not there, and lets it check.
pub(crate) fn check() -> Result<Count> {
    let program = match program() {
        Ok(program) => program,
        Err(error) => return Ok(Count::skipped(&error)),
    };
    for (manifest, target) in MANIFESTS {
        println!("{manifest}");
        check_one(&program, manifest, target)?;
    }
    Ok(Count::passed())
}

fn check_one(program: &Path, manifest: &str, target: &[&str]) -> Result<()> {
    let run = |checks: &[&str]| {
        let mut deny = Command::new(program);
        deny.current_dir(workspace::root())
            .args(["--all-features", "--manifest-path", manifest])
            .args(target)
            .args(["--config", "deny.toml", "check"])
            .args(checks);
        deny
    };
    let status = run(&["bans", "licenses", "sources"]).status()?;
    if !status.success() {
        bail!("cargo-deny found something");
    }
    // Needs the advisory database from the network; without it there is nothing to compare with.
    match command::output(&mut run(&["advisories"])) {
        Ok(_) => println!("advisories ok"),
        Err(error) if format!("{error:#}").contains("failed to fetch advisory database") => {
            println!("advisories not checked: the database cannot be fetched");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn program() -> Result<PathBuf> {
    if command::found("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    tools::installed("cargo-deny", VERSION, |install| {
        // It works for seconds only; optimizing it takes minutes.
        install.arg("--debug");
        Ok(())
    })
}
