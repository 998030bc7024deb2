//! Every reason code of this crate is on the reference page, and no other of its areas.
#![expect(
    clippy::unwrap_used,
    reason = "a page that cannot be read fails the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Areas whose codes arise here alone, and those that other crates add to.
const OWN: [&str; 3] = ["approval.", "identity.", "windows."];
const SHARED: [&str; 4] = ["policy.", "provider.", "script.", "token."];

#[test]
fn every_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    read(&root.join("src"), &mut used);
    let page = fs::read_to_string(root.join("../../docs/reference/reasons.md")).unwrap();
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let used_not_listed: Vec<_> = used.difference(&listed).collect();
    assert!(
        used_not_listed.is_empty(),
        "not on the page: {used_not_listed:?}"
    );
    let own = |code: &&String| OWN.iter().any(|area| code.starts_with(area));
    let listed_not_used: Vec<_> = listed.difference(&used).filter(own).collect();
    assert!(listed_not_used.is_empty(), "of no use: {listed_not_used:?}");
}

/// Collects string literals that look like codes, from everything but tests.
fn read(folder: &Path, used: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, used);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            used.extend(text.split('"').skip(1).step_by(2).filter_map(code));
        }
    }
}

fn code(literal: &str) -> Option<String> {
    let mut areas = OWN.iter().chain(&SHARED);
    let area = areas.find(|area| literal.starts_with(**area))?;
    let rest = &literal[area.len()..];
    let is_code = rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && rest.len() > 2;
    is_code.then(|| literal.to_owned())
}
