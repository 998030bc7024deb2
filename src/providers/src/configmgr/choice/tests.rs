use bootstorm_policy::decision::Boot;
use serde_json::json;

use super::*;

const MAC: &str = "52:54:00:99:00:01";
const GUID: &str = "4c4c4544-0032-3510-8054-b4c04f4d3132";

fn asker(family: &str) -> Asker {
    Asker {
        mac: Some(MAC.to_owned()),
        guid: Some(GUID.to_owned()),
        family: Some(family.to_owned()),
        offer: None,
    }
}

/// Rows of the device that the asker is, unless they say otherwise.
fn rows(rows: Value) -> Vec<Deployment> {
    let rows: Vec<Map<String, Value>> = serde_json::from_value(rows).unwrap();
    let read = rows.into_iter().map(|row| {
        let mut all = json!({"resource": 16, "mac": MAC, "guid": GUID, "boot": "winpe"});
        let all = all.as_object_mut().unwrap();
        all.extend(row);
        Deployment::read(all.clone()).unwrap()
    });
    read.collect()
}

fn unknown(rows_of: Value) -> Vec<Deployment> {
    let mut rows = rows(rows_of);
    for row in &mut rows {
        (row.resource, row.mac, row.guid) = (None, None, None);
    }
    rows
}

fn decide(family: &str, rows: Vec<Deployment>) -> Verdict {
    verdict("cm", &asker(family), rows, false).unwrap()
}

/// The deployment that is served and whether it is required, or the code of the reason.
fn outcome(verdict: &Verdict) -> (&str, bool) {
    match verdict {
        Verdict::Serve(plan) => match &plan.boot {
            Boot::Refuse(reason) => (reason.code, false),
            _ => (&plan.values["deployment"], plan.required),
        },
        Verdict::Pass(reason) | Verdict::Ignore(reason) => (reason.code, false),
    }
}

#[test]
fn what_is_deployed_is_booted() {
    let rows = rows(json!([
        {"deployment": "SMS20001", "required": 1, "arguments": "ts", "collection": "Lab 3"},
    ]));
    let Verdict::Serve(plan) = decide("x64", rows) else {
        panic!("nothing is served");
    };
    assert_eq!(plan.boot, Boot::Entry("winpe".to_owned()));
    assert!(plan.required);
    assert_eq!(plan.arguments.as_deref(), Some("ts"));
    assert_eq!(plan.values["collection"], "Lab 3");
    assert_eq!(plan.values["resource"], "16");
}

#[test]
fn wds_11_uefi_has_to_match_exactly() {
    let image = |family: &str, architecture: &str| {
        let rows = rows(json!([{"deployment": "SMS20001", "architecture": architecture}]));
        outcome(&decide(family, rows)).0 == "SMS20001"
    };
    for (family, runs) in [
        ("bios", ["x86", "x64"].as_slice()),
        ("ia32", &["x86"]),
        ("x64", &["x64"]),
        ("arm64", &["arm64"]),
    ] {
        for architecture in ["x86", "x64", "arm64"] {
            let wanted = runs.contains(&architecture);
            assert_eq!(
                image(family, architecture),
                wanted,
                "{family} {architecture}"
            );
        }
    }
    let rows = rows(json!([{"deployment": "SMS20001", "architecture": "x86"}]));
    assert_eq!(
        outcome(&decide("x64", rows)).0,
        "provider.wrong-architecture"
    );
}

#[test]
fn wds_12_the_highest_id_is_booted() {
    let several = json!([
        {"deployment": "SMS2000A"}, {"deployment": "SMS2001F"}, {"deployment": "sms20010"},
    ]);
    assert_eq!(outcome(&decide("x64", rows(several))).0, "SMS2001F");
    let overridden = json!([
        {"deployment": "SMS2000A", "preferred": 1}, {"deployment": "SMS2001F"},
    ]);
    assert_eq!(outcome(&decide("x64", rows(overridden))).0, "SMS2000A");
    let wrong_image = json!([
        {"deployment": "SMS2000A", "architecture": "x64"},
        {"deployment": "SMS2001F", "architecture": "x86"},
    ]);
    assert_eq!(outcome(&decide("x64", rows(wrong_image))).0, "SMS2000A");
}

#[test]
fn wds_13_a_required_deployment_is_offered_until_it_has_run() {
    let row = |done: u8| json!([{"deployment": "SMS20001", "required": 1, "done": done}]);
    assert_eq!(outcome(&decide("x64", rows(row(0)))), ("SMS20001", true));
    assert_eq!(
        outcome(&decide("x64", rows(row(1)))).0,
        "provider.already-run"
    );
    // Cleared.
    assert_eq!(outcome(&decide("x64", rows(row(0)))), ("SMS20001", true));
}

#[test]
fn required_goes_before_available_and_available_can_be_run_again() {
    let both = json!([{"deployment": "SMS20009"}, {"deployment": "SMS20001", "required": 1}]);
    assert_eq!(outcome(&decide("x64", rows(both))), ("SMS20001", true));
    let run = json!([
        {"deployment": "SMS20009", "done": 1}, {"deployment": "SMS20001", "required": 1, "done": 1},
    ]);
    assert_eq!(outcome(&decide("x64", rows(run))), ("SMS20009", false));
}

#[test]
fn twopxe_12_a_deployment_that_the_request_names_runs_if_it_is_the_machines() {
    let all = || {
        rows(json!([
            {"deployment": "SMS20001"},
            {"deployment": "SMS20009", "required": 1},
            {"deployment": "SMS20003", "required": 1, "done": 1},
            {"deployment": "SMS20004", "architecture": "arm64"},
        ]))
    };
    let named = |params: Value| {
        let facts = json!({
            "machine": {"mac": MAC, "guid": GUID}, "firmware": {"family": "x64"}, "params": params,
        });
        verdict("cm", &Asker::of(&facts), all(), true).unwrap()
    };
    assert_eq!(outcome(&named(json!({}))), ("SMS20009", true));
    let available = named(json!({"offerid": "sms20001"}));
    assert_eq!(outcome(&available), ("SMS20001", false));
    for flag in ["mandatory", "nomenu"] {
        let params = json!({"offerid": "SMS20001", flag: "true"});
        assert_eq!(outcome(&named(params)), ("SMS20001", true), "{flag}");
    }
    for (id, code) in [
        ("SMS20003", "provider.already-run"),
        ("SMS20004", "provider.wrong-architecture"),
        ("SMS20005", "provider.not-deployed"),
    ] {
        let refused = named(json!({"offerid": id, "mandatory": "true"}));
        assert_eq!(outcome(&refused), (code, false), "{id}");
    }
}

#[test]
fn a_device_with_nothing_deployed_is_no_unknown_computer() {
    let mut all = rows(json!([{"deployment": null}]));
    all.extend(unknown(json!([{"deployment": "SMS20002"}])));
    let decided = verdict("cm", &asker("x64"), all, true).unwrap();
    assert_eq!(outcome(&decided).0, "provider.not-deployed");
}

#[test]
fn unknown_computers_are_supported_on_demand() {
    let all = || unknown(json!([{"deployment": "SMS20002", "required": 1}]));
    let decide = |supported| verdict("cm", &asker("x64"), all(), supported).unwrap();
    assert_eq!(outcome(&decide(false)).0, "provider.unknown-machine");
    assert_eq!(outcome(&decide(true)), ("SMS20002", true));
}

#[test]
fn duplicate_identifiers_are_told_apart_or_not_served() {
    let other = "52:54:00:99:00:02";
    let twins = json!([
        {"resource": 16, "deployment": "SMS20001"},
        {"resource": 17, "mac": other, "deployment": "SMS20002"},
    ]);
    // Two devices have the GUID; the MAC tells which one it is.
    assert_eq!(outcome(&decide("x64", rows(twins.clone()))).0, "SMS20001");
    let dock = Asker {
        mac: None,
        ..asker("x64")
    };
    let decided = verdict("cm", &dock, rows(twins), false).unwrap();
    assert_eq!(outcome(&decided).0, "provider.duplicate-device");
    // A dock's MAC belongs to another device than the GUID: the GUID goes first.
    let moved = json!([
        {"resource": 16, "mac": other, "deployment": "SMS20001"},
        {"resource": 17, "guid": null, "deployment": "SMS20002"},
    ]);
    assert_eq!(outcome(&decide("x64", rows(moved))).0, "SMS20001");
}

#[test]
fn what_a_column_cannot_hold_is_named() {
    let row = json!({"required": "perhaps"});
    let e = Deployment::read(row.as_object().unwrap().clone()).unwrap_err();
    assert_eq!(e.to_string(), "column `required` is no yes or no");
}
