//! What machines have booted, over kills of the server and a database that is away: the whole
//! program, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::runtime::{Builder, Runtime};

const CONFIG: &str = "\
images = \"images\"
data = \"data\"
[listen]
http = \"127.0.0.1:0\"
web = \"127.0.0.1:0\"
dhcp = \"off\"
pxe = \"off\"
dhcp6 = \"off\"
tftp = \"off\"
https = \"off\"
syslog = \"127.0.0.1:0\"
[[rule]]
boot = \"menu\"
required = true
";

const MAC: &str = "52:54:00:99:00:01";

struct Server {
    process: Child,
    http: String,
    web: String,
    syslog: String,
    token: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    fn start_with(folder: &Path, more: &str) -> Self {
        fs::create_dir_all(folder.join("images")).unwrap();
        fs::write(folder.join("bootstorm.toml"), format!("{CONFIG}{more}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.args(["serve", "--workers", "1", "--xdp", "off", "--config"]);
        command.arg(folder.join("bootstorm.toml"));
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines.map_while(Result::ok);
        let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        let at = |name: &str| {
            let mut found = lines.iter().filter_map(|line| line.strip_prefix(name));
            found.next().unwrap().to_owned()
        };
        Self {
            http: at("listening http "),
            web: at("listening web "),
            syslog: at("listening syslog "),
            token: folder.join("data/admin.token"),
            process,
        }
    }

    /// By SIGKILL.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn script(&self) -> String {
        get(&self.http, &format!("/boot?mac={MAC}&arch=7"), "")
    }

    /// The machine is known by its address, once the server has taken in what it asked.
    fn reports_done(&self) {
        let is_done = || {
            get(&self.http, "/boot/report?state=finished", "");
            self.script().contains("[boot.done]")
        };
        assert!(waits(is_done), "it is never done");
    }

    fn api(&self, path: &str) -> serde_json::Value {
        let token = fs::read_to_string(&self.token).unwrap();
        let token = format!("Authorization: Bearer {}\r\n", token.trim());
        let answer = get(&self.web, path, &token);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

fn get(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: iPXE/1.21\r\n{headers}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn waits(is_so: impl Fn() -> bool) -> bool {
    (0..1200).any(|_| {
        sleep(Duration::from_millis(50));
        is_so()
    })
}

/// Somebody else writes to the database and does not end.
struct Lock {
    runtime: Runtime,
    connection: Option<SqliteConnection>,
}

impl Lock {
    fn of(folder: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("sqlite:{}", folder.join("data/bootstorm.db").display());
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            connection
        });
        Self {
            runtime,
            connection: Some(connection),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(connection.close()).unwrap();
        }
    }
}

#[test]
fn boots_outlive_a_database_that_is_away_and_kills_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut server = Server::start(folder);
    let lock = Lock::of(folder);
    let script = server.script();
    assert!(script.contains("# bootstorm: menu\n"), "{script}");
    server.reports_done();
    let noted = || fs::read_to_string(folder.join("data/spool.jsonl")).unwrap();
    assert!(
        waits(|| noted().contains("\"kind\":\"done\"")),
        "{}",
        noted()
    );
    server.kill();
    drop(lock);

    let mut server = Server::start(folder);
    assert!(server.script().contains("[boot.done]"));
    let history = format!("/api/v1/machines/{MAC}/history");
    let told = |server: &Server| {
        let boots = server.api("/api/v1/boots")["boots"].clone();
        (boots, server.api(&history)["events"].clone())
    };
    let (boots, events) = told(&server);
    let boots = boots.as_array().unwrap();
    assert_eq!(boots.len(), 1, "{boots:?}");
    assert_eq!(boots[0]["state"], "finished");
    let events = events.as_array().unwrap();
    for kind in ["script", "done"] {
        let of_boot = |event: &&serde_json::Value| event["kind"] == kind;
        // The oldest: the disk that followed was no boot.
        let event = events.iter().rev().find(of_boot).unwrap();
        assert_eq!(event["boot"], boots[0]["id"], "{kind}");
    }
    server.kill();

    let server = Server::start(folder);
    let (again, later) = told(&server);
    assert_eq!(again.as_array().unwrap(), boots);
    // What happened since comes before it.
    let later = later.as_array().unwrap();
    assert_eq!(&later[later.len() - events.len()..], events);
    assert!(server.script().contains("[boot.done]"));
}

#[test]
fn twopxe_23_what_a_machine_says_is_in_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let to = collector.local_addr().unwrap();
    let more = format!("[events]\nsyslog = \"udp://{to}\"\n");
    let server = Server::start_with(folder.path(), &more);
    let script = server.script();
    assert!(script.contains("# bootstorm: menu\n"), "{script}");

    let mut datagram = [0; 2048];
    let length = collector.recv(&mut datagram).unwrap();
    let message = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(message.starts_with("<30>1 "), "{message}");
    for part in [
        " bootstorm ".to_owned(),
        format!(" script [boot@32473 mac=\"{MAC}\" ip=\"127.0.0.1\" boot="),
        "] menu".to_owned(),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    // The script has made the address known before the collector heard of it.
    let machine = UdpSocket::bind("127.0.0.1:0").unwrap();
    for line in [&b"<14>ipxe: net0 is up\n"[..], b"<14 no \x1b[2J syslog"] {
        machine.send_to(line, &server.syslog).unwrap();
    }
    let history = format!("/api/v1/machines/{MAC}/history");
    let wanted = ["ipxe: net0 is up", "<14 no \\u{1b}[2J syslog"];
    let is_there = || {
        let history = server.api(&history);
        let events = history["events"].as_array().into_iter().flatten();
        let said = events.filter(|event| event["kind"] == "said");
        let mut said: Vec<_> = said
            .map(|e| e["text"].as_str().unwrap().to_owned())
            .collect();
        said.reverse();
        said == wanted
    };
    assert!(waits(is_there));
    let boots = server.api("/api/v1/boots")["boots"].clone();
    let events = server.api(&history)["events"].clone();
    let of_boot = |event: &serde_json::Value| event["boot"] == boots[0]["id"];
    assert!(events.as_array().unwrap().iter().all(of_boot), "{events}");
}
