//! A server that asks programs about machines, as it runs: with what it still may after its start.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Nobody else sleeps that long.
const SLEEP: &str = "98765.4321";

struct Server {
    process: Child,
    http: String,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn asking(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        let config = folder.path().join("bootstorm.toml");
        let off = ["dhcp", "pxe", "dhcp6", "tftp", "https", "web", "syslog"];
        let off = off.map(|name| format!("{name} = \"off\"\n")).concat();
        let text = format!(
            "images = \"images\"\ndata = \"data\"\n[listen]\nhttp = \"127.0.0.1:0\"\n{off}\
             [[provider]]\ntype = \"exec\"\nbudget = \"2s\"\nprogram = {program}\n\
             [[provider]]\ntype = \"menu\"\n"
        );
        fs::write(&config, text).unwrap();
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
            _folder: folder,
        }
    }

    fn script(&self) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let request = "GET /boot?mac=52:54:00:99:00:01&arch=7 HTTP/1.1\r\nHost: x\r\n\
                       User-Agent: iPXE/1.21\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_program_says_what_a_machine_boots() {
    let says =
        r#"["/bin/sh", "-c", 'cat > /dev/null; echo "{\"answer\":\"serve\",\"boot\":\"local\"}"']"#;
    let script = Server::asking(says).script();
    assert!(script.contains("# bootstorm: local\n"), "{script}");
}

#[test]
fn a_program_that_hangs_is_ended_and_the_next_provider_asked() {
    let hangs = format!(r#"["/bin/sh", "-c", "sleep {SLEEP} & wait"]"#);
    let server = Server::asking(&hangs);
    let asked = std::thread::spawn(move || server.script());
    assert!(within_ten_seconds(sleeps), "the program does not run");
    let script = asked.join().unwrap();
    assert!(script.contains("# bootstorm: menu\n"), "{script}");
    // The answer does not wait for their end.
    assert!(within_ten_seconds(|| !sleeps()), "what it started goes on");
}

fn within_ten_seconds(happens: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        sleep(Duration::from_millis(50));
        happens()
    })
}

fn sleeps() -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{SLEEP}\0").as_bytes())
}
