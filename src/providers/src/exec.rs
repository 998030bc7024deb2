//! A program is asked: the facts on its standard input, the decision on its standard output.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bootstorm_policy::decision::{ANSWER_MAX, BadAnswer, Verdict};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryFutureExt as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};

use crate::{Ask, Confinement, ProviderError};
use group::Group;
use said::Said;

mod group;
mod said;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const POWERSHELL: &str = "pwsh";

/// What PowerShell does at its start unless it is told otherwise: calls home, opens debug ports.
const POWERSHELL_QUIET: [(&str, &str); 3] = [
    ("POWERSHELL_TELEMETRY_OPTOUT", "1"),
    ("POWERSHELL_UPDATECHECK", "Off"),
    ("DOTNET_EnableDiagnostics", "0"),
];

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments. No shell reads them.
    Program(Vec<String>),
    /// A PowerShell script.
    PowerShell(PathBuf),
}

/// A program that knows what machines boot.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The provider's name.
    pub name: String,
    /// What is started.
    pub command: Command,
    /// Memory of each of its processes, in bytes.
    pub memory: u64,
    /// Processes that it may start, at most.
    pub processes: u32,
    /// How long it has; whoever asks ends it then, and it may use no more processor time.
    pub budget: Duration,
    /// Variables besides `PATH`, `LANG`, `HOME` and `TMPDIR`.
    pub environment: BTreeMap<String, String>,
    /// This server's program, which confines itself and becomes the one that is started.
    pub server: PathBuf,
}

impl Ask for Exec {
    fn ask<'a>(
        &'a self,
        facts: &'a serde_json::Value,
    ) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        async move {
            let answer = self.run(facts.to_string().into_bytes()).await?;
            Ok(Verdict::from_json(&answer, &self.name)?)
        }
        .boxed()
    }
}

impl Exec {
    /// Starts the program, gives it its input and takes what it says.
    async fn run(&self, input: Vec<u8>) -> Result<Vec<u8>, ProviderError> {
        self.check()?;
        let folder = temporary_folder().map_err(|e| failed("its temporary folder", e))?;
        let mut group =
            Group::start(self.command(&folder)).map_err(|e| failed("it cannot be started", e))?;
        let mut said = Said::new(&self.name);
        let (stdin, stdout, stderr) = group.pipes();
        let ((), answer, (), status) = tokio::try_join!(
            feed(stdin, &input).map(Ok),
            read(stdout),
            said.listen(stderr).map(Ok),
            group.ended().map_err(|e| failed("its end", e)),
        )?;
        // Removing what it wrote may take a while.
        tokio::task::spawn_blocking(move || drop(folder));
        if !status.success() {
            return Err(ProviderError::Failed(ending(status, said.last())));
        }
        Ok(answer)
    }

    /// PowerShell is not everywhere, and what the system says of that names no remedy.
    fn check(&self) -> Result<(), ProviderError> {
        let found = |folder: &str| Path::new(folder).join(POWERSHELL).is_file();
        if matches!(self.command, Command::PowerShell(_)) && !PATH.split(':').any(found) {
            let text = format!("PowerShell is not installed: `{POWERSHELL}` is nowhere in {PATH}");
            return Err(ProviderError::Failed(text));
        }
        Ok(())
    }

    fn command(&self, folder: &TempDir) -> tokio::process::Command {
        let confinement = Confinement {
            folder: folder.path().to_owned(),
            memory: self.memory,
            processes: self.processes.into(),
            cpu: self.budget.as_secs() + 1,
        };
        let mut command = tokio::process::Command::new(&self.server);
        command
            .args(confinement.arguments())
            .args(self.words())
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if matches!(self.command, Command::PowerShell(_)) {
            command.envs(POWERSHELL_QUIET);
        }
        command.envs(&self.environment);
        command
    }

    fn words(&self) -> Vec<OsString> {
        match &self.command {
            Command::Program(words) => words.iter().map(OsString::from).collect(),
            Command::PowerShell(script) => {
                let options = ["-NoLogo", "-NoProfile", "-NonInteractive", "-File"];
                let pwsh = [POWERSHELL].iter().chain(&options).map(OsString::from);
                pwsh.chain([script.clone().into()]).collect()
            }
        }
    }
}

fn temporary_folder() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("bootstorm-").tempdir()?;
    if let Some(user) = Confinement::user() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(user))?;
    }
    Ok(folder)
}

/// A program need not read all of its input, or any.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// What the program says; an error once that is more than it may.
async fn read(stdout: Option<ChildStdout>) -> Result<Vec<u8>, ProviderError> {
    let mut answer = Vec::new();
    if let Some(stdout) = stdout {
        let mut stdout = stdout.take(ANSWER_MAX as u64 + 1);
        let read = stdout.read_to_end(&mut answer).await;
        read.map_err(|e| failed("its output", e))?;
    }
    if answer.len() > ANSWER_MAX {
        return Err(BadAnswer::too_long().into());
    }
    Ok(answer)
}

fn failed(what: &str, e: io::Error) -> ProviderError {
    ProviderError::Failed(format!("{what}: {e}"))
}

/// How a program ended, with its last words.
fn ending(status: ExitStatus, last: &str) -> String {
    // `signal: 9 (SIGKILL)` or `exit status: 1`
    match last {
        "" => status.to_string(),
        last => format!("{status}, {last}"),
    }
}
