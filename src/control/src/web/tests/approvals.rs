//! Requests to be let in.

use bootstorm_policy::{BootPlan, Facts};
use bootstorm_proto::types::MacAddress;
use serde_json::{Value, json};

use super::lab::{Lab, lab};
use crate::approvals::tests::rules;

const KIND: &str = "application/json";

fn machine(last: u8) -> Facts {
    Facts {
        mac: Some(MacAddress::new([0x52, 0x54, 0, 0, 0, last])),
        serial: Some("S/N 1".to_owned()),
        ..Facts::default()
    }
}

/// A machine asks; its code.
async fn asks(lab: &Lab, last: u8) -> String {
    lab.approvals.ask(&machine(last)).await;
    match lab.policy.boot(&machine(last)) {
        BootPlan::Wait(wait) => wait.request.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn lab_that_asks() -> Lab {
    let lab = lab().await;
    lab.policy.set_rules(rules());
    lab
}

async fn answers(lab: &Lab, code: &str, what: &str, body: &str) -> (u16, Value) {
    let path = format!("/api/v1/approvals/{code}/{what}");
    let response = lab.send("POST", &path, KIND, body).await;
    (response.status, response.json())
}

#[tokio::test]
async fn twopxe_29_requests_are_listed_by_state_and_page_by_page() {
    let lab = lab_that_asks().await;
    let mut codes = Vec::new();
    for last in 1..=5 {
        codes.push(asks(&lab, last).await);
    }
    codes.sort();
    answers(&lab, &codes[0], "deny", "").await;
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/approvals?state=pending&limit=3{cursor}");
        let page = lab.get(&path).await.json();
        let list = page["approvals"].as_array().unwrap();
        found.extend(list.iter().map(|a| a["code"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    found.sort();
    assert_eq!(found, codes[1..]);
    for query in [
        "state=waiting",
        "cursor=x",
        "cursor=1",
        "limit=0",
        "colour=red",
    ] {
        let response = lab.get(&format!("/api/v1/approvals?{query}")).await;
        assert_eq!(
            (response.status, &*response.code()),
            (400, "web.bad-query"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn wds_09_an_approval_names_tags_and_assigns_the_machine() {
    let lab = lab_that_asks().await;
    let code = asks(&lab, 1).await;
    let written = code.to_lowercase();
    let one = lab
        .get(&format!("/api/v1/approvals/{written}"))
        .await
        .json();
    assert_eq!(
        (&one["state"], &one["mac"]),
        (&json!("pending"), &json!("52:54:00:00:00:01"))
    );
    assert_eq!(one["facts"]["smbios"]["serial"], "S/N 1");
    let said = json!({"name": "lab3-17", "tags": ["a", "b"], "boot": "debian", "by": "ann"});
    let (status, done) = answers(&lab, &written, "approve", &said.to_string()).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        (&done["state"], &done["by"]),
        (&json!("approved"), &json!("ann"))
    );
    assert!(matches!(lab.policy.boot(&machine(1)), BootPlan::Entry(_)));
    let made = lab
        .get(&format!("/api/v1/machines/{}", done["machine"]))
        .await
        .json();
    assert_eq!(
        (&made["name"], &made["tags"]),
        (&json!("lab3-17"), &json!(["a", "b"]))
    );
    let (status, again) = answers(&lab, &code, "deny", "").await;
    assert_eq!((status, &again["code"]), (409, &json!("store.decided")));
}

#[tokio::test]
async fn wds_08_a_denial_says_why() {
    let lab = lab_that_asks().await;
    let code = asks(&lab, 1).await;
    let (status, done) = answers(&lab, &code, "deny", r#"{"reason": "wrong room"}"#).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        (&done["reason"], &done["by"]),
        (&json!("wrong room"), &json!("admin"))
    );
    let BootPlan::Refuse(reason) = lab.policy.boot(&machine(1)) else {
        panic!("it is not refused");
    };
    assert!(reason.text.contains("wrong room"), "{reason:?}");
}

#[tokio::test]
async fn what_cannot_be_done_has_a_code_and_changes_nothing() {
    let lab = lab_that_asks().await;
    let code = asks(&lab, 1).await;
    for (what, body, status, wanted) in [
        ("approve", r#"{"boot": "debain"}"#, 422, "web.unknown-entry"),
        ("approve", r#"{"names": "x"}"#, 400, "web.bad-json"),
        ("approve", r#"{"name": "a\nb"}"#, 422, "store.bad-text"),
        ("deny", r#"{"reason": ""}"#, 422, "store.bad-text"),
    ] {
        let (found, answer) = answers(&lab, &code, what, body).await;
        assert_eq!(
            (found, answer["code"].as_str()),
            (status, Some(wanted)),
            "{body}"
        );
    }
    let path = format!("/api/v1/approvals/{code}/approve");
    let form = lab.send("POST", &path, "text/plain", "x").await;
    assert_eq!((form.status, &*form.code()), (415, "web.not-json"));
    for path in ["/api/v1/approvals/NONE", "/api/v1/approvals/%C3%A4"] {
        let unknown = lab.get(path).await;
        assert_eq!(
            (unknown.status, &*unknown.code()),
            (404, "store.unknown-approval")
        );
    }
    assert!(matches!(lab.policy.boot(&machine(1)), BootPlan::Wait(_)));
}
