//! `/api/v1/explain`.

use std::net::Ipv4Addr;
use std::time::Duration;

use bootstorm_policy::typical_requests;
use serde_json::{Value, json};

use super::lab::{Lab, MAC, lab};

/// What is told once the decision was taken in, which is within moments.
async fn decided(lab: &Lab, path: &str) -> Value {
    for _ in 0..6000 {
        let view = lab.get(path).await.json();
        if view["decisions"] != json!([]) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the decision is never told");
}

#[tokio::test]
async fn explain_tells_what_was_decided_what_would_be_and_what_was_dropped() {
    let lab = lab().await;
    let mac = MAC.parse().unwrap();
    let [_, uefi, ..] = typical_requests(mac, Ipv4Addr::LOCALHOST.into());
    let _ = lab.policy.dhcp(&uefi);
    let view = decided(&lab, &format!("/api/v1/explain?mac={MAC}")).await;
    assert_eq!(view["mac"], MAC);
    let decision = &view["decisions"][0];
    assert_eq!(decision["facts"]["stage"], "dhcp");
    assert_eq!(decision["reply"]["code"], "policy.no-listener");
    let answers = decision["providers"].as_array().unwrap().iter();
    let answers: Vec<_> = answers.map(|part| &part["answer"]).collect();
    assert_eq!(answers, ["pass", "pass", "serve"]);
    assert_eq!(view["dropped"]["reason"]["code"], "classifier.machine-rate");
    assert_eq!(view["classifier"]["mac"], MAC);
    let next = view["next"].as_array().unwrap();
    let stages: Vec<_> = next.iter().map(|next| &next["facts"]["stage"]).collect();
    assert_eq!(stages, ["dhcp", "dhcp", "dhcp", "dhcp", "script"]);
    assert_eq!(next[4]["reply"]["does"], "menu");
}

#[tokio::test]
async fn a_machine_that_was_never_heard_of_is_explained_all_the_same() {
    let lab = lab().await;
    let view = lab.get("/api/v1/explain?mac=52:54:00:00:00:99&server=10.0.0.5");
    let view = view.await.json();
    assert_eq!(view["seen"], Value::Null);
    assert_eq!(view["decisions"], json!([]));
    assert_eq!(view["next"][0]["facts"]["network"]["server"], "10.0.0.5");
}

#[tokio::test]
async fn a_question_about_no_machine_is_refused() {
    let lab = lab().await;
    for (query, code) in [
        ("", "web.bad-query"),
        ("?mac=52:54:00:00:00:01&ip=10.0.0.1", "web.bad-query"),
        ("?ip=house", "web.bad-query"),
        ("?mac=house", "web.bad-mac"),
        ("?guid=house", "web.bad-guid"),
    ] {
        let refused = lab.get(&format!("/api/v1/explain{query}")).await;
        assert_eq!((refused.status, refused.code()), (400, code.to_owned()));
    }
}
