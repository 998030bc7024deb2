//! Programs from crates.io that tasks run: built into the build folder, and kept there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bootstorm_e2e::command;

use crate::workspace;

/// Where a program of that crate and version is, after installing it if it is not there.
/// `prepare` adds to `cargo install` what that crate wants.
pub(crate) fn installed(
    name: &str,
    version: &str,
    prepare: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<PathBuf> {
    let root = folder();
    let program = root.join("bin").join(name);
    if is_version(&program, version) {
        return Ok(program);
    }
    println!("Installing {name} {version} into {}", root.display());
    let mut install = workspace::cargo();
    install
        .args(["install", "--quiet", "--locked", "--force"])
        .args([name, "--version", version, "--root"])
        .arg(&root);
    prepare(&mut install)?;
    let status = install.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{} ended with {status}", command::shown(&install));
    }
    Ok(program)
}

/// The folder that they are kept in.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join("tools")
}

/// A program that does not even start, because a library of it went away, is of no version.
fn is_version(program: &Path, version: &str) -> bool {
    command::output(Command::new(program).arg("--version"))
        .is_ok_and(|said| said.split_whitespace().any(|word| word == version))
}
