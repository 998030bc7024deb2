//! Machines that wait until people let them in: the whole program, real sockets, a restart.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use program::{Lab, Server, answer, ask};

fn lab() -> Lab {
    let chain = ["machines", "approval", "menu"];
    let chain = chain.map(|kind| format!("[[provider]]\ntype = \"{kind}\"\n"));
    Lab::new(&["http", "web"], &chain.concat())
}

/// Started again with the same folder.
fn restarted(server: Server) -> Server {
    let lab = server.lab.clone();
    drop(server);
    lab.serve()
}

/// What a machine gets that asks as iPXE does.
fn script(server: &Server, last: u8, more: &str) -> String {
    let form = format!("mac=52:54:00:99:00:0{last}&serial=A%2BB%201&platform=efi{more}");
    answer(ask(server.at("http"), "POST /boot", "", &form))
}

fn machine(server: &Server, words: &[&str]) -> String {
    server.told(&[&["machine"], words].concat())
}

fn code(script: &str) -> String {
    let shown = "The request of this machine: ";
    let line = script.lines().find(|line| line.contains(shown));
    let line = line.unwrap_or_else(|| panic!("{script}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn wds_08_a_machine_waits_over_a_restart_until_people_answer() {
    let server = lab().serve();
    let waits = script(&server, 1, "");
    let code = code(&waits);
    assert!(waits.contains("\r\nRetry-After: 10\r\n"), "{waits}");
    let server = restarted(server);
    let poll = format!("&asked=1&request={code}");
    assert!(script(&server, 1, &poll).contains(&code));
    let listed = machine(&server, &["approvals"]);
    assert!(
        listed.contains(&code) && listed.contains("A+B 1"),
        "{listed}"
    );

    let written = code.to_lowercase();
    let words = ["--name", "lab3-17", "--tag", "lab", "--boot", "local"];
    let approve = [&["approve", &written][..], &words].concat();
    assert!(machine(&server, &approve).contains("approved"));
    let boots = script(&server, 1, &poll);
    assert!(boots.contains("# bootstorm: local\n"), "{boots}");
    assert!(!boots.contains("Retry-After"), "{boots}");
    let known = machine(&server, &["list", "--tag", "lab"]);
    assert!(known.contains("lab3-17"), "{known}");
    let server = restarted(server);
    assert!(script(&server, 1, "").contains("# bootstorm: local\n"));
}

#[test]
fn wds_10_a_machine_that_was_denied_leaves_also_after_a_restart() {
    let server = lab().serve();
    let code = code(&script(&server, 1, ""));
    let other = script(&server, 2, "");
    assert!(!other.contains(&code), "{other}");
    machine(&server, &["deny", &code, "--reason", "wrong room"]);
    let server = restarted(server);
    let denied = script(&server, 1, "");
    assert!(
        denied.contains("[approval.denied]") && denied.contains("wrong room"),
        "{denied}"
    );
    assert!(denied.ends_with("exit 1\n"), "{denied}");
    let csv = machine(&server, &["approvals", "--state", "denied", "-o", "csv"]);
    assert!(
        csv.lines().count() == 2 && csv.contains("wrong room"),
        "{csv}"
    );
}
