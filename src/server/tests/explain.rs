//! Why a machine is answered what it is: a whole server, its log, and `bootstorm explain` beside it.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const DISCOVER: &str =
    include_str!("../../../tests/fixtures/proxy-bios-e1000-boot/01-dhcp-discover.hex");
const MAC: &str = "52:54:00:99:00:01";

/// A program that tries to write a line of its own into the log.
const HOSTILE: &str = r#"
[[provider]]
type = "exec"
name = "hostile"
stages = "script"
program = ["/bin/sh", "-c", 'cat > /dev/null; echo "{\"answer\":\"ignore\",\"reason\":\"no\\\" mac=00:00:00:00:00:00 decision=\\\"boot\"}"']
"#;

struct Server {
    process: Child,
    addresses: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Listens on loopback alone.
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        let path = folder.path().join("bootstorm.toml");
        fs::write(&path, text("127.0.0.1:0", config)).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.args(["serve", "--workers", "1", "--xdp", "off", "--config"]);
        let command = command.arg(&path).env_remove("RUST_LOG").stderr(log);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines
            .map_while(Result::ok)
            .take_while(|line| line != "ready");
        let addresses: Vec<(String, String)> = lines
            .filter_map(|line| {
                let (name, address) = line.strip_prefix("listening ")?.split_once(' ')?;
                Some((name.to_owned(), address.to_owned()))
            })
            .collect();
        let server = Self {
            process,
            addresses,
            folder,
        };
        fs::write(&path, text(server.address("web"), config)).unwrap();
        server
    }

    fn address(&self, name: &str) -> &str {
        let found = self.addresses.iter().find(|(known, _)| known == name);
        &found.unwrap().1
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("bootstorm.toml")
    }

    /// Lines of the log about decisions.
    fn decisions(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        let lines = log
            .lines()
            .filter(|line| line.contains("bootstorm::decision"));
        lines.map(str::to_owned).collect()
    }

    fn discover(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let digits: String = DISCOVER.lines().filter(|l| !l.starts_with('#')).collect();
        let bytes = digits.as_bytes().chunks(2);
        let packet: Vec<u8> = bytes
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        socket.send_to(&packet, self.address("dhcp")).unwrap();
    }

    fn script(&self, mac: &str) -> String {
        let mut stream = TcpStream::connect(self.address("http")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /boot?mac={mac}&arch=7&asked=1 HTTP/1.1\r\nHost: x\r\n\
             User-Agent: iPXE/1.21\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn explain(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.arg("explain").args(arguments).arg("--config");
        command.arg(self.config()).output().unwrap()
    }

    fn explained(&self, arguments: &[&str]) -> String {
        let output = self.explain(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn text(web: &str, more: &str) -> String {
    let off = ["pxe", "dhcp6", "tftp", "https", "syslog"];
    let off = off.map(|name| format!("{name} = \"off\"\n")).concat();
    format!(
        "images = \"images\"\ndata = \"data\"\ninterfaces = [\"lo\"]\n[listen]\n\
         dhcp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nweb = \"{web}\"\n{off}{more}"
    )
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wds_23_each_decision_is_a_line_that_no_machine_can_break() {
    let server = Server::start(HOSTILE);
    server.discover();
    wait_until("no decision is logged", || !server.decisions().is_empty());
    // What is used again within a minute is the same decision.
    let scripts = [server.script(MAC), server.script(MAC)];
    assert!(scripts[0].contains("provider.ignored"), "{}", scripts[0]);
    wait_until("no second decision is logged", || {
        server.decisions().len() >= 2
    });
    let other = "52:54:00:99:00:02";
    let _ = server.script(other);
    wait_until("no third decision is logged", || {
        server.decisions().len() >= 3
    });
    let lines = server.decisions();
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
    let server = Server::start("[policy]\nanswer = \"known\"\n");
    server.discover();
    wait_until("no decision is logged", || !server.decisions().is_empty());
    let explained = |subject: &str| server.explained(&[subject]);
    wait_until("the request is not in the history", || {
        explained(MAC).contains("\nwhat happened\n")
    });
    let text = explained(MAC);
    for words in [
        "in short   only machines that are known are answered [policy.unknown-machine]\n",
        "\nwhat was decided, newest first\n",
        "    answer     NOT ANSWERED: only machines that are known",
        "providers  none asked\n",
        "\nif it asked now\n",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let json: Value = serde_json::from_str(&server.explained(&[MAC, "-o", "json"])).unwrap();
    assert_eq!(json["from"], "server");
    assert_eq!(
        json["decisions"][0]["outcome"]["code"],
        "policy.unknown-machine"
    );
    let _ = server.script(MAC);
    wait_until("the script is not told by address", || {
        explained("127.0.0.1").contains("asks for its script")
    });
}

#[test]
fn a_machine_that_nobody_has_heard_of_is_explained_with_what_to_look_at() {
    let server = Server::start("");
    let text = server.explained(&["52:54:00:99:00:77"]);
    assert!(
        text.contains("no request of it has reached this server"),
        "{text}"
    );
    assert!(text.contains("bootstorm watch --interface"), "{text}");
    assert!(text.contains("the menu of 0 entries"), "{text}");
    let wrong = server.explain(&["house"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn without_a_server_the_database_tells() {
    let server = Server::start("");
    let _ = server.script(MAC);
    // A server that ends writes down what it knows.
    let config = server.config();
    let database = server.folder.path().join("data/bootstorm.db");
    wait_until("there is no database", || database.exists());
    let mut server = server;
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let output = server.explain(&[MAC, "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["from"], "database", "{}", config.display());
    let note = json["notes"][0].as_str().unwrap();
    assert!(note.starts_with("no running server was asked: "), "{note}");
    let text = server.explained(&[MAC]);
    assert!(text.contains("if it asked now"), "{text}");
}
