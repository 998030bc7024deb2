//! Empty databases of both kinds.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::{Hardware, Location, Sighting, Store};

/// An empty database.
pub(super) struct Lab {
    pub(super) location: Location,
    _folder: Option<TempDir>,
}

impl Lab {
    pub(super) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            location: Location::in_folder(folder.path()),
            _folder: Some(folder),
        }
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.location).await.unwrap()
    }
}

/// Runs a test with an empty database of each kind. Without PostgreSQL its half is skipped, but not
/// in CI.
pub(super) async fn on_each(test: impl AsyncFn(Lab)) {
    test(Lab::file()).await;
    let Some(server) = server() else {
        let is_needed = std::env::var_os("CI").is_some();
        assert!(!is_needed, "PostgreSQL is missing: apt install postgresql");
        println!("skipped with PostgreSQL: `initdb` is not in /usr/lib/postgresql/*/bin");
        return;
    };
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bootstorm_test_{}_{number}", std::process::id());
    install_default_drivers();
    let mut admin = connect(server).await;
    let sql = format!("CREATE DATABASE {name}");
    admin.execute(AssertSqlSafe(sql)).await.unwrap();
    let (base, rest) = server.rsplit_once('/').unwrap();
    let settings = rest.split_once('?').map_or("", |(_, settings)| settings);
    let lab = Lab {
        location: format!("{base}/{name}?{settings}").parse().unwrap(),
        _folder: None,
    };
    test(lab).await;
    let sql = format!("DROP DATABASE {name} WITH (FORCE)");
    admin.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// Waits until the server is ready.
async fn connect(server: &str) -> AnyConnection {
    for _ in 0..600 {
        match AnyConnection::connect(server).await {
            Ok(connection) => return connection,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("PostgreSQL does not start")
}

/// A database of the server that tests make their own in.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Option<Child>)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match std::env::var("BOOTSTORM_TEST_POSTGRES") {
        Ok(url) => Some((url, None)),
        Err(_) => start().map(|(url, child)| (url, Some(child))),
    });
    server.as_ref().map(|(url, _)| url.as_str())
}

/// Lives as long as its input stays open, which is as long as the tests run.
const SERVER: &str = r#"
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$0/initdb" -D data -A trust -U bootstorm -E UTF8 -N >log 2>&1
"$0/postgres" -D data -p "$1" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c max_connections=300 >>log 2>&1 &
read -r line || true
kill -INT $!
wait $! || true
"#;

fn start() -> Option<(String, Child)> {
    let programs = programs()?;
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();
    // PostgreSQL refuses to run as root.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.args(["--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command
        .arg("-c")
        .arg(SERVER)
        .arg(programs)
        .arg(port.to_string());
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("postgres://bootstorm@127.0.0.1:{port}/postgres?sslmode=disable");
    Some((url, child))
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.flatten().map(|version| version.path().join("bin"));
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

pub(super) fn mac(last: u16) -> MacAddress {
    let [high, low] = last.to_be_bytes();
    MacAddress::new([0x52, 0x54, 0, 0, high, low])
}

pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) fn sighting(last: u16, phase: &str, seconds: u64) -> Sighting {
    Sighting {
        mac: Some(mac(last)),
        guid: None,
        arch: None,
        hardware: Hardware::default(),
        phase: phase.to_owned(),
        has_booted: phase == "booted",
        at: at(seconds),
    }
}
