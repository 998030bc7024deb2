//! What no compiler checks: length of files, words that must not be in the repository, where
//! `unsafe` stands.

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

/// Split for the same reason.
const UNSAFE: &str = concat!("un", "safe");

/// Files named so grow without end.
const BANNED_FILES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "manager.rs", "misc.rs"];

/// Rings, maps of files, system calls, the kernel program and what Windows has in C; the guest programs of the end-to-end
/// tests have no library to call the system by.
const MAY_BE_UNSAFE: [&str; 7] = [
    "src/engine/",
    "src/catalog/src/mapping",
    "src/xdp/",
    "ebpf/classifier/",
    "src/winpe/src/windows.rs",
    "tests/kernel/",
    "tests/e2e/guest/",
];

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
        let may_be_unsafe =
            !name.ends_with(".rs") || MAY_BE_UNSAFE.iter().any(|place| path.starts_with(place));
        for (number, line) in text.lines().enumerate() {
            if !may_be_unsafe && is_unsafe(line) {
                let places = MAY_BE_UNSAFE.join(", ");
                writeln!(
                    findings,
                    "{path}:{}: {UNSAFE} outside of {places}",
                    number + 1
                )?;
            }
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

/// Whether a line has an unsafe block, item or attribute.
fn is_unsafe(line: &str) -> bool {
    const FOLLOWING: [&str; 6] = [" {", " fn ", " impl", " extern ", " trait ", "("];
    line.match_indices(UNSAFE).any(|(at, word)| {
        let is_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &line[at + word.len()..];
        is_word && FOLLOWING.iter().any(|next| rest.starts_with(next))
    })
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

#[cfg(test)]
mod tests {
    use super::{UNSAFE, is_unsafe};

    #[test]
    fn unsafe_code_is_told_from_the_word() {
        for code in [" { *p }", " fn f()", " impl Send for T {}", "(no_mangle)"] {
            assert!(is_unsafe(&format!("    {UNSAFE}{code}")), "{code}");
        }
        for text in [
            "if is_unsafe(line)",
            "#![forbid(unsafe_code)]",
            "an unsafe value",
            "[policy.unsafe-value]",
        ] {
            assert!(!is_unsafe(text), "{text}");
        }
    }
}
