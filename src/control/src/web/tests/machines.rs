use bootstorm_policy::{BootPlan, Facts};
use serde_json::{Value, json};

use super::lab::{Lab, MAC, Response, lab};

const KIND: &str = "application/json";
const GUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";

async fn changed(lab: &Lab, method: &str, path: &str, body: &str) -> Value {
    let path = format!("/api/v1/machines{path}");
    let response = lab.send(method, &path, KIND, body).await;
    assert!(
        [200, 201].contains(&response.status),
        "{path}: {response:?}"
    );
    response.json()
}

async fn ids(lab: &Lab, query: &str) -> Vec<i64> {
    let list = lab.get(&format!("/api/v1/machines?{query}")).await.json();
    let machines = list["machines"].as_array().unwrap().clone();
    machines.iter().map(|m| m["id"].as_i64().unwrap()).collect()
}

fn plan(lab: &Lab) -> BootPlan {
    lab.policy.boot(&Facts {
        mac: MAC.parse().ok(),
        ..Facts::default()
    })
}

fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, &*response.code()), (status, code));
}

#[tokio::test]
async fn a_machine_is_found_by_each_of_its_names() {
    let lab = lab().await;
    let body = json!({
        "macs": [MAC, "52-54-00-00-00-02"], "guid": GUID, "name": "lab3-17", "serial": "A+B 7",
        "tags": ["lab", "win"], "values": {"role": "desk"}, "boot": "debian",
    });
    let made = changed(&lab, "POST", "", &body.to_string()).await;
    assert_eq!(made["macs"], json!([MAC, "52:54:00:00:00:02"]));
    assert_eq!(
        (&made["known"], &made["held"]),
        (&json!(true), &Value::Null)
    );
    let id = made["id"].to_string();
    for name in [MAC, "525400000002", GUID, "lab3-17", &id] {
        let found = lab.get(&format!("/api/v1/machines/{name}")).await;
        assert_eq!(found.json(), made, "{name}");
    }
    let again = lab
        .send("POST", "/api/v1/machines", KIND, &body.to_string())
        .await;
    refused(&again, 409, "web.machine-exists");
    let nobody = lab.send("POST", "/api/v1/machines", KIND, r#"{"name": "x"}"#);
    refused(&nobody.await, 400, "web.no-identity");
    let gone = lab.ask("DELETE", "/api/v1/machines/lab3-17").await;
    assert_eq!((gone.status, &*gone.body), (204, ""));
    refused(
        &lab.ask("DELETE", "/api/v1/machines/lab3-17").await,
        404,
        "web.unknown-machine",
    );
    assert!(matches!(plan(&lab), BootPlan::Menu(_)));
}

#[tokio::test]
async fn what_is_said_again_takes_the_place_of_what_was() {
    let lab = lab().await;
    let path = format!("/{MAC}");
    let said = async |body: Value| changed(&lab, "PUT", &path, &body.to_string()).await;
    said(json!({"tags": ["a", "b"], "values": {"x": "1", "y": "2"}})).await;
    let now = said(json!({"tags": ["b", "c"], "values": {"x": null, "z": "3"}})).await;
    assert_eq!(now["tags"], json!(["b", "c"]));
    assert_eq!(now["values"], json!({"y": "2", "z": "3"}));
    let now = said(json!({"macs": ["52:54:00:00:00:09"]})).await;
    assert_eq!(now["macs"], json!(["52:54:00:00:00:09"]));
    let other = said(json!({"name": "new"})).await;
    assert_ne!(other["id"], now["id"], "the address is free");
    let taken = r#"{"macs": ["52:54:00:00:00:09"]}"#;
    let taken = lab.send("PUT", "/api/v1/machines/new", KIND, taken).await;
    refused(&taken, 409, "store.mac-taken");
    let bad = lab.send("PUT", "/api/v1/machines/new", KIND, r#"{"guid": "1234"}"#);
    refused(&bad.await, 400, "web.bad-guid");
}

#[tokio::test]
async fn orders_holds_and_tags_are_obeyed_at_once() {
    let lab = lab().await;
    let path = |what: &str| format!("/{MAC}/{what}");
    let order = r#"{"boot": "debian", "by": "ann"}"#;
    let ordered = changed(&lab, "POST", &path("reimage"), order).await;
    let once = &ordered["once"];
    assert_eq!(
        (&once["boot"], &once["by"]),
        (&json!("debian"), &json!("ann"))
    );
    assert!(matches!(plan(&lab), BootPlan::Entry(_)));
    assert_eq!(ids(&lab, "state=once").await.len(), 1);
    let held = changed(&lab, "POST", &path("hold"), "").await;
    assert!(held["held"].is_string());
    assert!(matches!(plan(&lab), BootPlan::Wait(_)));
    changed(&lab, "POST", &path("release"), "").await;
    let freed = changed(&lab, "DELETE", &path("reimage"), "").await;
    assert_eq!(
        (&freed["once"], &freed["held"]),
        (&Value::Null, &Value::Null)
    );
    assert!(matches!(plan(&lab), BootPlan::Menu(_)));
    let tagged = changed(&lab, "PUT", &path("tags/room%20a%2F1"), "").await;
    assert_eq!(tagged["tags"], json!(["room a/1"]));
    assert_eq!(ids(&lab, "tag=room+a%2F1").await.len(), 1);
    let untagged = changed(&lab, "DELETE", &path("tags/room%20a%2F1"), "").await;
    assert_eq!(untagged["tags"], json!([]));
    let wrong = format!("/api/v1/machines/{MAC}/reimage");
    let wrong = lab.send("POST", &wrong, KIND, "{}").await;
    refused(&wrong, 400, "web.bad-json");
    let nobody = lab
        .ask("POST", "/api/v1/machines/52:54:00:00:00:99/release")
        .await;
    refused(&nobody, 404, "web.unknown-machine");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let lab = lab().await;
    for number in 1..=5 {
        let body = json!({"name": format!("lab-{number}"), "boot": "local"});
        let path = format!("/52:54:00:00:01:0{number}");
        changed(&lab, "PUT", &path, &body.to_string()).await;
    }
    changed(&lab, "PUT", &format!("/{MAC}"), r#"{"name": "desk%_1"}"#).await;
    let first = lab.get("/api/v1/machines?limit=4").await.json();
    assert_eq!(first["machines"].as_array().unwrap().len(), 4);
    let next = first["next"].as_str().unwrap();
    assert_eq!(ids(&lab, &format!("limit=4&cursor={next}")).await.len(), 2);
    for (query, count) in [
        ("q=LAB-", 5),
        ("q=%25_", 1),
        ("q=00:01:0", 5),
        ("boot=local", 5),
        ("state=known", 6),
        ("state=unknown", 0),
        ("state=held", 0),
        ("q=lab-1&boot=debian", 0),
    ] {
        assert_eq!(ids(&lab, query).await.len(), count, "{query}");
    }
    for query in ["state=lost", "cursor=x", "limit=0", "colour=red"] {
        let response = lab.get(&format!("/api/v1/machines?{query}")).await;
        refused(&response, 400, "web.bad-query");
    }
}

#[tokio::test]
async fn a_list_comes_in_as_a_whole_or_not_at_all() {
    let lab = lab().await;
    let import = "/api/v1/machines/import";
    let list = format!(
        "name;mac;boot;tags;value.role\nlab-1;{MAC};debian;a b;desk\nlab-2;020000000001;;;\n"
    );
    let done = lab.send("POST", import, "text/csv", &list).await;
    assert_eq!(done.json(), json!({"machines": 2}), "{done:?}");
    assert!(matches!(plan(&lab), BootPlan::Entry(_)));
    let shown = lab.get("/api/v1/machines/lab-1").await.json();
    assert_eq!(shown["tags"], json!(["a", "b"]));
    assert_eq!(shown["values"], json!({"role": "desk"}));

    let update = format!("mac,boot\n{MAC},local\n");
    let done = lab
        .send("POST", import, "text/csv; charset=utf-8", &update)
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(plan(&lab), BootPlan::Local);
    assert_eq!(
        lab.get("/api/v1/machines/lab-1").await.json()["boot"],
        "local"
    );

    let before = lab.get("/api/v1/machines").await.body;
    let moved = format!("mac\n020000000009\n\"020000000002 {MAC}\"\n020000000001 {MAC}\n");
    for (kind, body, status, code, text) in [
        (
            "text/csv",
            "mac\nzz\n",
            422,
            "web.bad-list",
            "line 2: mac: `zz`",
        ),
        (
            "text/csv",
            "mac,boot\n020000000003,debain\n",
            422,
            "web.unknown-entry",
            "debain",
        ),
        ("text/csv", &*moved, 422, "web.bad-list", "line 4"),
        (
            "text/csv",
            "mac\n020000000009\n020000000002 020000000001\n",
            409,
            "store.mac-taken",
            "line 3: 02:00:00:00:00:01",
        ),
        (KIND, "mac\n020000000003\n", 415, "web.not-csv", "text/csv"),
    ] {
        let response = lab.send("POST", import, kind, body).await;
        refused(&response, status, code);
        assert!(response.body.contains(text), "{response:?}");
    }
    assert_eq!(lab.get("/api/v1/machines").await.body, before);
}
