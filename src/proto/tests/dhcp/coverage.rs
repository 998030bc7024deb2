//! docs/internals/spec-coverage.md tells the truth: each rule has its tests, each test its row.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_rule_has_tests_and_every_test_is_listed() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    for folder in ["src", "ebpf/shared"] {
        collect(&workspace.join(folder), &mut tests);
    }
    let page = fs::read_to_string(workspace.join("docs/internals/spec-coverage.md")).unwrap();
    let named: BTreeSet<String> = names(&page, "`line_").collect();
    let missing: Vec<_> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "listed, but not there: {missing:?}");
    let unlisted: Vec<_> = tests.difference(&named).collect();
    assert!(unlisted.is_empty(), "there, but not listed: {unlisted:?}");
    for rule in 1..=26 {
        let prefix = format!("line_{rule:02}_");
        assert!(
            named.iter().any(|name| name.starts_with(&prefix)),
            "no test for rule {rule}"
        );
    }
}

fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            tests.extend(names(&fs::read_to_string(&path).unwrap(), "fn line_"));
        }
    }
}

/// The names behind each `mark`, which ends in `line_` itself.
fn names(text: &str, mark: &str) -> impl Iterator<Item = String> {
    let pieces = text.split(mark).skip(1);
    pieces.filter_map(|piece| {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let name = piece.get(..end)?;
        let numbered = name.len() > 3 && name.as_bytes()[..2].iter().all(u8::is_ascii_digit);
        numbered.then(|| format!("line_{name}"))
    })
}
