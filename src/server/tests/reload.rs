//! A configuration that is read again while machines are fed: the whole server, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);
/// More than socket buffers hold.
const LENGTH: usize = 48 << 20;
const CONFIG: &str = "images = \"images\"\ndata = \"data\"\n[boot]\nmenu_timeout = 7\n";

struct Server {
    process: Child,
    http: SocketAddr,
    config: PathBuf,
    log: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        fs::create_dir(&images).unwrap();
        fs::write(images.join("disk.img"), vec![b'o'; LENGTH]).unwrap();
        let config = folder.path().join("bootstorm.toml");
        fs::write(&config, CONFIG).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command
            .args(["serve", "--workers", "1", "--config"])
            .arg(&config);
        command.args(["--listen", "http=127.0.0.1:0"]);
        for off in ["dhcp", "pxe", "dhcp6", "tftp", "https", "web", "syslog"] {
            command.args(["--listen", &format!("{off}=off")]);
        }
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut http = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening http ") {
                http = address.parse().ok();
            }
            if line == "ready" {
                break;
            }
        }
        let (sender, log) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            process,
            http: http.unwrap(),
            config,
            log,
            _folder: folder,
        }
    }

    /// Gives the server another configuration to read; returns its log up to where it holds
    /// each of `parts`.
    fn reload(&self, text: &str, parts: &[&str]) -> String {
        let whole = self.config.with_extension("new");
        fs::write(&whole, text).unwrap();
        fs::rename(&whole, &self.config).unwrap();
        let pid = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
        let mut said = String::new();
        while !parts.iter().all(|part| said.contains(part)) {
            said += &self.log.recv_timeout(PATIENCE).unwrap();
            said.push('\n');
        }
        said
    }

    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn script(&self) -> String {
        let mut text = String::new();
        let path = "/boot?mac=52:54:00:99:00:01&arch=7&asked=1";
        self.ask(path).read_to_string(&mut text).unwrap();
        text
    }
}

#[test]
fn twopxe_31_a_bad_file_is_refused_with_its_line_and_transfers_go_on() {
    let server = Server::start();
    let end = Instant::now() + PATIENCE;
    let mut begun = loop {
        let mut stream = server.ask("/images/disk.img");
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        if head == *b"HTTP/1.1 200" {
            break stream;
        }
        assert!(Instant::now() < end, "the image is never served");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        server.script().contains("--timeout 7000"),
        "{}",
        server.script()
    );

    let bad = CONFIG.replace("menu_timeout = 7", "menu_timout = 9");
    let place = "bootstorm.toml:4:1: error[config.unknown-key]";
    server.reload(&bad, &["the old configuration stays", place]);
    assert!(server.script().contains("--timeout 7000"));

    let good = CONFIG.replace("menu_timeout = 7", "menu_timeout = 9");
    server.reload(&good, &["configuration read again"]);
    assert!(
        server.script().contains("--timeout 9000"),
        "{}",
        server.script()
    );

    let mut rest = Vec::new();
    begun.read_to_end(&mut rest).unwrap();
    let body = rest.iter().filter(|byte| **byte == b'o').count();
    assert!(body >= LENGTH, "{body} of {LENGTH} bytes came");
}
