//! The server under test: started in its namespace, watched, killed and started again where the
//! scenario wants that, and ended.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::network::Namespace;
use super::{Launch, Ready};
use crate::scenario::Restart;
use crate::storm::ServerProcess;

/// How long a server may take to be ready: it may hash its images first.
const START: Duration = Duration::from_secs(120);
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of its outputs that are shown when it ends.
const TAIL: usize = 20;

/// Mounts the namespace's own /sys, which lists its interfaces, then becomes the server.
const ENTER: &str = "mount -t sysfs sysfs /sys 2>/dev/null; exec \"$@\"";

/// A server that is ready.
#[derive(Debug)]
pub(super) struct Server<'a> {
    namespace: &'a Namespace,
    launch: &'a Launch,
    log: PathBuf,
    child: Child,
    process: ServerProcess,
}

impl<'a> Server<'a> {
    /// Starts it and waits until it is ready. Both of its outputs go to a file.
    pub(super) fn start(
        namespace: &'a Namespace,
        launch: &'a Launch,
        log: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let child = spawn(namespace, launch, log)?;
        let process = ServerProcess::new(child.id());
        let mut server = Self {
            namespace,
            launch,
            log: log.to_owned(),
            child,
            process,
        };
        server.wait_until_ready(stop)?;
        Ok(server)
    }

    /// Whose processor time it is, also after a restart.
    pub(super) fn process(&self) -> ServerProcess {
        self.process.clone()
    }

    /// Watches it until `over`; kills it and starts it again in between where that is wanted. If
    /// it ends by itself the storm is stopped.
    pub(super) fn keep(
        &mut self,
        restart: Option<Restart>,
        over: &AtomicBool,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut restart = restart;
        while !over.load(Ordering::Relaxed) {
            if let Some(due) = restart.take_if(|restart| begun.elapsed() >= restart.at.0) {
                self.restart(due.down.0, over)?;
            }
            if let Some(status) = self.child.try_wait()? {
                stop.store(true, Ordering::Relaxed);
                return Err(self.ended(status));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// As a power cut of the server: no warning, and nothing is finished.
    fn restart(&mut self, down: Duration, over: &AtomicBool) -> anyhow::Result<()> {
        self.process.replace(0);
        self.signal(Signal::KILL);
        self.child.wait()?;
        let killed = Instant::now();
        while killed.elapsed() < down && !over.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        self.child = spawn(self.namespace, self.launch, &self.log)?;
        self.process.replace(self.child.id());
        Ok(())
    }

    fn wait_until_ready(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.is_ready(begun.elapsed()) {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended(status));
            }
            ensure!(
                !stop.load(Ordering::Relaxed),
                "stopped before the server was ready"
            );
            if begun.elapsed() > START {
                bail!(
                    "the server was not ready within {} s ({}); it said:\n{}",
                    START.as_secs(),
                    self.launch.ready,
                    self.tail()
                );
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn is_ready(&self, since: Duration) -> bool {
        match &self.launch.ready {
            Ready::After(time) => since >= *time,
            Ready::Line(wanted) => read(&self.log)
                .lines()
                .any(|line| line.trim_end() == wanted),
            Ready::Port(port) => {
                let sockets = format!("/proc/{}/net/udp", self.namespace.id());
                fs::read_to_string(sockets).is_ok_and(|table| is_taken(&table, *port))
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow::anyhow!(
            "the server ended with {status}; everything that it said is in {}, at last:\n{}",
            self.log.display(),
            self.tail()
        )
    }

    fn tail(&self) -> String {
        let text = read(&self.log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// The server and what it started.
    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended in between: then whoever waits for it sees that.
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Server<'_> {
    /// Asks it to end, and ends it by force where it does not.
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(LOOK);
        }
        self.signal(Signal::KILL);
        self.child.wait().ok();
    }
}

fn spawn(namespace: &Namespace, launch: &Launch, log: &Path) -> anyhow::Result<Child> {
    let log = OpenOptions::new().append(true).create(true).open(log)?;
    namespace
        .command("unshare")
        .args(["--mount", "--", "sh", "-c", ENTER, "sh"])
        .args(&launch.command)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for us: the server ends after the storm.
        .process_group(0)
        .spawn()
        .context("the server cannot be started")
}

/// Whether a socket of /proc/net/udp listens on a port.
fn is_taken(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .any(|local| local.ends_with(&wanted))
}

fn read(file: &Path) -> String {
    fs::read(file).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::is_taken;

    #[test]
    fn a_port_is_taken_where_a_socket_is_bound_to_it() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     \x20 61: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000\n";
        assert!(is_taken(table, 67));
        assert!(!is_taken(table, 69));
        assert!(!is_taken("", 67));
        // The other end's port is nobody's here.
        let asked = "  61: 0100007F:8000 0100007F:0045 01 00000000:00000000\n";
        assert!(!is_taken(asked, 69));
    }
}
