//! Classifiers in this process and in others.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bootstorm_ebpf_shared::Table;
use bootstorm_xdp::{Classifier, Mode, XdpConfig, XdpError};

use crate::network::interface;

/// Attaches to interfaces by name, with the table of defaults.
///
/// # Errors
/// Why it cannot be attached as `mode` says, or there is no such interface.
pub fn start(mode: Mode, replace: bool, names: &[&str]) -> Result<Result<Classifier, XdpError>> {
    let interfaces = names.iter().map(|name| interface(name));
    let config = XdpConfig {
        mode,
        replace,
        interfaces: interfaces.collect::<Result<_>>()?,
        table: Table::default(),
    };
    Ok(Classifier::start(config, drop))
}

/// The program `hold` in a process of its own; killed when this is dropped.
pub struct Holder {
    child: Child,
    /// Its input: it ends when this is closed.
    _input: ChildStdin,
    /// What it printed until it was ready, or ended.
    pub lines: Vec<String>,
}

impl Holder {
    /// Starts it with these arguments, split at spaces, in the caller's namespace.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &str, arguments: &str) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("it has an input")?;
        let output = child.stdout.take().context("it has an output")?;
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            lines.push(line?);
            if lines.last().is_some_and(|line| line == "ready") {
                break;
            }
        }
        Ok(Self {
            child,
            _input: input,
            lines,
        })
    }

    /// Kills it in the middle of whatever it does.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Waits until something is so.
///
/// # Errors
/// It is not within `limit`.
pub fn within(limit: Duration, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !so()? {
        ensure!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
