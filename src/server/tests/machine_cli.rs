//! `bootstorm machine` and a server that runs: the whole program twice, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

struct Server {
    process: Child,
    config: PathBuf,
    folder: tempfile::TempDir,
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
        fs::create_dir(folder.path().join("images")).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = free.local_addr().unwrap();
        drop(free);
        let config = folder.path().join("bootstorm.toml");
        let off = ["dhcp", "pxe", "dhcp6", "tftp", "http", "https", "syslog"];
        let off = off.map(|name| format!("{name} = \"off\"\n")).concat();
        fs::write(
            &config,
            format!("images = \"images\"\ndata = \"data\"\n[listen]\nweb = \"{web}\"\n{off}"),
        )
        .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command
            .args(["serve", "--workers", "1", "--config"])
            .arg(&config);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(
            lines.any(|line| line == "ready"),
            "the server does not start"
        );
        Self {
            process,
            config,
            folder,
        }
    }

    fn machine(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command
            .arg("machine")
            .args(words)
            .arg("--config")
            .arg(&self.config);
        command.output().unwrap()
    }

    fn said(&self, words: &[&str]) -> String {
        let output = self.machine(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and what was complained of.
    fn refused(&self, words: &[&str]) -> (i32, String) {
        let output = self.machine(words);
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), error)
    }
}

#[test]
fn machines_are_imported_listed_ordered_and_forgotten() {
    let server = Server::start();
    let list = server.folder.path().join("machines.csv");
    let text = "mac,guid,name,serial,asset,boot,once,tags,value.role\n\
                52:54:00:99:00:01,,lab-1,\"a,b\",,local,,desk new,x\n\
                52:54:00:99:00:02,,lab-2,,,,,desk,\n";
    fs::write(&list, text).unwrap();
    let list = list.to_str().unwrap();
    assert_eq!(server.said(&["import", list]), "2 machines\n");
    assert_eq!(server.said(&["list", "-o", "csv"]), text);
    let table = server.said(&["list", "--tag", "new"]);
    assert!(
        table.contains("lab-1") && !table.contains("lab-2"),
        "{table}"
    );

    server.said(&["reimage", "lab-2", "--boot", "menu"]);
    let once = server.said(&["list", "--state", "once", "-o", "json"]);
    assert!(once.contains("\"boot\": \"menu\""), "{once}");
    server.said(&["reimage", "lab-2", "--cancel"]);
    assert_eq!(
        server.said(&["list", "--state", "once", "-o", "json"]),
        "[]\n"
    );

    assert!(
        server
            .said(&["hold", "52-54-00-99-00-01"])
            .contains("(held)")
    );
    assert!(!server.said(&["release", "lab-1"]).contains("(held)"));
    assert!(
        server
            .said(&["tag", "lab-1", "a b", "c"])
            .contains("a b,c,desk")
    );
    assert!(
        server
            .said(&["set", "lab-1", "--boot=", "--name", "x"])
            .contains(" x ")
    );
    server.said(&["remove", "lab-2"]);
    let (code, error) = server.refused(&["show", "lab-2"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("[web."), "{error}");

    fs::write(list, "mac,boot\nnonsense,local\n").unwrap();
    let (code, error) = server.refused(&["import", list]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("line 2") && error.contains("web.bad-list"),
        "{error}"
    );
    let (code, error) = server.refused(&["add", "--name", "nobody"]);
    assert_eq!(code, 2, "{error}");
}
