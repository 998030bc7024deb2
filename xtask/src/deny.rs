//! Licences and sources of everything that is linked in: cargo-deny.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bootstorm_e2e::command;

use crate::e2e::Count;
use crate::workspace;

const VERSION: &str = "0.20.2";

/// Installs cargo-deny into the build folder when it is not there, and lets it check.
pub(crate) fn check() -> Result<Count> {
    let program = match program() {
        Ok(program) => program,
        Err(error) => {
            println!("skipped: {error:#}");
            return Ok(Count {
                skipped: 1,
                ..Count::default()
            });
        }
    };
    let run = |checks: &[&str]| {
        let mut deny = std::process::Command::new(&program);
        deny.current_dir(workspace::root())
            .args(["--all-features", "check"])
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
    Ok(Count {
        passed: 1,
        ..Count::default()
    })
}

fn program() -> Result<PathBuf> {
    if command::found("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let root = workspace::target().join("tools");
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        println!("Installing cargo-deny {VERSION} into {}", root.display());
        let mut install = workspace::cargo();
        install
            .args([
                "install",
                "--quiet",
                "--locked",
                "cargo-deny",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&root);
        let status = install.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("{} ended with {status}", command::shown(&install));
        }
    }
    Ok(program)
}
