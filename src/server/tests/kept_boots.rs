//! What machines have booted, over kills of the server and a database that is away: the whole
//! program, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use std::fs;
use std::net::UdpSocket;

use program::{Lab, MAC, PATIENCE, Server, wait_until};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use tokio::runtime::{Builder, Runtime};

fn lab(more: &str) -> Lab {
    let rule = "[[rule]]\nboot = \"menu\"\nrequired = true\n";
    Lab::new(&["http", "web", "syslog"], &format!("{rule}{more}"))
}

fn script(server: &Server) -> String {
    server.get(&format!("/boot?mac={MAC}&arch=7"))
}

/// The machine is known by its address, once the server has taken in what it asked.
fn reports_done(server: &Server) {
    wait_until("it is never done", || {
        server.get("/boot/report?state=finished");
        script(server).contains("[boot.done]")
    });
}

/// Somebody else writes to the database and does not end.
struct Lock {
    runtime: Runtime,
    connection: Option<SqliteConnection>,
}

impl Lock {
    fn of(lab: &Lab) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(lab.path("data/bootstorm.db"));
        let options = options.busy_timeout(PATIENCE);
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            connection
        });
        Self {
            runtime,
            connection: Some(connection),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(connection.close()).unwrap();
        }
    }
}

#[test]
fn boots_outlive_a_database_that_is_away_and_kills_of_the_server() {
    let lab = lab("");
    let server = lab.serve();
    let lock = Lock::of(&lab);
    let first = script(&server);
    assert!(first.contains("# bootstorm: menu\n"), "{first}");
    reports_done(&server);
    let noted = || fs::read_to_string(lab.path("data/spool.jsonl")).unwrap_or_default();
    wait_until("it is never noted", || {
        noted().contains("\"kind\":\"done\"")
    });
    drop(server);
    drop(lock);

    let server = lab.serve();
    assert!(script(&server).contains("[boot.done]"));
    let history = format!("/api/v1/machines/{MAC}/history");
    let told = |server: &Server| {
        let boots = server.api("/api/v1/boots")["boots"].clone();
        (boots, server.api(&history)["events"].clone())
    };
    let (boots, events) = told(&server);
    let boots = boots.as_array().unwrap();
    assert_eq!(boots.len(), 1, "{boots:?}");
    assert_eq!(boots[0]["state"], "finished");
    let events = events.as_array().unwrap();
    for kind in ["script", "done"] {
        let of_boot = |event: &&Value| event["kind"] == kind;
        // The oldest: the disk that followed was no boot.
        let event = events.iter().rev().find(of_boot).unwrap();
        assert_eq!(event["boot"], boots[0]["id"], "{kind}");
    }
    drop(server);

    let server = lab.serve();
    let (again, later) = told(&server);
    assert_eq!(again.as_array().unwrap(), boots);
    // What happened since comes before it.
    let later = later.as_array().unwrap();
    assert_eq!(&later[later.len() - events.len()..], events);
    assert!(script(&server).contains("[boot.done]"));
}

#[test]
fn twopxe_23_what_a_machine_says_is_in_its_history() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = collector.local_addr().unwrap();
    let server = lab(&format!("[events]\nsyslog = \"udp://{to}\"\n")).serve();
    let script = script(&server);
    assert!(script.contains("# bootstorm: menu\n"), "{script}");

    let mut datagram = [0; 2048];
    let length = collector.recv(&mut datagram).unwrap();
    let message = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(message.starts_with("<30>1 "), "{message}");
    for part in [
        " bootstorm ".to_owned(),
        format!(" script [boot@32473 mac=\"{MAC}\" ip=\"127.0.0.1\" boot="),
        "] menu".to_owned(),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    // The script has made the address known before the collector heard of it.
    let machine = UdpSocket::bind("127.0.0.1:0").unwrap();
    for line in [&b"<14>ipxe: net0 is up\n"[..], b"<14 no \x1b[2J syslog"] {
        machine.send_to(line, server.at("syslog")).unwrap();
    }
    let history = format!("/api/v1/machines/{MAC}/history");
    let wanted = ["ipxe: net0 is up", "<14 no \\u{1b}[2J syslog"];
    wait_until("what it says is not in its history", || {
        let history = server.api(&history);
        let events = history["events"].as_array().into_iter().flatten();
        let said = events.filter(|event| event["kind"] == "said");
        let said = said.map(|event| event["text"].as_str().unwrap());
        said.rev().eq(wanted)
    });
    let boots = server.api("/api/v1/boots")["boots"].clone();
    let events = server.api(&history)["events"].clone();
    let of_boot = |event: &Value| event["boot"] == boots[0]["id"];
    assert!(events.as_array().unwrap().iter().all(of_boot), "{events}");
}
