use std::collections::BTreeSet;

use super::*;

#[test]
fn a_report_survives_its_file() {
    let report = sample::report(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    report.save(&path).unwrap();
    assert_eq!(Report::load(&path).unwrap(), report);
}

#[test]
fn what_is_no_report_is_refused() {
    for text in ["", "{}", "[1]", r#"{"format":"other","version":1}"#] {
        let error = Report::parse(text).unwrap_err().to_string();
        assert!(error.contains("no report of bootstorm-load"), "{error}");
    }
    let damaged = r#"{"format":"bootstorm-load report","version":1}"#;
    let error = Report::parse(damaged).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    let error = Report::load(Path::new("/nowhere/a.json")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/a.json cannot be read"));
}

#[test]
fn a_report_of_another_version_is_refused() {
    let mut report = sample::report(1);
    report.version = 9;
    let error = Report::parse(&report.json().unwrap()).unwrap_err();
    assert!(error.to_string().contains("has version 9"), "{error}");
}

#[test]
fn programs_find_the_same_names_again() {
    let json: serde_json::Value = serde_json::from_str(&sample::report(1).json().unwrap()).unwrap();
    assert_eq!(json["machines"]["booted"], 11);
    assert_eq!(json["phases"]["booted"]["p99"], 4.0);
    assert_eq!(json["profiles"]["uefi-https"]["machines"]["failed"], 1);
    assert_eq!(json["failures"][0]["code"], "script.html");
    assert_eq!(json["files"]["verified"], 11);
    assert_eq!(json["course"]["bytes"]["https"][3], 1_000_000);
    assert_eq!(json["end"], "all-through");
    assert_eq!(json["begun"], "1970-01-01T00:00:00Z");
    assert_eq!(json["limits"][0]["held"], false);
}

#[test]
fn every_field_is_documented_and_every_documented_field_exists() {
    let page = include_str!("../../../docs/reference/loadtest-report.md");
    let cells = page.lines().filter(|line| line.starts_with("| `"));
    let named = cells.flat_map(|line| line.split('|').nth(1).unwrap().split(", "));
    let documented: BTreeSet<String> = named
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    let mut report = sample::report(1);
    report.beside.push("something".to_owned());
    let json = serde_json::from_str(&report.json().unwrap()).unwrap();
    let mut there = BTreeSet::new();
    fields("", &json, &mut there);
    // Of the same form as findings.
    there.retain(|field| !field.starts_with("failures["));
    assert_eq!(documented, there);
}

/// The paths of all values, with one word for keys that differ from storm to storm.
fn fields(path: &str, value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) if path == "profiles" => {
            assert!(!map.is_empty());
            into.insert("profiles.PROFILE".to_owned());
        }
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let key = match path {
                    "phases" | "course.reached" => "PHASE",
                    "course.bytes" => "TRANSPORT",
                    _ => key,
                };
                let dot = if path.is_empty() { "" } else { "." };
                fields(&format!("{path}{dot}{key}"), value, into);
            }
        }
        serde_json::Value::Array(list) => {
            for value in list {
                fields(&format!("{path}[]"), value, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}
