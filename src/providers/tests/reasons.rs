//! Every reason code of providers is on the reference page, and no other of that area.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a page that cannot be read fails the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Besides this crate: reading answers is the policy's.
const FOLDERS: [&str; 2] = ["src", "../policy/src"];

#[test]
fn every_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    for folder in FOLDERS {
        read(&root.join(folder), &mut used);
    }
    let page = fs::read_to_string(root.join("../../docs/reference/reasons.md")).unwrap();
    let lines = page.lines();
    let codes = lines.filter_map(|line| code(line.strip_prefix("| `")?.split('`').next()?));
    let listed: BTreeSet<String> = codes.collect();
    let used_not_listed: Vec<_> = used.difference(&listed).collect();
    let listed_not_used: Vec<_> = listed.difference(&used).collect();
    assert!(
        used_not_listed.is_empty() && listed_not_used.is_empty(),
        "not on the page: {used_not_listed:?}; on the page, but of no use: {listed_not_used:?}"
    );
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
    let rest = literal.strip_prefix("provider.")?;
    let is_code = rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && rest.len() > 2;
    is_code.then(|| literal.to_owned())
}
