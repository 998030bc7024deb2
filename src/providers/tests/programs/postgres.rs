//! A PostgreSQL server for tests.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

/// The URL of an empty database, on the server that BOOTSTORM_TEST_POSTGRES names or one that is
/// started here. Without PostgreSQL there is none, but not in CI.
pub(super) async fn database() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(server) = server() else {
        let is_needed = std::env::var_os("CI").is_some();
        assert!(!is_needed, "PostgreSQL is missing: apt install postgresql");
        println!("skipped with PostgreSQL: `initdb` is not in /usr/lib/postgresql/*/bin");
        return None;
    };
    sqlx::any::install_default_drivers();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bootstorm_providers_{}_{number}", std::process::id());
    let sql = format!("CREATE DATABASE {name}");
    let mut admin = connect(server).await;
    admin.execute(AssertSqlSafe(sql)).await.unwrap();
    let (base, rest) = server.rsplit_once('/').unwrap();
    let settings = rest.split_once('?').map_or("", |(_, settings)| settings);
    Some(format!("{base}/{name}?{settings}"))
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
    -c fsync=off >>log 2>&1 &
read -r line || true
kill -INT $!
wait $! || true
"#;

fn start() -> Option<(String, Child)> {
    let programs = programs()?;
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    // PostgreSQL refuses to run as root.
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.args(["--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    let child = command
        .args(["-c", SERVER])
        .arg(programs)
        .arg(port.to_string())
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
