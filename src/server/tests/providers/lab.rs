//! The whole server as it runs: its program, a folder of its own, real sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(100);

/// A folder with images, data and a configuration.
pub(crate) struct Lab {
    folder: Arc<tempfile::TempDir>,
}

/// A server that has said that it is ready.
pub(crate) struct Server {
    process: Child,
    pub(crate) http: SocketAddr,
    log: Receiver<String>,
    _folder: Arc<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        fs::create_dir(folder.path().join("scripts")).unwrap();
        Self {
            folder: Arc::new(folder),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a configuration: only the plain boot endpoint listens, and `rest` follows.
    pub(crate) fn configure(&self, rest: &str) {
        let off = ["dhcp", "pxe", "dhcp6", "tftp", "https", "web", "syslog"];
        let off = off.map(|name| format!("{name} = \"off\"\n")).concat();
        let text = format!(
            "images = \"images\"\ndata = \"data\"\n[listen]\nhttp = \"127.0.0.1:0\"\n{off}\
             [boot]\ntemplates = \"scripts\"\n{rest}"
        );
        self.write("bootstorm.toml", &text);
    }

    /// The program with this configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.args(words);
        if words == ["serve"] {
            command.args(["--workers", "1", "--xdp", "off", "--config"]);
        }
        command.arg(self.path("bootstorm.toml"));
        command
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn serve(&self, rest: &str) -> Server {
        self.configure(rest);
        let mut command = self.command(&["serve"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines.map_while(Result::ok);
        let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        let mut http = lines
            .iter()
            .filter_map(|line| line.strip_prefix("listening http "));
        Server {
            process,
            http: http.next().unwrap().parse().unwrap(),
            log,
            _folder: Arc::clone(&self.folder),
        }
    }
}

impl Server {
    /// The script of the first machine, whose request says this besides.
    pub(crate) fn script(&self, says: &str) -> String {
        self.get(&format!("/boot?mac=52:54:00:99:00:01&arch=7&asked=1{says}"))
    }

    pub(crate) fn get(&self, path: &str) -> String {
        ask(self.http, "GET", path, "")
    }

    /// Has the server read its configuration again; its log up to a line with `end`.
    pub(crate) fn reload(&self, end: &str) -> String {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
        self.said(end, || ())
    }

    /// The log up to a line with `end`, which comes when this is done again and again.
    pub(crate) fn said(&self, end: &str, does: impl Fn()) -> String {
        let mut said = String::new();
        let mut silent = Duration::ZERO;
        while !said.contains(end) {
            match self.log.recv_timeout(PAUSE) {
                Ok(line) => said = said + &line + "\n",
                Err(_) => {
                    silent += PAUSE;
                    assert!(silent < PATIENCE, "{end} is never said:\n{said}");
                    does();
                }
            }
        }
        said
    }
}

/// Whether something becomes true, sooner or later.
pub(crate) fn comes_true(is_true: impl Fn() -> bool) -> bool {
    let times = PATIENCE.as_millis() / PAUSE.as_millis();
    (0..times).any(|_| {
        std::thread::sleep(PAUSE);
        is_true()
    })
}

/// What a boot server answers to iPXE.
pub(crate) fn ask(server: SocketAddr, method: &str, path: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: iPXE/1.21\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
