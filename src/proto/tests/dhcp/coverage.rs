//! docs/internals/spec-coverage.md tells the truth: each line has its tests or the issue that it
//! waits for, each test of a line its row.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How tests of a specification are named, and how many lines it has.
const SPECIFICATIONS: [(&str, usize); 4] =
    [("line", 26), ("wds", 25), ("twopxe", 34), ("winboot", 16)];

#[test]
fn every_line_has_its_row_and_every_test_is_in_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    for folder in ["src", "ebpf/shared", "tests", "loadtest/src"] {
        collect(&workspace.join(folder), &mut tests);
    }
    let cases = fs::read_to_string(workspace.join("tests/e2e/src/cases.rs")).unwrap();
    let page = fs::read_to_string(workspace.join("docs/internals/spec-coverage.md")).unwrap();
    let mut tables = page.split("\n|---|---|---|\n").skip(1);
    for (name, lines) in SPECIFICATIONS {
        let table = tables.next().unwrap();
        let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
        assert_eq!(rows.len(), lines, "rows of {name}");
        let mut listed = BTreeSet::new();
        for (index, row) in rows.iter().enumerate() {
            let number = index + 1;
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!(cells[1], number.to_string(), "{row}");
            let proof = cells[3];
            assert!(
                proof.contains('`') || proof.contains("open: issue "),
                "line {number} of {name} has neither test nor issue"
            );
            for cited in quoted(proof) {
                let case = cited.strip_prefix("e2e ");
                match case {
                    Some(case) => assert!(cases.contains(&format!("\"{case}\"")), "{case}"),
                    None if cited.contains('/') => {
                        assert!(workspace.join(cited).exists(), "{cited}")
                    }
                    None => assert!(tests.contains(cited), "listed, but not there: {cited}"),
                }
                listed.insert(cited.to_owned());
            }
            let prefix = format!("{name}_{number:02}_");
            let own = tests.iter().filter(|test| test.starts_with(&prefix));
            for test in own {
                assert!(listed.contains(test), "there, but not in its row: {test}");
            }
        }
    }
}

#[test]
fn no_test_is_named_after_a_line_that_does_not_exist() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    collect(&workspace.join("src"), &mut tests);
    for (name, lines) in SPECIFICATIONS {
        let numbered = tests.iter().filter_map(|test| {
            let rest = test.strip_prefix(name)?.strip_prefix('_')?;
            rest.split('_').next()?.parse::<usize>().ok()
        });
        for number in numbered {
            assert!((1..=lines).contains(&number), "{name}_{number:02}");
        }
    }
}

/// The names of all functions below a folder.
fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let pieces = text.split("fn ").skip(1);
            tests.extend(pieces.filter_map(|piece| {
                let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                Some(piece[..end].to_owned())
            }));
        }
    }
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
