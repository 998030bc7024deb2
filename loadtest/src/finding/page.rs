//! docs/reference/findings.md is made of the table of codes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Code;

/// What the codes of an area are about.
const AREAS: &[(&str, &str)] = &[
    ("body", "The bytes of files, whatever carried them."),
    (
        "dhcp",
        "Answers on port 68, to firmware and to iPXE, of every server that gave one.",
    ),
    (
        "harness",
        "Nothing that the server did: what this program or its host could not do. No limit counts them.",
    ),
    (
        "http",
        "Answers over HTTP and HTTPS, to firmware and to iPXE.",
    ),
    (
        "machine",
        "The machine itself, when nothing more exact is known.",
    ),
    (
        "profile",
        "What a machine was sent that its profile does not do.",
    ),
    ("pxe", "The boot server on port 4011."),
    ("script", "iPXE scripts."),
    ("tftp", "Transfers over TFTP."),
    ("tls", "Connections over TLS."),
    ("url", "URLs that scripts and DHCP options name."),
    ("windows", "What Windows' boot manager asks for by TFTP."),
];

const HEAD: &str = "\
# Findings of bootstorm-load

<!-- Made of loadtest/src/finding.rs by `UPDATE=1 cargo test -p bootstorm-load finding`. -->

What servers do that they should not, by names that keep their meaning. A finding is a deviation: \
the simulated machine takes note and goes on, as real firmware does. When it cannot go on, the same \
code says why its boot failed. Reports name every code with the number of times and of machines, and \
the first example with that machine's last packets; `bootstorm-load findings` prints this list.
";

#[test]
fn the_page_of_findings_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/findings.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/findings.md is not what finding.rs says: \
         UPDATE=1 cargo test -p bootstorm-load finding"
    );
}

#[test]
fn names_are_an_area_and_what_happened_and_are_unique() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for name in names {
        let (area, what) = name.split_once('.').unwrap();
        let plain = |text: &str| {
            let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !text.is_empty() && text.chars().all(usual)
        };
        assert!(plain(area) && plain(what), "{name}");
        assert!(AREAS.iter().any(|(known, _)| *known == area), "{name}");
    }
}

#[test]
fn every_code_says_in_a_sentence_what_it_means() {
    for code in Code::ALL {
        let meaning = code.meaning();
        assert!(meaning.len() >= 40, "{code}: {meaning}");
        assert!(meaning.ends_with(['.', '?']), "{code}: {meaning}");
        assert!(!meaning.contains("  "), "{code}: {meaning}");
    }
}

fn page() -> String {
    let mut areas: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for code in Code::ALL {
        let area = code.name().split('.').next().unwrap_or_default();
        let rows = areas.entry(area).or_default();
        rows.insert(code.name(), code.meaning());
    }
    let mut page = HEAD.to_owned();
    for (area, rows) in areas {
        let about = AREAS.iter().find(|(known, _)| *known == area);
        let about = about.map_or("", |(_, about)| about);
        page.push_str(&format!("\n## {area}\n\n{about}\n\n"));
        page.push_str("| Code | What it means, and what to do |\n|---|---|\n");
        for (name, meaning) in rows {
            let meaning = meaning.replace('|', "\\|");
            page.push_str(&format!("| `{name}` | {meaning} |\n"));
        }
    }
    page
}
