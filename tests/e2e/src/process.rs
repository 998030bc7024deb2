//! A child process that cannot outlive its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command;

const GRACE: Duration = Duration::from_secs(5);

/// A process of the lab with its outputs in files; ended when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`; its outputs go to `folder/NAME.out` and `folder/NAME.log`.
    ///
    /// # Errors
    /// The program or the files cannot be had.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Result<Self> {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {}", command::shown(&command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        })
    }

    /// The process id: `ip netns exec` and `setpriv` become the program, so it is the program's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where standard output goes.
    #[must_use]
    pub fn stdout(&self) -> &Path {
        &self.stdout
    }

    /// Where standard error goes.
    #[must_use]
    pub fn stderr(&self) -> &Path {
        &self.stderr
    }

    /// The exit status once it has ended.
    ///
    /// # Errors
    /// The system does not know the child.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with the end of its log when it is not running any more.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            let log = command::read(&self.stderr).unwrap_or_default();
            bail!("{} ended with {status}:\n{}", self.name, tail(&log, 20));
        }
        Ok(())
    }

    /// Ends it at once, as a failure does: it cannot say goodbye.
    ///
    /// # Errors
    /// The system does not know the child.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// [`Running::stop_within`] five seconds.
    ///
    /// # Errors
    /// The system does not know the child.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.stop_within(GRACE)
    }

    /// Asks it to end (SIGTERM), ends it by force after `grace`, and gives its status.
    ///
    /// # Errors
    /// The system does not know the child.
    pub fn stop_within(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended in between: then the wait below tells.
            kill_process(pid, Signal::TERM).ok();
        }
        let start = Instant::now();
        while start.elapsed() < grace {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("cannot end {}: {error}", self.name);
        }
    }
}

/// The last `lines` lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Running, tail};

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }

    #[test]
    fn an_ended_process_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo gone wrong >&2; exit 3"]);
        let mut running = Running::start("sh", folder.path(), command).unwrap();
        running.child.wait().unwrap();
        let error = running.check().unwrap_err().to_string();
        assert!(error.contains("gone wrong"), "{error}");
    }
}
