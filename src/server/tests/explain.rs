//! Why a machine is answered what it is: a whole server, its log, and `bootstorm explain` beside it.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use program::{Lab, MAC, Server, wait_until};
use serde_json::Value;

/// A program that tries to write a line of its own into the log.
const HOSTILE: &str = r#"
[policy]
budget = "10s"
[[provider]]
type = "exec"
budget = "9s"
name = "hostile"
stages = "script"
program = ["/bin/sh", "-c", 'cat > /dev/null; echo "{\"answer\":\"ignore\",\"reason\":\"no\\\" mac=00:00:00:00:00:00 decision=\\\"boot\"}"']
"#;

fn start(config: &str) -> Server {
    Lab::new(&["dhcp", "http", "web"], config).serve()
}

/// Lines of the log about decisions.
fn decisions(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("bootstorm::decision"));
    lines.map(str::to_owned).collect()
}

fn explained(server: &Server, words: &[&str]) -> String {
    server.told(&[&["explain"], words].concat())
}

#[test]
fn wds_23_each_decision_is_a_line_that_no_machine_can_break() {
    let server = start(HOSTILE);
    server.discover(1);
    wait_until("no decision is logged", || !decisions(&server).is_empty());
    // What is used again within a minute is the same decision.
    let scripts = [server.script(""), server.script("")];
    assert!(scripts[0].contains("provider.ignored"), "{}", scripts[0]);
    wait_until("no second decision is logged", || {
        decisions(&server).len() >= 2
    });
    let other = "52:54:00:99:00:02";
    let _ = server.get(&format!("/boot?mac={other}&arch=7&asked=1"));
    wait_until("no third decision is logged", || {
        decisions(&server).len() >= 3
    });
    let lines = decisions(&server);
    let [dhcp, script, last] = &*lines else {
        panic!("{lines:#?}");
    };
    for word in ["INFO", &format!("mac={MAC}"), "stage=\"dhcp\"", "arch="] {
        assert!(dhcp.contains(word), "{word}: {dhcp}");
    }
    for word in [
        &format!("mac={MAC}"),
        "stage=\"script\"",
        "decision=\"refuse\"",
        "by=\"hostile\"",
        r#"text="hostile: no\" mac=00:00:00:00:00:00 decision=\"boot""#,
    ] {
        assert!(script.contains(word), "{word}: {script}");
    }
    assert!(last.contains(&format!("mac={other}")), "{last}");
}

#[test]
fn a_running_server_explains_a_machine() {
    let server = start("[policy]\nanswer = \"known\"\n");
    server.discover(1);
    wait_until("no decision is logged", || !decisions(&server).is_empty());
    let about = |subject: &str| explained(&server, &[subject]);
    wait_until("the request is not in the history", || {
        about(MAC).contains("\nwhat happened\n")
    });
    let text = about(MAC);
    for words in [
        "in short   only machines that are known are answered [policy.unknown-machine]\n",
        "\nwhat was decided, newest first\n",
        "    answer     NOT ANSWERED: only machines that are known",
        "providers  none asked\n",
        "\nif it asked now\n",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let json: Value = serde_json::from_str(&explained(&server, &[MAC, "-o", "json"])).unwrap();
    assert_eq!(json["from"], "server");
    assert_eq!(
        json["decisions"][0]["outcome"]["code"],
        "policy.unknown-machine"
    );
    let _ = server.script("");
    wait_until("the script is not told by address", || {
        about("127.0.0.1").contains("asks for its script")
    });
}

#[test]
fn a_machine_that_nobody_has_heard_of_is_explained_with_what_to_look_at() {
    let server = start("");
    let text = explained(&server, &["52:54:00:99:00:77"]);
    assert!(
        text.contains("no request of it has reached this server"),
        "{text}"
    );
    assert!(text.contains("bootstorm watch --interface"), "{text}");
    assert!(text.contains("the menu of 0 entries"), "{text}");
    let wrong = server.command(&["explain", "house"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn without_a_server_the_database_tells() {
    let mut server = start("");
    let _ = server.script("");
    // A server that ends writes down what it knows.
    let database = server.lab.path("data/bootstorm.db");
    wait_until("there is no database", || database.exists());
    server.kill();
    let mut explain = server.command(&["explain", MAC, "-o", "json"]);
    let output = explain.output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["from"], "database", "{json}");
    let note = json["notes"][0].as_str().unwrap();
    assert!(note.starts_with("no running server was asked: "), "{note}");
    let text = explained(&server, &[MAC]);
    assert!(text.contains("if it asked now"), "{text}");
}
