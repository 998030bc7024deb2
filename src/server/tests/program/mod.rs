//! The whole server as it runs: its program, a folder of its own, real sockets on loopback.
#![allow(dead_code, reason = "each test uses another part of it")]

#[path = "../../../../tests/fixtures/load.rs"]
mod load;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bootstorm");

/// Longer than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The machine that asks, where there is one.
pub(crate) const MAC: &str = "52:54:00:99:00:01";

const DISCOVER: &str =
    include_str!("../../../../tests/fixtures/proxy-bios-e1000-boot/01-dhcp-discover.hex");

/// A folder with images, data and a configuration, removed with the last that uses it.
#[derive(Clone)]
pub(crate) struct Lab {
    folder: Arc<tempfile::TempDir>,
}

impl Lab {
    /// Its servers listen as these alone; `rest` follows in the configuration.
    pub(crate) fn new(listeners: &[&str], rest: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("images")).unwrap();
        let lab = Self { folder };
        lab.configure(listeners, rest);
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as editors do: whoever reads it meanwhile gets the old one or the new one.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let (half, path) = (self.path("half"), self.path(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&half, content).unwrap();
        fs::rename(half, path).unwrap();
    }

    pub(crate) fn configure(&self, listeners: &[&str], rest: &str) {
        let mut text =
            "images = \"images\"\ndata = \"data\"\ninterfaces = [\"lo\"]\n[listen]\n".to_owned();
        for name in [
            "dhcp", "pxe", "dhcp6", "tftp", "http", "https", "web", "syslog",
        ] {
            let is_on = listeners.contains(&name);
            let address = if is_on { "127.0.0.1:0" } else { "off" };
            text += &format!("{name} = \"{address}\"\n");
        }
        self.write("bootstorm.toml", text + rest);
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("bootstorm.toml")
    }

    /// The number of a line of the configuration, from 1.
    pub(crate) fn line(&self, wanted: &str) -> usize {
        let text = fs::read_to_string(self.config()).unwrap();
        let line = text.lines().position(|line| line == wanted);
        line.unwrap() + 1
    }

    /// The program with this configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        command(words, &self.config())
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, words: &[&str]) -> Server {
        let serve = ["serve", "--workers", "1", "--xdp", "off"];
        self.start(self.command(&[&serve, words].concat()), |_| ())
    }

    /// Waits until the server that this command runs is ready; does something to it at each
    /// listener that it has by then.
    pub(crate) fn start(&self, mut command: Command, meanwhile: impl Fn(&Server)) -> Server {
        // A pipe that nobody reads would stop the server when it is full.
        let log = File::create(self.path("log")).unwrap();
        let command = command.env_remove("RUST_LOG").stderr(log);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Server {
            process,
            addresses: BTreeMap::new(),
            lab: self.clone(),
        };
        loop {
            let Some(line) = lines.next() else {
                panic!("the server ends before it is ready");
            };
            let line = line.unwrap();
            if line == "ready" {
                return server;
            }
            let (name, address) = line
                .strip_prefix("listening ")
                .unwrap()
                .split_once(' ')
                .unwrap();
            let address = address.parse().unwrap();
            server.addresses.insert(name.to_owned(), address);
            meanwhile(&server);
        }
    }
}

/// A server that has said that it is ready; killed at the end.
pub(crate) struct Server {
    process: Child,
    addresses: BTreeMap<String, SocketAddr>,
    pub(crate) lab: Lab,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

impl Server {
    pub(crate) fn at(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// What it has said so far on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.lab.path("log")).unwrap_or_default()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) fn hang_up(&self) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    }

    /// Has it read its configuration again; what it says then, up to where each of `parts` was.
    pub(crate) fn reload(&self, parts: &[&str]) -> String {
        let before = self.log().len();
        self.hang_up();
        let said = || self.log()[before..].to_owned();
        let what = format!("it never says {parts:?}");
        wait_until(&what, || parts.iter().all(|part| said().contains(part)));
        said()
    }

    /// What another command of the program is, that finds this server.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let text = fs::read_to_string(self.lab.config()).unwrap();
        let web = format!("web = \"{}\"", self.at("web"));
        let text = text.replace("web = \"127.0.0.1:0\"", &web);
        self.lab.write("commands.toml", text);
        command(words, &self.lab.path("commands.toml"))
    }

    /// What such a command prints, which has to succeed.
    pub(crate) fn told(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// iPXE of a machine sends a DISCOVER so many times.
    pub(crate) fn discover(&self, times: usize) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let packet = load::hex_bytes(DISCOVER);
        for _ in 0..times {
            socket.send_to(&packet, self.at("dhcp")).unwrap();
        }
    }

    /// What iPXE gets.
    pub(crate) fn get(&self, path: &str) -> String {
        answer(ask(self.at("http"), &format!("GET {path}"), "", ""))
    }

    /// What iPXE of the machine boots, whose request says this besides.
    pub(crate) fn script(&self, says: &str) -> String {
        self.get(&format!("/boot?mac={MAC}&arch=7&asked=1{says}"))
    }

    /// A page of the web service, for whoever has the token.
    pub(crate) fn web(&self, path: &str) -> String {
        let token = fs::read_to_string(self.lab.path("data/admin.token")).unwrap();
        let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
        let answer = answer(ask(self.at("web"), &format!("GET {path}"), &bearer, ""));
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) fn api(&self, path: &str) -> Value {
        serde_json::from_str(&self.web(path)).unwrap()
    }
}

/// Sends a request as iPXE does, with a form or without; the answer comes out of the stream.
pub(crate) fn ask(server: SocketAddr, request: &str, headers: &str, form: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!(
        "{request} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: iPXE/1.21.1\r\nConnection: close\r\n\
         {headers}"
    );
    if !form.is_empty() {
        let kind = "application/x-www-form-urlencoded";
        let length = form.len();
        text += &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
    }
    text = text + "\r\n" + form;
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// The head of an answer, with the empty line; the body stays in the stream.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// All of an answer.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Everything that a program printed.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn command(words: &[&str], config: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).arg("--config").arg(config);
    command
}
