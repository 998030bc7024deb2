//! The client for Windows PE, under Wine, against the whole program: `cargo xtask test winpe` builds
//! the client and runs this.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;
#[path = "../../../tests/fixtures/wimlib.rs"]
mod wimlib;

use std::fs;
use std::io::{Read, Seek};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname};
use nix::sys::socket::{setsockopt, socket, sockopt};
use program::{Lab, MAC, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The machine that boots the image.
const OTHER_MAC: &str = "52:54:00:99:00:02";
const WINE: &str = "/usr/lib/wine/wine64";
const WINESERVER: &str = "/usr/lib/wine/wineserver";

/// A server with HTTPS.
struct Server {
    server: program::Server,
    _port: OwnedFd,
}

impl Server {
    fn start() -> Self {
        let rules = format!(
            "[boot]\ntemplates = \"templates\"\n[[machine]]\nmac = \"{OTHER_MAC}\"\nboot = \"winpe\"\n\
             [[rule]]\nboot = \"script:winpe.ipxe\"\n"
        );
        let lab = Lab::new(&["http", "web"], &rules);
        images(&lab.path("images"));
        lab.write("templates/winpe.ipxe", "chain {{ urls.report }}\n");
        // What is made for machines names the port of the configuration.
        let (port, address) = port();
        let server = lab.serve_with(&["--listen", &format!("https={address}")]);
        Self {
            server,
            _port: port,
        }
    }

    fn at(&self, listener: &str) -> SocketAddr {
        self.server.at(listener)
    }

    fn get(&self, path: &str) -> String {
        let answer = self.server.get(path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        body.to_owned()
    }

    /// What iPXE of a machine gets.
    fn script(&self, mac: &str) -> String {
        let path = format!("/boot?mac={mac}&buildarch=x86_64&platform=efi&asked=1");
        self.get(&path)
    }

    /// The token of a boot of the machine.
    fn token(&self) -> String {
        let script = self.script(MAC);
        let (_, token) = script.split_once("token=").unwrap();
        token.chars().take_while(char::is_ascii_hexdigit).collect()
    }

    /// The machine, as the API shows it once it is so: the table takes events in a moment later.
    fn machine(&self, mac: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut machine = Value::Null;
        wait_until(mac, || {
            machine = self.shown(mac);
            is_so(&machine)
        });
        machine
    }

    fn shown(&self, mac: &str) -> Value {
        self.server.api(&format!("/api/v1/clients/{mac}"))
    }

    /// What a machine finds beside its client.
    fn instructions(&self) -> Value {
        json!({
            "version": 1,
            "server": format!("https://{}", self.at("https")),
            "token": self.token(),
            "mac": MAC,
            // The server knows no such entry: what the machine has is what holds.
            "entry": "elsewhere",
            "ca": self.get("/ca.crt"),
            "patience": 60,
        })
    }
}

/// A free port that nobody else gets, and that the server may share: bound, but not listening.
fn port() -> (OwnedFd, SockaddrIn) {
    let kind = SockType::Stream;
    let held = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&held, sockopt::ReuseAddr, &true).unwrap();
    setsockopt(&held, sockopt::ReusePort, &true).unwrap();
    bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let address = getsockname(held.as_raw_fd()).unwrap();
    (held, address)
}

/// A Windows PE as far as a server looks into it, whose client starts something.
fn images(folder: &Path) {
    let boot = folder.join("boot");
    fs::create_dir_all(&boot).unwrap();
    for name in ["wimboot", "bootstorm-winpe.exe"] {
        fs::write(boot.join(name), "stands in").unwrap();
    }
    let tree = folder.join("winpe");
    fs::create_dir(&tree).unwrap();
    fs::write(
        tree.join("image.toml"),
        "[winpe]\nclient = true\nstart = [\"echo %BOOTSTORM_ENTRY%>told.txt\"]\n",
    )
    .unwrap();
    let wim = folder.join("winpe.wim");
    wimlib::pack(&boot, &wim, "WinPE", &["--boot"]);
    wimlib::imagex(&[&"info", &wim, &"1", &"--image-property=WINDOWS/ARCH=9"]);
}

/// Kinds and texts of a machine's steps that are its own reports, and the lines that it said.
fn steps(machine: &Value) -> (Vec<(String, String)>, Vec<String>) {
    let word = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    let all = machine["timeline"].as_array().unwrap();
    let reports = [
        "client-started",
        "network-up",
        "image-applied",
        "done",
        "failed",
    ];
    let reported = all
        .iter()
        .map(|step| (word(step, "kind"), word(step, "text")))
        .filter(|(kind, _)| reports.contains(&kind.as_str()))
        .collect();
    let said = all.iter().filter(|step| step["kind"] == "said");
    (reported, said.map(|step| word(step, "text")).collect())
}

/// What Windows calls a certificate in its stores.
fn thumbprint(pem: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha1", "-in"]);
    let said = openssl.arg(pem).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let (_, digits) = said.trim().split_once('=').unwrap();
    digits.replace(':', "")
}

/// Windows, as far as Wine is one.
struct Windows(TempDir);

impl Drop for Windows {
    fn drop(&mut self) {
        let mut end = Command::new(WINESERVER);
        end.args(["--kill"]).env("WINEPREFIX", self.0.path());
        let _ = end.status();
    }
}

impl Windows {
    /// It is set up when the first program runs, and stays up between one and the next.
    fn new() -> Self {
        let windows = Self(tempfile::tempdir().unwrap());
        let mut stay = Command::new(WINESERVER);
        stay.arg("--persistent").env("WINEPREFIX", windows.0.path());
        assert!(stay.status().unwrap().success());
        windows
    }

    fn run(&self, program: &Path, words: &[&str], folder: &Path) -> (Option<i32>, String) {
        // What Windows runs in the background keeps what it was given: a pipe would not end.
        let mut said = tempfile::tempfile().unwrap();
        let out = || Stdio::from(said.try_clone().unwrap());
        let mut process = Command::new(WINE)
            .arg(program)
            .args(words)
            .current_dir(folder)
            .env("WINEPREFIX", self.0.path())
            .env("WINEDEBUG", "-all")
            // Neither .NET nor a browser is asked for, and no icons are made.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=")
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .stdout(out())
            .stderr(out())
            .spawn()
            .unwrap();
        let status = ended(&mut process);
        said.rewind().unwrap();
        let mut text = Vec::new();
        said.read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = status.unwrap_or_else(|| panic!("{words:?} does not end: {text}"));
        (status.code(), text)
    }
}

/// How it ended; whatever takes longer than anything here can is ended.
fn ended(process: &mut Child) -> Option<ExitStatus> {
    for _ in 0..3000 {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(100));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    None
}

/// A folder as X:\Windows\System32 is: the client and its instructions.
struct System32<'a> {
    windows: &'a Windows,
    folder: TempDir,
}

impl<'a> System32<'a> {
    fn new(windows: &'a Windows, instructions: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = std::env::var_os("BOOTSTORM_WINPE").map(PathBuf::from);
        let stage = stage.unwrap();
        for name in ["bootstorm-winpe.exe", "bcryptprimitives.dll", "wpeinit.exe"] {
            fs::copy(stage.join(name), folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("bootstorm.json"), instructions).unwrap();
        Self { windows, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let client = self.path("bootstorm-winpe.exe");
        self.windows.run(&client, words, self.folder.path())
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// One test, so that one Windows does: setting it up takes longer than all the rest.
#[test]
#[ignore = "cargo xtask test winpe builds the client that this runs"]
fn the_client_goes_through_its_phases_or_says_what_keeps_it() {
    let server = Server::start();
    let windows = Windows::new();
    usage_is_told(&windows, &server);
    every_phase_arrives(&windows, &server);
    what_the_server_injects_is_run(&windows, &server);
    a_program_that_fails_is_reported_with_the_log(&windows, &server);
    a_token_of_nobody_is_refused(&windows, &server);
    another_ca_is_not_trusted(&windows, &server);
    instructions_that_cannot_be_used_are_named(&windows);
    a_server_that_is_away_is_given_up(&windows, &server);
}

fn usage_is_told(windows: &Windows, server: &Server) {
    let system = System32::new(windows, &server.instructions().to_string());
    let (code, said) = system.run(&["/version"]);
    assert_eq!(code, Some(0), "{said}");
    let version = format!("bootstorm-winpe {}", env!("CARGO_PKG_VERSION"));
    assert!(said.contains(&version), "{said}");
    assert!(system.run(&["/?"]).1.contains("report PHASE"));
    let (code, said) = system.run(&["/wipe"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("/wipe"), "{said}");
}

fn every_phase_arrives(windows: &Windows, server: &Server) {
    let mut instructions = server.instructions();
    instructions["wpeinit"] = true.into();
    instructions["values"] = json!({"role": "lab desk"});
    instructions["facts"] = json!({"serial": "A&B"});
    // The clock of Windows PE may be anything: what counts is what the server has said.
    instructions["time"] = jiff::Timestamp::now().to_string().into();
    instructions["start"] = json!([
        "echo %BOOTSTORM_ROLE%, %BOOTSTORM_FACT_SERIAL%>told.txt",
        "call bootstorm-variables.cmd",
        "bootstorm-winpe.exe report image-applied disk 0, 40 GB",
    ]);
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(0), "{said}");
    let machine = server.machine(MAC, |machine| machine["phase"] == "finished");
    let wanted = [
        ("client-started", ""),
        ("network-up", ""),
        ("image-applied", "disk 0, 40 GB"),
        ("done", ""),
    ];
    let wanted = wanted.map(|(kind, text)| (kind.to_owned(), text.to_owned()));
    assert_eq!(steps(&machine).0, wanted, "{said}");
    assert_eq!(system.read("told.txt").trim(), "lab desk, A_B");
    assert!(system.path("wpeinit.ran").exists());
    let log = system.read("bootstorm-winpe.log");
    assert!(log.contains("start: echo"), "{log}");
    let token = instructions["token"].as_str().unwrap();
    assert!(!log.contains(token) && !said.contains(token), "{log}");
    let ca = system.path("ca.pem");
    fs::write(&ca, instructions["ca"].as_str().unwrap()).unwrap();
    let roots = r"HKLM\Software\Microsoft\SystemCertificates\Root\Certificates";
    let (_, listed) = windows.run(Path::new("reg.exe"), &["query", roots], Path::new("/"));
    assert!(listed.contains(&thumbprint(&ca)), "{listed}");
}

/// The whole way: what the script of the machine injects, then the client as winpeshl.ini runs it.
fn what_the_server_injects_is_run(windows: &Windows, server: &Server) {
    let script = server.script(OTHER_MAC);
    let injected = |name: &str| {
        let line = format!("initrd --name {name} ");
        let line = script.lines().find_map(|it| it.trim().strip_prefix(&line));
        let line = line.unwrap_or_else(|| panic!("{name}: {script}"));
        let url = line.split(' ').next().unwrap();
        let path = url.strip_prefix(&format!("http://{}", server.at("http")));
        server.get(path.unwrap())
    };
    assert!(injected("winpeshl.ini").contains("bootstorm-winpe.exe"));
    assert_eq!(injected("bootstorm-winpe.exe"), "stands in");
    // What is to be started is fetched once more, and that counts.
    let mut instructions: Value = serde_json::from_str(&injected("bootstorm.json")).unwrap();
    instructions["start"] = json!(["echo old>old.txt"]);
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(system.read("told.txt").trim(), "winpe");
    assert!(!system.path("old.txt").exists(), "{said}");
    assert!(system.path("wpeinit.ran").exists());
    let machine = server.machine(OTHER_MAC, |machine| machine["phase"] == "finished");
    let kinds: Vec<String> = steps(&machine).0.into_iter().map(|step| step.0).collect();
    assert_eq!(kinds, ["client-started", "network-up", "done"]);
}

fn a_program_that_fails_is_reported_with_the_log(windows: &Windows, server: &Server) {
    let mut instructions = server.instructions();
    instructions["start"] = json!(["exit 7", "echo never>never.txt"]);
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(1), "{said}");
    let is_told = |machine: &Value| {
        let lines = steps(machine).1;
        lines.iter().any(|line| line.contains("start: exit 7"))
    };
    let machine = server.machine(MAC, is_told);
    let (reported, _) = steps(&machine);
    let told = "exit 7 ended with exit code 7";
    assert_eq!(reported.last().unwrap().1, told);
    assert_eq!(machine["phase"], "failed");
    assert_eq!(machine["reason"]["code"], "boot.reported-failure");
    assert!(!system.path("never.txt").exists());
}

fn a_token_of_nobody_is_refused(windows: &Windows, server: &Server) {
    let mut instructions = server.instructions();
    instructions["token"] = "00".repeat(44).into();
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("token.damaged"), "{said}");
    let (code, said) = system.run(&["report", "done"]);
    assert_eq!(code, Some(3), "{said}");
    // Its token, made just before, was the last thing that the server heard of this machine.
    assert_eq!(server.shown(MAC)["phase"], "script");
}

fn another_ca_is_not_trusted(windows: &Windows, server: &Server) {
    let other = Server::start();
    let mut instructions = server.instructions();
    instructions["ca"] = other.get("/ca.crt").into();
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("not the server that bootstorm.json means"),
        "{said}"
    );
}

fn instructions_that_cannot_be_used_are_named(windows: &Windows) {
    let system = System32::new(windows, "{\"version\": 1,\n \"server\": }");
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("bootstorm.json") && said.contains("line 2"),
        "{said}"
    );
    fs::remove_file(system.path("bootstorm.json")).unwrap();
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("bootstorm.json"), "{said}");
}

fn a_server_that_is_away_is_given_up(windows: &Windows, server: &Server) {
    let mut instructions = server.instructions();
    // Nobody else gets the port, and whoever comes is sent away.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    instructions["server"] = format!("https://{address}").into();
    instructions["patience"] = 2.into();
    let system = System32::new(windows, &instructions.to_string());
    let (code, said) = system.run(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&address.to_string()), "{said}");
    let log = system.read("bootstorm-winpe.log");
    assert!(log.contains("cannot be reached"), "{log}");
}
