//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bootstorm_e2e::command;

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// cargo, run in the root folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The build folder, by its full path: commands run in other folders too.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(folder)
}

/// Builds the server in the profile of the tests and says where it is.
pub(crate) fn build_server() -> Result<PathBuf> {
    println!("Building the server");
    build("bootstorm-server", "bootstorm")
}

/// Builds a package's program and says where it is.
pub(crate) fn build(package: &str, program: &str) -> Result<PathBuf> {
    build_as(package, program, &[], "debug")
}

/// Builds a package's program as it is released and says where it is.
pub(crate) fn build_release(package: &str, program: &str) -> Result<PathBuf> {
    build_as(package, program, &["--release"], "release")
}

fn build_as(package: &str, program: &str, arguments: &[&str], folder: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--package", package])
        .args(arguments);
    let status = build
        .status()
        .with_context(|| format!("cannot run {}", command::shown(&build)))?;
    if !status.success() {
        bail!("{} ended with {status}", command::shown(&build));
    }
    Ok(target().join(folder).join(program))
}
