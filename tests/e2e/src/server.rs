//! The server under test, in its namespace, driven the way a user drives it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;
use crate::lab::{Lab, Node};
use crate::process::{Running, tail};
use crate::stop;

const START: Duration = Duration::from_secs(60);
/// The server lets transfers end for 30 s; those that the machine gave up take their time-out.
const DRAIN: Duration = Duration::from_secs(45);
/// USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where it runs.
    pub node: Node,
    /// The binary.
    pub program: PathBuf,
    /// The images folder.
    pub images: PathBuf,
    /// The entry that `--boot` makes the default.
    pub boot: Option<String>,
    /// A configuration file's text; none means no configuration file at all.
    pub config: Option<String>,
    /// Files beside it: path and text.
    pub files: Vec<(PathBuf, String)>,
}

/// A server that said `ready`.
#[derive(Debug)]
pub struct Server {
    process: Running,
    node: Node,
    data: PathBuf,
}

impl Server {
    /// Starts it and waits for `ready`.
    ///
    /// # Errors
    /// It ends, or does not get ready within a minute; the end of its log is in the error.
    pub fn start(lab: &Lab, setup: &Setup) -> Result<Self> {
        let name = setup.node.name();
        let data = lab.folder().join(format!("{name}.data"));
        let mut serve = lab.command(setup.node, &setup.program);
        serve
            .arg("serve")
            .arg("--images")
            .arg(&setup.images)
            .arg("--data")
            .arg(&data);
        if let Some(entry) = &setup.boot {
            serve.args(["--boot", entry]);
        }
        for (path, text) in &setup.files {
            let file = lab.folder().join(path);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(file, text)?;
        }
        if let Some(config) = &setup.config {
            let file = lab.folder().join(format!("{name}.toml"));
            fs::write(&file, config)?;
            serve.arg("--config").arg(&file);
        }
        serve.env("RUST_BACKTRACE", "1");
        let mut process = Running::start(name, lab.folder(), serve)?;
        let stdout = process.stdout().to_owned();
        stop::wait_for("`ready` from the server", START, || {
            process.check()?;
            Ok(command::read(&stdout)?
                .lines()
                .any(|line| line == "ready")
                .then_some(()))
        })
        .with_context(|| {
            format!(
                "log:\n{}",
                tail(&command::read(process.stderr()).unwrap_or_default(), 20)
            )
        })?;
        let node = setup.node;
        Ok(Self {
            process,
            node,
            data,
        })
    }

    /// Kills it and starts it again with the data that it has.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn killed_and_started(mut self, lab: &Lab, setup: &Setup) -> Result<Self> {
        self.process.check()?;
        self.process.kill()?;
        Self::start(lab, setup)
    }

    /// What it logged up to here.
    #[must_use]
    pub fn log(&self) -> String {
        command::read(self.process.stderr()).unwrap_or_default()
    }

    /// The certificate authority that it made at its first start, as PEM.
    ///
    /// # Errors
    /// The boot endpoint does not give it.
    pub fn authority(&self, lab: &Lab) -> Result<String> {
        self.curl(lab, &["http://127.0.0.1:8080/ca.crt"])
    }

    /// A document of the web service, asked with the admin token.
    ///
    /// # Errors
    /// There is no token or the web service refuses.
    pub fn api(&self, lab: &Lab, path: &str) -> Result<String> {
        let token = command::read(&self.data.join("admin.token"))?;
        let header = format!("Authorization: Bearer {}", token.trim());
        self.curl(
            lab,
            &["-H", &header, &format!("http://127.0.0.1:8051{path}")],
        )
    }

    /// What the classifier does, as /api/v1/classifier tells it.
    ///
    /// # Errors
    /// The web service refuses or gives no JSON.
    pub fn classifier(&self, lab: &Lab) -> Result<Value> {
        Ok(serde_json::from_str(&self.api(lab, "/api/v1/classifier")?)?)
    }

    /// How packets are sorted on its interface: `native`, `generic`, `none` or `off`.
    ///
    /// # Errors
    /// The web service does not know the interface.
    pub fn attached(&self, lab: &Lab) -> Result<String> {
        let classifier = self.classifier(lab)?;
        let mut all = classifier["attachments"].as_array().into_iter().flatten();
        let eth0 = all.find(|attachment| attachment["interface"] == "eth0");
        eth0.and_then(|attachment| Some(attachment["mode"].as_str()?.to_owned()))
            .with_context(|| format!("no eth0 among the attachments: {classifier}"))
    }

    /// Processor time of all its threads up to here.
    ///
    /// # Errors
    /// It is not running any more.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = command::read(&PathBuf::from(format!("/proc/{}/stat", self.process.id())))?;
        ticks(&stat)
            .map(|ticks| Duration::from_secs(ticks) / TICKS_PER_SECOND)
            .with_context(|| format!("what is /proc/PID/stat? {stat}"))
    }

    /// The folder given as `--data`.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Ends it by SIGTERM as an administrator does.
    ///
    /// # Errors
    /// It does not drain in time or ends with another code than 0.
    pub fn stop(mut self) -> Result<()> {
        self.process.check()?;
        let status = self.process.stop_within(DRAIN)?;
        if !status.success() {
            bail!("after SIGTERM the server ended with {status}");
        }
        Ok(())
    }

    fn curl(&self, lab: &Lab, args: &[&str]) -> Result<String> {
        let mut curl = lab.command(self.node, "curl");
        command::output(curl.args(["-sS", "--fail", "--max-time", "10"]).args(args))
    }
}

/// utime and stime, fields 14 and 15 of /proc/PID/stat; the second one may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn processor_time_is_found_behind_a_name_with_blanks() {
        let stat = "12 (a b) c) S 1 12 12 0 -1 4194560 9 0 0 0 250 31 0 0 20 0 8 0 1";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("12"), None);
    }
}
