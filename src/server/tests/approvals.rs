//! Machines that wait until people let them in: the whole program, real sockets, a restart.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server that is stopped and started with the same folder.
struct Server {
    process: Child,
    http: String,
    config: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configured(folder: &tempfile::TempDir) -> PathBuf {
    fs::create_dir(folder.path().join("images")).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = free.local_addr().unwrap();
    drop(free);
    let off = ["dhcp", "pxe", "dhcp6", "tftp", "https", "syslog"];
    let off = off.map(|name| format!("{name} = \"off\"\n")).concat();
    let chain = ["machines", "approval", "menu"];
    let chain = chain.map(|kind| format!("[[provider]]\ntype = \"{kind}\"\n"));
    let text = format!(
        "images = \"images\"\ndata = \"data\"\n[listen]\nhttp = \"127.0.0.1:0\"\nweb = \"{web}\"\n\
         {off}{}",
        chain.concat()
    );
    let config = folder.path().join("bootstorm.toml");
    fs::write(&config, text).unwrap();
    config
}

impl Server {
    fn start(config: PathBuf) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.args(["serve", "--workers", "1", "--xdp", "off", "--config"]);
        let command = command.arg(&config).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines.map_while(Result::ok);
        let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        let http = lines
            .iter()
            .find_map(|line| line.strip_prefix("listening http "));
        Self {
            process,
            http: http.unwrap().to_owned(),
            config,
        }
    }

    fn restarted(self) -> Self {
        let config = self.config.clone();
        drop(self);
        Self::start(config)
    }

    /// What a machine gets that asks as iPXE does.
    fn script(&self, last: u8, more: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let form = format!("mac=52:54:00:99:00:0{last}&serial=A%2BB%201&platform=efi{more}");
        let length = form.len();
        let request = format!(
            "POST /boot HTTP/1.1\r\nHost: x\r\nUser-Agent: iPXE/1.21.1\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\n{form}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn machine(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.arg("machine").args(words);
        let output = command.arg("--config").arg(&self.config).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn code(script: &str) -> String {
    let shown = "The request of this machine: ";
    let line = script.lines().find(|line| line.contains(shown));
    let line = line.unwrap_or_else(|| panic!("{script}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn wds_08_a_machine_waits_over_a_restart_until_people_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(configured(&folder));
    let waits = server.script(1, "");
    let code = code(&waits);
    assert!(waits.contains("\r\nRetry-After: 10\r\n"), "{waits}");
    let server = server.restarted();
    let poll = format!("&asked=1&request={code}");
    assert!(server.script(1, &poll).contains(&code));
    let listed = server.machine(&["approvals"]);
    assert!(
        listed.contains(&code) && listed.contains("A+B 1"),
        "{listed}"
    );

    let written = code.to_lowercase();
    let words = ["--name", "lab3-17", "--tag", "lab", "--boot", "local"];
    let approve = [&["approve", &written][..], &words].concat();
    assert!(server.machine(&approve).contains("approved"));
    let boots = server.script(1, &poll);
    assert!(boots.contains("# bootstorm: local\n"), "{boots}");
    assert!(!boots.contains("Retry-After"), "{boots}");
    let known = server.machine(&["list", "--tag", "lab"]);
    assert!(known.contains("lab3-17"), "{known}");
    let server = server.restarted();
    assert!(server.script(1, "").contains("# bootstorm: local\n"));
}

#[test]
fn wds_10_a_machine_that_was_denied_leaves_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(configured(&folder));
    let code = code(&server.script(1, ""));
    let other = server.script(2, "");
    assert!(!other.contains(&code), "{other}");
    server.machine(&["deny", &code, "--reason", "wrong room"]);
    let server = server.restarted();
    let denied = server.script(1, "");
    assert!(
        denied.contains("[approval.denied]") && denied.contains("wrong room"),
        "{denied}"
    );
    assert!(denied.ends_with("exit 1\n"), "{denied}");
    let csv = server.machine(&["approvals", "--state", "denied", "-o", "csv"]);
    assert!(
        csv.lines().count() == 2 && csv.contains("wrong room"),
        "{csv}"
    );
}
