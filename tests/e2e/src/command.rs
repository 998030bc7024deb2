//! Running the programs of the system and keeping what they say when they fail.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs to the end and gives standard output.
///
/// # Errors
/// The program is not there or ends with another code than 0; both of its outputs are in the
/// error.
pub fn output(command: &mut Command) -> Result<String> {
    let said = command
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    if !said.status.success() {
        bail!(
            "{} ended with {}:\n{}{}",
            shown(command),
            said.status,
            text,
            String::from_utf8_lossy(&said.stderr)
        );
    }
    Ok(text)
}

/// Runs one line of words, for the many short calls of `ip`.
///
/// # Errors
/// See [`output`].
pub fn line(words: &str) -> Result<String> {
    let mut parts = words.split_whitespace();
    output(Command::new(parts.next().unwrap_or_default()).args(parts))
}

/// The command as somebody would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Whether a program is where root finds it.
#[must_use]
pub fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// Whether this process may do what root may.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reads a text file; the path is in the error.
///
/// # Errors
/// It is missing or cannot be read.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
