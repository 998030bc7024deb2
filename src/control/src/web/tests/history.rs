use std::time::Duration;

use bootstorm_store::{BootBegin, BootStep, Event, Note, Reached};
use serde_json::{Value, json};

use super::lab::{Lab, MAC, lab};
use crate::web::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn began(number: u64) -> Note {
    Note::Began(BootBegin {
        id: format!("b{number}"),
        machine: None,
        mac: MAC.parse().ok(),
        guid: None,
        serial: None,
        entry: "debian".to_owned(),
        decider: "=rules: rule[0]".to_owned(),
        task: None,
        once: false,
        at: at(number),
    })
}

fn stepped(number: u64, reached: Reached, seconds: u64) -> Note {
    Note::Stepped(BootStep {
        id: format!("b{number}"),
        reached,
        bytes: Some(1 << 20),
        at: at(seconds),
    })
}

/// Five boots that got as far as their number says: requested, loading, booted, done, failed.
async fn with_boots() -> Lab {
    let lab = lab().await;
    let admit = r#"{"name": "lab3-17"}"#;
    let path = format!("/api/v1/machines/{MAC}");
    let admitted = lab.send("PUT", &path, "application/json", admit).await;
    assert_eq!(admitted.status, 200);
    let mut notes: Vec<_> = (1..=5).map(began).collect();
    notes.extend((2..=5).map(|number| stepped(number, Reached::Loading, 10)));
    notes.extend((3..=5).map(|number| stepped(number, Reached::Loaded, 20)));
    notes.push(stepped(4, Reached::Finished, 30));
    let failed = Reached::Failed {
        code: "boot.reported-failure".to_owned(),
        text: "-no disk, \"none\"".to_owned(),
    };
    notes.push(stepped(5, failed, 40));
    lab.machines.store().record(&notes).await.unwrap();
    lab
}

async fn boots(lab: &Lab, query: &str) -> Vec<Value> {
    let page = lab.get(&format!("/api/v1/boots?{query}")).await.json();
    page["boots"].as_array().unwrap().clone()
}

/// The formulas of the report, from the rows that it shows.
fn counted(boots: &[Value]) -> Value {
    let count = |fits: &dyn Fn(&Value) -> bool| boots.iter().filter(|boot| fits(boot)).count();
    let has = |field: &'static str| count(&|boot| !boot[field].is_null());
    let (requests, booted) = (boots.len(), has("boot_ended"));
    let limbo = count(&|boot| {
        let ends = [&boot["boot_ended"], &boot["last_error"]];
        !boot["boot_started"].is_null() && ends.iter().all(|end| end.is_null())
    });
    json!({
        "requests": requests,
        "started": has("download_started"),
        "transferring": has("download_started") - has("boot_started"),
        "transferred": has("boot_started"),
        "limbo": limbo,
        "booted": booted,
        "failed": has("last_error"),
        "success_percent": 100.0 * booted as f64 / requests as f64,
    })
}

#[tokio::test]
async fn twopxe_22_the_figures_of_the_api_are_those_of_its_rows() {
    let lab = with_boots().await;
    let since = "since=2027-01-15T08:00:02Z";
    for query in ["", "state=failed", "machine=lab3-17", since] {
        let rows = boots(&lab, query).await;
        let summary = lab.get(&format!("/api/v1/boots/summary?{query}")).await;
        assert_eq!(summary.json(), counted(&rows), "{query}");
    }
    let all = boots(&lab, "").await;
    let states: Vec<_> = all.iter().map(|b| b["state"].as_str().unwrap()).collect();
    let wanted = ["failed", "finished", "booted", "loading", "requested"];
    assert_eq!(states, wanted);
    assert_eq!(all[1]["requested"], "2027-01-15T08:00:04Z");
    assert_eq!(all[1]["download_started"], "2027-01-15T08:00:10Z");
    assert_eq!(all[1]["boot_started"], "2027-01-15T08:00:20Z");
    assert_eq!(all[1]["boot_ended"], "2027-01-15T08:00:30Z");
    assert_eq!(all[0]["last_error"], "2027-01-15T08:00:40Z");
    assert_eq!(boots(&lab, since).await.len(), 4);
}

/// A body whose length is not known at its begin (RFC 9112, section 7.1).
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    text
}

#[tokio::test]
async fn twopxe_29_boots_come_as_comma_separated_values() {
    let lab = with_boots().await;
    let response = lab.get("/api/v1/boots?format=csv").await;
    assert!(response.head.contains("text/csv"), "{}", response.head);
    let text = unchunked(&response.body);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    let all = boots(&lab, "").await;
    assert_eq!(rows.len(), all.len());
    for (row, boot) in rows.iter().zip(&all) {
        let fields = boot.as_object().unwrap();
        assert_eq!(row.len(), fields.len());
        for (name, value) in fields {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) if text.starts_with(['=', '-']) => format!("'{text}"),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(row[name], text, "{name}");
        }
    }
    let pages = [
        "format=csv&limit=2",
        "format=csv&state=booted",
        "format=csv&since=2099-01-01T00:00:00Z",
    ];
    let mut lines = Vec::new();
    for query in pages {
        let text = lab.get(&format!("/api/v1/boots?{query}")).await.body;
        lines.push(unchunked(&text).lines().count());
    }
    assert_eq!(lines, [3, 2, 1]);
}

#[tokio::test]
async fn pages_of_boots_follow_each_other() {
    let lab = with_boots().await;
    let first = lab.get("/api/v1/boots?limit=3").await.json();
    let next = first["next"].as_str().unwrap();
    let second = boots(&lab, &format!("limit=3&cursor={next}")).await;
    let ids = |boots: &[Value]| -> Vec<String> {
        let ids = boots.iter().map(|b| b["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    assert_eq!(ids(first["boots"].as_array().unwrap()), ["b5", "b4", "b3"]);
    assert_eq!(ids(&second), ["b2", "b1"]);
    for (query, code) in [
        ("state=odd", "web.bad-query"),
        ("since=yesterday", "web.bad-query"),
        ("machine=nobody", "web.unknown-machine"),
        ("odd=1", "web.bad-query"),
    ] {
        let refused = lab.get(&format!("/api/v1/boots?{query}")).await;
        assert_eq!(refused.code(), code, "{query}");
    }
}

#[tokio::test]
async fn a_machine_shows_what_happened_to_it() {
    let lab = with_boots().await;
    let event = |number: u64, text: &str| {
        Note::Happened(Event {
            id: format!("e{number}"),
            at: at(number),
            mac: MAC.parse().ok(),
            machine: None,
            boot: Some("b3".to_owned()),
            kind: "said".to_owned(),
            code: None,
            text: text.to_owned(),
        })
    };
    let notes = [event(1, "net0: link up"), event(2, "net0: 10.0.0.5")];
    lab.machines.store().record(&notes).await.unwrap();
    let path = "/api/v1/machines/lab3-17/history";
    let history = lab.get(path).await.json();
    let newest = json!({
        "at": "2027-01-15T08:00:02Z", "kind": "said", "code": null, "text": "net0: 10.0.0.5",
        "boot": "b3", "mac": MAC,
    });
    assert_eq!(history["events"][0], newest);
    assert_eq!(history["events"].as_array().unwrap().len(), 2);
    let page = lab.get(&format!("{path}?limit=1")).await.json();
    let next = page["next"].as_str().unwrap();
    let rest = lab.get(&format!("{path}?cursor={next}")).await.json();
    assert_eq!(rest["events"][0]["text"], "net0: link up");
    let nobody = lab.get("/api/v1/machines/nobody/history").await;
    assert_eq!(
        (nobody.status, &*nobody.code()),
        (404, "web.unknown-machine")
    );
}
