//! The classifier where there is no XDP: the whole server without privileges, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const DISCOVER: &str =
    include_str!("../../../tests/fixtures/proxy-bios-e1000-boot/01-dhcp-discover.hex");
const MAC: &str = "52:54:00:99:00:01";

/// The program, without a single capability even for root.
fn bootstorm() -> Command {
    let program = env!("CARGO_BIN_EXE_bootstorm");
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", program]);
    command
}

struct Server {
    process: Child,
    dhcp: SocketAddr,
    web: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Answers on loopback alone.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let web = free.local_addr().unwrap();
        drop(free);
        write_config(folder.path(), web, "");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = bootstorm();
        command.args(["serve", "--workers", "2", "--config"]);
        command.arg(folder.path().join("bootstorm.toml"));
        command.stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().unwrap();
        let mut dhcp = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening dhcp ") {
                dhcp = address.parse().ok();
            }
            if line == "ready" {
                break;
            }
        }
        Self {
            process,
            dhcp: dhcp.unwrap(),
            web,
            folder,
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("bootstorm.toml")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Sends a DISCOVER of iPXE so many times.
    fn discover(&self, times: usize) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let digits: String = DISCOVER.lines().filter(|l| !l.starts_with('#')).collect();
        let bytes = digits.as_bytes().chunks(2);
        let packet: Vec<u8> = bytes
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        for _ in 0..times {
            socket.send_to(&packet, self.dhcp).unwrap();
        }
    }

    fn get(&self, path: &str) -> String {
        let token = fs::read_to_string(self.folder.path().join("data/admin.token")).unwrap();
        let mut stream = TcpStream::connect(self.web).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET {path} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n",
            token.trim()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }

    /// Packets that ended for this cause.
    fn count(&self, cause: &str) -> u64 {
        let classifier = self.json("/api/v1/classifier");
        let counts = classifier["counts"].as_array().unwrap().iter();
        counts
            .filter(|count| count["where"] == "user" && count["class"] == "ipxe")
            .filter(|count| count["cause"] == cause)
            .map(|count| count["packets"].as_u64().unwrap())
            .sum()
    }

    /// What another command of the program says about this server.
    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = bootstorm();
        command.args(arguments).arg("--config").arg(self.config());
        text(&command.output().unwrap())
    }
}

fn write_config(folder: &Path, web: SocketAddr, classifier: &str) {
    let text = format!(
        "images = \"images\"\ndata = \"data\"\ninterfaces = [\"lo\"]\n\
         [listen]\ndhcp = \"127.0.0.1:0\"\nweb = \"{web}\"\n\
         pxe = \"off\"\ndhcp6 = \"off\"\ntftp = \"off\"\nhttp = \"off\"\nhttps = \"off\"\nsyslog = \"off\"\n\
         [classifier]\n{classifier}\n"
    );
    fs::write(folder.join("bootstorm.toml"), text).unwrap();
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_privileges_the_server_sorts_packets_itself_and_says_so_once() {
    let server = Server::start();
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|l| l.contains("xdp.")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("INFO") && lines[0].contains("xdp.no-privilege"),
        "{log}"
    );
    let classifier = server.json("/api/v1/classifier");
    let attachment = &classifier["attachments"][0];
    assert_eq!(attachment["interface"], "lo");
    assert_eq!(attachment["mode"], "none");
    assert_eq!(attachment["reason"]["code"], "xdp.no-privilege");
    let doctor = server.ask(&["doctor"]);
    assert!(doctor.contains("classifier: lo none"), "{doctor}");
}

#[test]
fn a_machine_that_asks_too_often_is_refused_counted_and_explained() {
    let server = Server::start();
    server.discover(100);
    wait_until("the packets are never judged", || {
        server.count("passed") + server.count("machine-rate") >= 100
    });
    assert!(server.count("passed") >= 16);
    assert!(server.count("machine-rate") >= 60);
    let standing = server.json(&format!("/api/v1/classifier/{MAC}"));
    assert_eq!(standing["refused"], server.count("machine-rate"));
    assert_eq!(standing["known"], false);
    let line =
        "bootstorm_classifier_packets_total{where=\"user\",class=\"ipxe\",cause=\"machine-rate\"} ";
    assert!(server.get("/metrics").contains(line));
    wait_until("the drops are never in the history", || {
        let explained = server.ask(&["explain", "--mac", MAC]);
        explained.contains("per-MAC rate [classifier.machine-rate]")
            && explained.contains("packets were refused")
    });
}

#[test]
fn a_ban_and_a_rate_take_effect_at_once() {
    let server = Server::start();
    let reload = |classifier: &str| {
        write_config(server.folder.path(), server.web, classifier);
        let pid = Pid::from_raw(server.process.id().try_into().unwrap());
        kill(pid, Signal::SIGHUP).unwrap();
    };
    reload("machine = \"1000/s burst 1000\"\n");
    wait_until("the rate never changes", || {
        server.json("/api/v1/classifier")["limits"]["machine"] == "1000/s burst 1000"
    });
    server.discover(100);
    wait_until("not all pass", || server.count("passed") == 100);
    reload(&format!("banned = [\"{MAC}\"]\n"));
    let standing = || server.json(&format!("/api/v1/classifier/{MAC}"));
    wait_until("it is never banned", || standing()["banned"] == true);
    server.discover(3);
    wait_until("it is not refused", || server.count("banned-mac") == 3);
    let explained = server.ask(&["explain", "--mac", MAC]);
    let answer = format!("{MAC} is banned (classifier.banned) [classifier.banned-mac]");
    assert!(explained.contains(&answer), "{explained}");
}

#[test]
fn what_was_asked_for_and_cannot_be_had_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["native", "generic"] {
        let mut command = bootstorm();
        command.args(["serve", "--interface", "lo", "--xdp", mode]);
        for off in [
            "dhcp", "pxe", "dhcp6", "tftp", "http", "https", "web", "syslog",
        ] {
            command.args(["--listen", &format!("{off}=off")]);
        }
        let output = command.current_dir(&folder).output().unwrap();
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
        let mut command = bootstorm();
        let output = command
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
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
