//! The classifier where there is no XDP: the whole server without privileges, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use std::fs;
use std::process::Command;

use nix::unistd::geteuid;
use program::{Lab, MAC, PROGRAM, Server, text, wait_until};

/// The same command, without a single capability even for root.
fn unprivileged(command: Command) -> Command {
    if !geteuid().is_root() {
        return command;
    }
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    without.arg(command.get_program()).args(command.get_args());
    without
}

const LISTENERS: [&str; 2] = ["dhcp", "web"];

fn start() -> Server {
    let lab = Lab::new(&LISTENERS, "");
    let serve = lab.command(&["serve", "--workers", "2"]);
    lab.start(unprivileged(serve), |_| ())
}

/// Packets that ended for this cause.
fn count(server: &Server, cause: &str) -> u64 {
    let classifier = server.api("/api/v1/classifier");
    let counts = classifier["counts"].as_array().unwrap().iter();
    counts
        .filter(|count| count["where"] == "user" && count["class"] == "ipxe")
        .filter(|count| count["cause"] == cause)
        .map(|count| count["packets"].as_u64().unwrap())
        .sum()
}

/// What another command of the program says about this server.
fn said(server: &Server, words: &[&str]) -> String {
    text(&unprivileged(server.command(words)).output().unwrap())
}

#[test]
fn without_privileges_the_server_sorts_packets_itself_and_says_so_once() {
    let server = start();
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|l| l.contains("xdp.")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("INFO") && lines[0].contains("xdp.no-privilege"),
        "{log}"
    );
    let classifier = server.api("/api/v1/classifier");
    let attachment = &classifier["attachments"][0];
    assert_eq!(attachment["interface"], "lo");
    assert_eq!(attachment["mode"], "none");
    assert_eq!(attachment["reason"]["code"], "xdp.no-privilege");
    let doctor = said(&server, &["doctor"]);
    assert!(doctor.contains("classifier: lo none"), "{doctor}");
}

#[test]
fn a_machine_that_asks_too_often_is_refused_counted_and_explained() {
    let server = start();
    server.discover(100);
    wait_until("the packets are never judged", || {
        count(&server, "passed") + count(&server, "machine-rate") >= 100
    });
    assert!(count(&server, "passed") >= 16);
    assert!(count(&server, "machine-rate") >= 60);
    let standing = server.api(&format!("/api/v1/classifier/{MAC}"));
    assert_eq!(standing["refused"], count(&server, "machine-rate"));
    assert_eq!(standing["known"], false);
    let line =
        "bootstorm_classifier_packets_total{where=\"user\",class=\"ipxe\",cause=\"machine-rate\"} ";
    assert!(server.web("/metrics").contains(line));
    wait_until("the drops are never in the history", || {
        let explained = said(&server, &["explain", "--mac", MAC]);
        explained.contains("per-MAC rate [classifier.machine-rate]")
            && explained.contains("packets were refused")
    });
}

#[test]
fn a_ban_and_a_rate_take_effect_at_once() {
    let server = start();
    let reload = |classifier: &str| {
        let lab = &server.lab;
        lab.configure(&LISTENERS, &format!("[classifier]\n{classifier}\n"));
        server.hang_up();
    };
    reload("machine = \"1000/s burst 1000\"\n");
    wait_until("the rate never changes", || {
        server.api("/api/v1/classifier")["limits"]["machine"] == "1000/s burst 1000"
    });
    server.discover(100);
    wait_until("not all pass", || count(&server, "passed") == 100);
    reload(&format!("banned = [\"{MAC}\"]\n"));
    let standing = || server.api(&format!("/api/v1/classifier/{MAC}"));
    wait_until("it is never banned", || standing()["banned"] == true);
    server.discover(3);
    wait_until("it is not refused", || count(&server, "banned-mac") == 3);
    let explained = said(&server, &["explain", "--mac", MAC]);
    let answer = format!("{MAC} is banned (classifier.banned) [classifier.banned-mac]");
    assert!(explained.contains(&answer), "{explained}");
}

#[test]
fn what_was_asked_for_and_cannot_be_had_ends_the_start() {
    let lab = Lab::new(&[], "");
    for mode in ["native", "generic"] {
        let serve = lab.command(&["serve", "--xdp", mode]);
        let output = unprivileged(serve).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("[xdp.no-privilege]") && said.contains("CAP_BPF"),
            "{said}"
        );
        assert!(!said.contains("ready"), "{said}");
    }
}

#[test]
fn wrong_settings_end_with_2_and_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let output = command.args(arguments).current_dir(&folder).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        text(&output)
    };
    assert!(run(&["serve", "--xdp", "sideways"]).contains("native"));
    fs::write(
        folder.path().join("b.toml"),
        "[classifier.classes]\nipxe = \"dorp\"\n",
    )
    .unwrap();
    let said = run(&["serve", "--config", "b.toml"]);
    assert!(
        said.contains("b.toml:2:8: error[config.bad-value]"),
        "{said}"
    );
}
