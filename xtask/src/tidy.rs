//! What no compiler checks: length of files, words that must not be in the repository.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use bootstorm_e2e::command;

use crate::workspace;

const MOST_LINES: usize = 600;

/// Left for later, or names that say nothing. Split so that this file passes.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or open an issue"),
    (concat!("FIX", "ME"), "finish it or open an issue"),
    (concat!("XX", "X:"), "finish it or open an issue"),
    (concat!("lorem ip", "sum"), "write the text"),
    (concat!("<<<<", "<<<"), "resolve the conflict"),
];

/// Files named so grow without end.
const BANNED_FILES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "manager.rs", "misc.rs"];

/// Fails with every finding.
pub(crate) fn check() -> Result<()> {
    let mut findings = String::new();
    for path in tracked()? {
        let name = Path::new(&path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if BANNED_FILES.contains(&name.as_str()) {
            writeln!(findings, "{path}: name it after what it does")?;
        }
        if !is_text(&path) {
            continue;
        }
        // A file that is deleted but not committed is still listed.
        let Ok(text) = command::read(&workspace::root().join(&path)) else {
            continue;
        };
        let lines = text.lines().count();
        if name.ends_with(".rs") && lines > MOST_LINES {
            writeln!(findings, "{path}: {lines} lines, {MOST_LINES} are allowed")?;
        }
        for (number, line) in text.lines().enumerate() {
            for (word, instead) in BANNED {
                if line.contains(word) {
                    writeln!(findings, "{path}:{}: `{word}`: {instead}", number + 1)?;
                }
            }
        }
    }
    if !findings.is_empty() {
        bail!("{findings}");
    }
    Ok(())
}

/// The repository's files; outside a git checkout there is nothing to check.
pub(crate) fn tracked() -> Result<Vec<String>> {
    let list = command::output(Command::new("git").current_dir(workspace::root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    Ok(list
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

fn is_text(path: &str) -> bool {
    const ENDINGS: [&str; 6] = ["rs", "toml", "md", "sh", "yml", "service"];
    Path::new(path)
        .extension()
        .is_some_and(|extension| ENDINGS.iter().any(|ending| extension == *ending))
}
