//! Databases of both kinds, and those that hang.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be set up fails the test"
)]

use std::time::{Duration, Instant};

use bootstorm_policy::decision::{Boot, Plan, Verdict};
use bootstorm_providers::{Ask as _, ProviderError, Sql};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[path = "../../../tests/fixtures/postgres.rs"]
mod postgres;

/// Longer than any answer takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tables that deployment tools keep, as far as booting goes.
const TABLES: &str = "
    CREATE TABLE computers (id INTEGER PRIMARY KEY, mac TEXT, uuid TEXT, serial TEXT);
    CREATE TABLE settings (computer INTEGER, task TEXT, name TEXT, required INTEGER, weight DOUBLE PRECISION);
    INSERT INTO computers VALUES (1, '52:54:00:99:00:01', NULL, 'S 1');
    INSERT INTO computers VALUES (2, NULL, '4C4C4544-0032-3510-8054-B4C04F4D3132', '''; DROP TABLE computers; --');
    INSERT INTO settings VALUES (1, 'winpe', 'lab3-17', 1, 0.5);
    INSERT INTO settings VALUES (2, NULL, 'odd', 0, NULL);
";

const QUERY: &str = "
    SELECT s.task AS boot, s.required, s.name AS \"ComputerName\", s.weight -- not :task
    FROM computers c JOIN settings s ON s.computer = c.id
    WHERE c.mac = lower(:mac) OR lower(c.uuid) = :guid OR c.serial = :serial
    ORDER BY c.id";

/// A database with these tables.
struct Lab {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Lab {
    async fn execute(&self, sql: &str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .unwrap();
    }

    fn sql(&self, query: &str) -> Sql {
        Sql::new("mdt", &self.url, query, PATIENCE).unwrap()
    }
}

/// Runs a test with a database of each kind.
async fn on_each(test: impl AsyncFn(Lab)) {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mdt.db");
    std::fs::write(&file, "").unwrap();
    let lab = Lab {
        url: format!("sqlite:{}", file.display()),
        _folder: Some(folder),
    };
    lab.execute(TABLES).await;
    test(lab).await;
    if let Some(server) = postgres::database().await {
        let lab = Lab {
            url: server,
            _folder: None,
        };
        lab.execute(TABLES).await;
        test(lab).await;
    }
}

async fn ask(sql: &Sql, facts: &Value) -> Result<Verdict, ProviderError> {
    let answer = tokio::time::timeout(PATIENCE, sql.ask(facts)).await;
    answer.expect("it hangs")
}

async fn plan(sql: &Sql, facts: &Value) -> Option<Plan> {
    match ask(sql, facts).await.unwrap() {
        Verdict::Serve(plan) => Some(Plan::clone(&plan)),
        Verdict::Pass(reason) => {
            assert_eq!(reason.code, "provider.passed");
            None
        }
        Verdict::Ignore(reason) => panic!("{reason:?}"),
    }
}

fn serial(serial: &str) -> Value {
    json!({"smbios": {"serial": serial}})
}

#[tokio::test]
async fn the_first_row_is_the_decision() {
    on_each(async |lab| {
        let sql = lab.sql(QUERY);
        let by_mac = json!({"machine": {"mac": "52:54:00:99:00:01", "guid": null}});
        let plan = plan(&sql, &by_mac).await.unwrap();
        assert_eq!(plan.boot, Boot::Entry("winpe".to_owned()));
        assert!(plan.required);
        assert_eq!(plan.values["computername"], "lab3-17");
        assert_eq!(plan.values["weight"], "0.5");
    })
    .await;
}

#[tokio::test]
async fn a_machine_without_a_row_is_passed() {
    on_each(async |lab| {
        let sql = lab.sql(QUERY);
        assert_eq!(plan(&sql, &serial("S 2")).await, None);
        assert_eq!(plan(&sql, &json!({})).await, None);
    })
    .await;
}

#[tokio::test]
async fn what_a_machine_says_of_itself_is_never_part_of_the_query() {
    on_each(async |lab| {
        let sql = lab.sql(QUERY);
        for hostile in [
            "' OR '1'='1",
            "S 1' --",
            "\\' OR 1=1; --",
            "$1",
            ":mac",
            "S 1\0",
            "\u{2019} OR 1=1",
            "'; UPDATE settings SET task='x'; --",
        ] {
            let found = plan(&sql, &serial(hostile)).await;
            assert_eq!(found.is_some(), hostile == "S 1\0", "{hostile}");
        }
        let odd = plan(&sql, &serial("'; DROP TABLE computers; --"))
            .await
            .unwrap();
        assert_eq!(odd.values["computername"], "odd");
        assert_eq!(odd.boot, Boot::Usual);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written() {
    on_each(async |lab| {
        let sql = lab.sql("DELETE FROM settings RETURNING task AS boot");
        let e = ask(&sql, &json!({})).await.unwrap_err();
        assert_eq!(e.code(), "provider.failed");
        let lower = e.to_string().to_lowercase();
        assert!(
            lower.contains("read-only") || lower.contains("readonly"),
            "{e}"
        );
        assert!(plan(&lab.sql(QUERY), &serial("S 1")).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_told() {
    on_each(async |lab| {
        let e = ask(&lab.sql("SELECT boot FROM nothing"), &json!({}))
            .await
            .unwrap_err();
        assert!(e.to_string().contains("nothing"), "{e}");
        let e = ask(&lab.sql("SELECT 'x y;z' AS boot"), &json!({}))
            .await
            .unwrap_err();
        assert_eq!(e.code(), "provider.bad-answer");
        assert!(e.to_string().starts_with("`boot`: "), "{e}");
        let bytes = if lab.url.starts_with("sqlite") {
            "x'00'"
        } else {
            "'\\x00'::bytea"
        };
        let e = ask(&lab.sql(&format!("SELECT {bytes} AS boot")), &json!({}))
            .await
            .unwrap_err();
        assert!(e.to_string().contains("`boot` is of type"), "{e}");
    })
    .await;
}

#[tokio::test]
async fn a_query_that_never_ends_is_ended() {
    let workers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("sqlx-sqlite")).count()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endless.db");
    std::fs::write(&file, "").unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                   SELECT 'x' AS boot FROM n WHERE i < 0";
    let url = format!("sqlite:{}", file.display());
    let sql = Sql::new("mdt", &url, endless, PATIENCE).unwrap();
    let before = workers();
    let facts = json!({});
    let cut = tokio::time::timeout(Duration::from_millis(200), sql.ask(&facts)).await;
    assert!(cut.is_err(), "{cut:?}");
    let since = Instant::now();
    while workers() > before {
        assert!(since.elapsed() < PATIENCE, "the thread goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn postgresql_ends_what_takes_longer_than_the_budget() {
    let Some(url) = postgres::database().await else {
        return;
    };
    let sleeps = "SELECT 'x' AS boot FROM pg_sleep(600)";
    let sql = Sql::new("mdt", &url, sleeps, Duration::from_millis(200)).unwrap();
    let e = ask(&sql, &json!({})).await.unwrap_err();
    assert!(e.to_string().contains("statement timeout"), "{e}");
}

#[tokio::test]
async fn a_connection_that_the_database_closed_is_replaced() {
    sqlx::any::install_default_drivers();
    let Some(url) = postgres::database().await else {
        return;
    };
    let lab = Lab { url, _folder: None };
    let sql = lab.sql("SELECT 'winpe' AS boot");
    assert!(plan(&sql, &json!({})).await.is_some());
    lab.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'bootstorm' AND datname = current_database()",
    )
    .await;
    assert!(plan(&sql, &json!({})).await.is_some());
}

#[tokio::test]
async fn a_database_that_says_nothing_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("postgres://mdt@{address}/mdt?sslmode=disable");
    let sql = Sql::new("mdt", &url, QUERY, PATIENCE).unwrap();
    let facts = json!({});
    let accepted = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let hello = stream.read_u32().await;
        assert!(hello.is_ok(), "{hello:?}");
        stream
    };
    let mut stream = tokio::select! {
        answer = sql.ask(&facts) => panic!("{answer:?}"),
        stream = accepted => stream,
    };
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stays open");
}

#[test]
fn what_cannot_be_asked_is_told_at_once() {
    for (url, query, part) in [
        (
            "mysql://db/mdt",
            "SELECT 1",
            "neither sqlite:FILE nor postgres://",
        ),
        ("sqlite:/nowhere", "SELECT :nothing", "`:nothing`"),
        ("postgres://[", "SELECT 1", "its database"),
    ] {
        let Err(e) = Sql::new("mdt", url, query, PATIENCE) else {
            panic!("{url} {query} is taken");
        };
        assert!(e.to_string().contains(part), "{e}");
    }
}
