//! Services, databases and Configuration Manager.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::program::{PATIENCE, PROGRAM};
use crate::{BUDGET, lab};

const MENU: &str = "[[provider]]\ntype = \"menu\"\n";

/// The tables of deployment tools, and the query that a site has for them.
const TABLES: &str = "
    CREATE TABLE ComputerIdentity (ID INTEGER PRIMARY KEY, SerialNumber TEXT, UUID TEXT, MacAddress TEXT);
    CREATE TABLE Settings (Type TEXT, ID INTEGER, OSDComputerName TEXT, Role TEXT, TimeZoneName TEXT);
    INSERT INTO ComputerIdentity VALUES (7, 'S 1', NULL, '52:54:00:99:00:01');
    INSERT INTO Settings VALUES ('C', 7, 'LAB3-17', 'Library', 'W. Europe Standard Time');
";
const QUERY: &str = "
    SELECT 'script:deploy.ipxe' AS boot, s.OSDComputerName, s.Role, s.TimeZoneName
    FROM ComputerIdentity c JOIN Settings s ON s.Type = 'C' AND s.ID = c.ID
    WHERE lower(c.UUID) = :guid OR lower(c.MacAddress) = :mac OR c.SerialNumber = :serial";

fn database() -> String {
    let sql = "type = \"sql\"\nurl = \"sqlite:mdt.db\"\n";
    format!("[[provider]]\n{BUDGET}{sql}query = \"\"\"{QUERY}\"\"\"\n")
}

fn make_database(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let options = options.create_if_missing(true);
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        database.execute(AssertSqlSafe(TABLES)).await.unwrap();
        database.close().await.unwrap();
    });
}

/// A service that gives the same answer to every question; what it was asked comes out.
fn service(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = tell.send(String::from_utf8(body).unwrap());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let length = answer.len();
            let response = format!("{head}Content-Length: {length}\r\n\r\n{answer}");
            reader.get_mut().write_all(response.as_bytes()).unwrap();
        }
    });
    (address, told)
}

#[test]
fn twopxe_08_a_service_is_told_of_a_machine_and_says_what_it_boots() {
    let (address, told) = service(
        r#"{"answer": "serve", "boot": "script:deploy.ipxe", "values": {"seat": "7 left"}}"#,
    );
    let lab = lab(&format!(
        "[[provider]]\ntype = \"webhook\"\n{BUDGET}url = \"http://{address}/boot\"\n{MENU}"
    ));
    lab.write("scripts/deploy.ipxe", "echo seat {{ values.seat }}\n");
    let server = lab.serve();
    let script = server.script("&serial=S%201");
    assert!(script.contains("# bootstorm: deploy.ipxe\n"), "{script}");
    assert!(script.contains("echo seat 7 left\n"), "{script}");
    let facts: serde_json::Value =
        serde_json::from_str(&told.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!(facts["machine"]["mac"], "52:54:00:99:00:01");
    assert_eq!(facts["smbios"]["serial"], "S 1");
}

#[test]
fn twopxe_16_a_database_gives_role_name_and_settings() {
    let lab = lab(&format!("{}{MENU}", database()));
    let script =
        "echo {{ values.osdcomputername }} | {{ values.role }} | {{ values.timezonename }}\n";
    lab.write("scripts/deploy.ipxe", script);
    make_database(&lab.path("mdt.db"));
    let server = lab.serve();
    let script = server.script("");
    assert!(
        script.contains("echo LAB3-17 | Library | W. Europe Standard Time\n"),
        "{script}"
    );
    let by_serial = server.get("/boot?mac=52:54:00:99:00:02&arch=7&asked=1&serial=S%201");
    assert!(by_serial.contains("echo LAB3-17 | "), "{by_serial}");
    let hostile =
        server.get("/boot?mac=52:54:00:99:00:03&arch=7&asked=1&serial=x%27%20OR%20%27%27%3D%27");
    assert!(hostile.contains("# bootstorm: menu\n"), "{hostile}");
}

#[test]
fn twopxe_16_machines_boot_when_the_database_is_gone() {
    let server = lab(&format!("{}{MENU}", database())).serve();
    let script = server.script("");
    assert!(script.contains("# bootstorm: menu\n"), "{script}");
}

#[test]
fn twopxe_12_a_deployment_is_booted_by_name_if_it_is_the_machines() {
    let lab = lab(&format!(
        "[policy.prompt]\nknown = \"opt-in\"\nnew = \"opt-in\"\n\
         [[provider]]\ntype = \"configmgr\"\n{BUDGET}file = \"deployments.json\"\n{MENU}"
    ));
    lab.write("scripts/deploy.ipxe", "echo runs {{ values.deployment }}\n");
    lab.write(
        "deployments.json",
        r#"[{"resource": 16, "mac": "52:54:00:99:00:01", "deployment": "SMS20001",
             "boot": "script:deploy.ipxe"},
            {"resource": 16, "mac": "52:54:00:99:00:01", "deployment": "SMS20009",
             "boot": "script:deploy.ipxe", "required": 1},
            {"resource": 17, "mac": "52:54:00:99:00:02", "deployment": "SMS20005",
             "boot": "script:deploy.ipxe"}]"#,
    );
    let server = lab.serve();
    let usual = server.script("");
    assert!(usual.contains("echo runs SMS20009\n"), "{usual}");
    let asks = |script: &str| script.contains("prompt --timeout");
    let named = server.script("&offerid=SMS20001");
    assert!(named.contains("echo runs SMS20001\n"), "{named}");
    assert!(asks(&named), "{named}");
    let unattended = server.script("&offerid=SMS20001&mandatory=true&nomenu=true");
    assert!(unattended.contains("echo runs SMS20001\n"), "{unattended}");
    assert!(!asks(&unattended), "{unattended}");
    let foreign = server.script("&offerid=SMS20005&mandatory=true");
    assert!(foreign.contains("[provider.not-deployed]"), "{foreign}");
    assert!(!foreign.contains("echo runs"), "{foreign}");
    // Cleared or deployed there: the file is read again.
    lab.write("deployments.json", "[]");
    let later = server.get("/boot?mac=52:54:00:99:00:02&arch=7&asked=1");
    assert!(later.contains("# bootstorm: menu\n"), "{later}");
}

#[test]
fn twopxe_08_those_that_hang_or_fail_leave_it_to_the_next_in_the_configured_order() {
    // Connections are taken by the system, and nobody reads what comes.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let (decides, told) = service(r#"{"answer": "serve", "boot": "script:deploy.ipxe"}"#);
    let (late, _) = service(r#"{"answer": "serve", "boot": "local"}"#);
    let lab = lab(&format!(
        "[[provider]]\ntype = \"webhook\"\nname = \"hangs\"\nbudget = \"1s\"\nurl = \"http://{}/\"\n\
         [[provider]]\ntype = \"exec\"\nprogram = [\"/bin/false\"]\n\
         [[provider]]\ntype = \"webhook\"\nname = \"decides\"\n{BUDGET}url = \"http://{decides}/\"\n\
         [[provider]]\ntype = \"webhook\"\nname = \"late\"\nurl = \"http://{late}/\"\n{MENU}",
        hangs.local_addr().unwrap()
    ));
    lab.write("scripts/deploy.ipxe", "echo decided\n");
    let server = lab.serve();
    let script = server.script("");
    assert!(script.contains("echo decided\n"), "{script}");
    assert!(told.recv_timeout(PATIENCE).is_ok());
}

#[test]
fn a_provider_that_cannot_be_asked_is_named_with_its_place() {
    let bad =
        "[[provider]]\ntype = \"sql\"\nurl = \"sqlite:mdt.db\"\nquery = \"SELECT :serialnumber\"\n";
    let lab = lab(bad);
    let line = lab.line("[[provider]]");
    let place = format!("bootstorm.toml:{line}:1: error[provider.unusable]: ");
    let checked = Command::new(PROGRAM)
        .arg("check")
        .arg(lab.config())
        .output();
    let checked = checked.unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&place) && said.contains("serialnumber"),
        "{said}"
    );
    let started = lab.command(&["serve"]).output().unwrap();
    let said = String::from_utf8(started.stderr).unwrap();
    assert_eq!(started.status.code(), Some(2), "{said}");
    assert!(said.contains(&place), "{said}");
}
