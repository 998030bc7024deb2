//! The documentation's own tests: links lead somewhere, anchors exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use bootstorm_e2e::command;

use crate::{tidy, workspace};

/// Fails with every link that leads nowhere.
pub(crate) fn check() -> Result<()> {
    let mut findings = String::new();
    for path in tidy::tracked()?.iter().filter(|path| path.ends_with(".md")) {
        let file = workspace::root().join(path);
        let Ok(text) = command::read(&file) else {
            continue;
        };
        for link in links(&text) {
            if let Some(fault) = fault(&file, &text, link) {
                writeln!(findings, "{path}: ({link}) {fault}")?;
            }
        }
    }
    if !findings.is_empty() {
        bail!("{findings}");
    }
    Ok(())
}

fn fault(file: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (target, anchor) = link
        .split_once('#')
        .map_or((link, None), |(t, a)| (t, Some(a)));
    let file = file.parent()?.join(target);
    if !target.is_empty() && !file.exists() {
        return Some("leads to no file".to_owned());
    }
    let anchor = anchor?;
    let there = if target.is_empty() {
        text.to_owned()
    } else {
        command::read(&file).ok()?
    };
    (!anchors(&there).contains(anchor)).then(|| "leads to no heading".to_owned())
}

/// Targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            if let Some(end) = rest.find(')') {
                found.push(rest[..end].split_whitespace().next().unwrap_or_default());
                rest = &rest[end..];
            }
        }
    }
    found
}

/// Lines that are not in a fenced block; code in backticks stays.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return false;
        }
        !fenced
    })
}

/// Headings as the forges spell their anchors: small letters, spaces as dashes, no punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .filter_map(|character| match character {
                    ' ' => Some('-'),
                    '-' | '_' => Some(character),
                    _ if character.is_alphanumeric() => character.to_lowercase().next(),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{anchors, fault, links};

    #[test]
    fn links_are_found_outside_of_fenced_code() {
        let text = "see [a](b.md) and [c](d.md#e \"title\")\n```\n[no](x.md)\n```\n";
        assert_eq!(links(text), ["b.md", "d.md#e"]);
    }

    #[test]
    fn headings_become_anchors() {
        let anchors = anchors("# One `tls.unknown-ca`: two\n```\n# no\n```\n");
        assert!(anchors.contains("one-tlsunknown-ca-two"));
        assert_eq!(anchors.len(), 1);
    }

    #[test]
    fn a_link_to_a_missing_file_or_heading_is_a_fault() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(fault(&file, "", "nothing.md").is_some());
        assert!(fault(&file, "# A b\n", "#a-b").is_none());
        assert!(fault(&file, "# A b\n", "#c").is_some());
        assert!(fault(&file, "", "https://example.org/x").is_none());
    }
}
