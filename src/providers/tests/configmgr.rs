//! Deployments in files and views.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::time::Duration;

use bootstorm_policy::decision::Verdict;
use bootstorm_providers::{Ask as _, ConfigMgr, Deployments, ProviderError};
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _, Executor as _};

const PATIENCE: Duration = Duration::from_secs(60);

fn facts() -> Value {
    json!({
        "machine": {"mac": "52:54:00:99:00:01", "guid": "4c4c4544-0032-3510-8054-b4c04f4d3132"},
        "firmware": {"family": "x64"},
    })
}

async fn ask(provider: &ConfigMgr) -> Result<Verdict, ProviderError> {
    let facts = facts();
    let answer = tokio::time::timeout(PATIENCE, provider.ask(&facts)).await;
    answer.expect("it hangs")
}

/// The deployment that is served, or the code of the reason or the failure.
async fn outcome(provider: &ConfigMgr) -> String {
    match ask(provider).await {
        Ok(Verdict::Serve(plan)) => plan.values["deployment"].clone(),
        Ok(Verdict::Pass(reason) | Verdict::Ignore(reason)) => reason.code.to_owned(),
        Err(e) => e.code().to_owned(),
    }
}

#[tokio::test]
async fn an_export_is_read_again_when_it_changes_and_kept_when_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deployments.json");
    let source = Deployments::File(path.clone());
    let provider = ConfigMgr::new("cm", source, true, PATIENCE).unwrap();
    assert_eq!(outcome(&provider).await, "provider.failed");

    let first = r#"[{"Resource": 16, "MAC": "52-54-00-99-00-01", "Deployment": "SMS20001", "Boot": "winpe"},
                    {"Resource": 17, "MAC": "52:54:00:99:00:02", "Deployment": "SMS20009", "Boot": "winpe"}]"#;
    fs::write(&path, first).unwrap();
    assert_eq!(outcome(&provider).await, "SMS20001");

    fs::write(&path, "[{\"Resource\": 16,").unwrap();
    assert_eq!(outcome(&provider).await, "SMS20001");

    let second = r#"[{"Resource": null, "Deployment": "SMS20003", "Boot": "winpe"}]"#;
    fs::write(&path, second).unwrap();
    assert_eq!(outcome(&provider).await, "SMS20003");

    fs::remove_file(&path).unwrap();
    assert_eq!(outcome(&provider).await, "provider.failed");
}

#[tokio::test]
async fn a_view_is_asked_for_the_machine_alone() {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cm.db");
    fs::write(&file, "").unwrap();
    let url = format!("sqlite:{}", file.display());
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    connection
        .execute(
            "CREATE TABLE rows (Resource INTEGER, Mac TEXT, Guid TEXT, Deployment TEXT, Boot TEXT,
                                Architecture TEXT, Required INTEGER, Last TEXT);
             INSERT INTO rows VALUES
                 (16, NULL, '4C4C4544-0032-3510-8054-B4C04F4D3132', 'SMS20001', 'winpe', 'x64', 1, 'SMS20000'),
                 (17, '52:54:00:99:00:02', NULL, 'SMS20009', 'winpe', 'x64', 1, NULL);
             CREATE VIEW deployments AS SELECT *, Last = Deployment AS Done FROM rows;",
        )
        .await
        .unwrap();
    let view = Deployments::View {
        url,
        view: "deployments".to_owned(),
    };
    let provider = ConfigMgr::new("cm", view, false, PATIENCE).unwrap();
    assert_eq!(outcome(&provider).await, "SMS20001");
    connection
        .execute("UPDATE rows SET Last = 'SMS20001' WHERE Resource = 16")
        .await
        .unwrap();
    assert_eq!(outcome(&provider).await, "provider.already-run");
}

#[test]
fn the_name_of_a_view_is_a_name() {
    for view in ["", "a b", "a; DROP TABLE a", "1a", "a.", "a-b", "\"a\""] {
        let source = Deployments::View {
            url: "sqlite:cm.db".to_owned(),
            view: view.to_owned(),
        };
        assert!(
            ConfigMgr::new("cm", source, false, PATIENCE).is_err(),
            "{view}"
        );
    }
}
