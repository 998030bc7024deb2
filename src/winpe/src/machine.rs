//! Does what the journey says, on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use bootstorm_winpe::{Instructions, Milestone, Outcome, Step, Trouble, http, script, variables};

use crate::log::Log;
use crate::transport::{Transport, certificates};
use crate::windows;

pub(crate) struct Machine {
    /// Where this program and its files are.
    folder: PathBuf,
    log: Log,
    instructions: Instructions,
    /// The same as they came, where they are newer than the file.
    fresh: Option<Vec<u8>>,
    transport: Transport,
    variables: BTreeMap<String, String>,
}

const INSTRUCTIONS: &str = "bootstorm.json";
const LOG: &str = "bootstorm-winpe.log";
const SCRIPT: &str = "bootstorm-variables.cmd";

/// How often Ctrl-C is looked for in a pause.
const LOOK: Duration = Duration::from_millis(100);

impl Machine {
    /// Reads the instructions beside this program; an error is for people.
    pub(crate) fn open() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = program.parent().unwrap_or(Path::new(".")).to_owned();
        let mut log = Log::open(&folder.join(LOG));
        let opened = instructions(&folder.join(INSTRUCTIONS));
        let (instructions, transport) = opened.inspect_err(|told| log.note(told))?;
        Ok(Self {
            folder,
            log,
            instructions,
            fresh: None,
            transport,
            variables: BTreeMap::new(),
        })
    }

    pub(crate) fn instructions(&self) -> &Instructions {
        &self.instructions
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.log.say(text);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.log.elapsed()
    }

    pub(crate) fn perform(&mut self, step: &Step) -> Outcome {
        let done = match step {
            Step::Network => self.network(),
            Step::Trust => self.trust(),
            Step::Report { milestone, text } => self.report(*milestone, text),
            Step::Fetch => return self.fetch().unwrap_or_else(Outcome::Failed),
            Step::Wait(pause) => wait(*pause),
            Step::Keep => self.keep(),
            Step::Start(line) => return self.start(line).unwrap_or_else(Outcome::Failed),
            Step::End(_) => Ok(()),
        };
        done.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }

    fn network(&mut self) -> Result<(), Trouble> {
        self.say("networking is started by wpeinit");
        let mut wpeinit = Command::new("wpeinit.exe");
        let answers = self.instructions.unattend.iter();
        let status = wpeinit
            .args(answers.map(|file| format!("-unattend:{file}")))
            .status();
        let status = status.map_err(|error| Trouble::Lasting(format!("wpeinit: {error}")))?;
        unless_stopped()?;
        if status.success() {
            Ok(())
        } else {
            Err(Trouble::Lasting(format!("wpeinit ended with {status}")))
        }
    }

    fn trust(&mut self) -> Result<(), Trouble> {
        self.say("the boot server's CA goes into the machine's root store");
        let pem = self.instructions.ca.as_deref().unwrap_or_default();
        for certificate in certificates(pem).map_err(Trouble::Lasting)? {
            windows::trust(&certificate)
                .map_err(|error| Trouble::Lasting(format!("the CA is not trusted: {error}")))?;
        }
        Ok(())
    }

    fn report(&mut self, milestone: Milestone, text: &str) -> Result<(), Trouble> {
        self.say(format!("report: {} {text}", milestone.name()).trim_end());
        let log = match milestone {
            Milestone::Failed => self.log.tail(),
            _ => String::new(),
        };
        let request = http::report(&self.instructions, milestone, text, &log);
        // Somebody who stops the client is told to the server all the same.
        self.transport.exchange(&request)?.accepted()?;
        Ok(())
    }

    fn fetch(&mut self) -> Result<Outcome, Trouble> {
        unless_stopped()?;
        self.say("the configuration is fetched");
        let request = http::fetch(&self.instructions);
        let bytes = self.transport.exchange(&request)?.accepted()?;
        let useless = |told: String| Trouble::Lasting(format!("what the server sent: {told}"));
        let read = Instructions::parse(&bytes).map_err(|error| useless(error.to_string()))?;
        self.transport = Transport::new(&read).map_err(useless)?;
        self.instructions = read.clone();
        self.fresh = Some(bytes);
        Ok(Outcome::Fetched(Box::new(read)))
    }

    fn keep(&mut self) -> Result<(), Trouble> {
        unless_stopped()?;
        self.variables = variables(&self.instructions);
        let script = script(&self.variables);
        let mut files = vec![(SCRIPT, script.into_bytes())];
        files.extend(self.fresh.take().map(|bytes| (INSTRUCTIONS, bytes)));
        for (name, bytes) in files {
            let path = self.folder.join(name);
            let told = |error| Trouble::Lasting(format!("{}: {error}", path.display()));
            replace(&path, &bytes).map_err(told)?;
        }
        Ok(())
    }

    fn start(&mut self, line: &str) -> Result<Outcome, Trouble> {
        unless_stopped()?;
        self.say(&format!("start: {line}"));
        // The quotes around all of it are those that /s takes away.
        let mut command = Command::new("cmd.exe");
        command.raw_arg(format!("/d /s /c \"{line}\""));
        let ended = command
            .envs(&self.variables)
            .current_dir(&self.folder)
            .status();
        let ended = ended.map_err(|error| Trouble::Lasting(error.to_string()))?;
        unless_stopped()?;
        Ok(Outcome::Exited(ended.code().unwrap_or(-1)))
    }
}

fn instructions(path: &Path) -> Result<(Instructions, Transport), String> {
    let told = |why: String| format!("{}: {why}", path.display());
    let bytes = fs::read(path).map_err(|error| told(error.to_string()))?;
    let read = Instructions::parse(&bytes).map_err(|error| told(error.to_string()))?;
    let transport = Transport::new(&read).map_err(told)?;
    Ok((read, transport))
}

fn wait(pause: Duration) -> Result<(), Trouble> {
    let mut left = pause;
    while !left.is_zero() {
        unless_stopped()?;
        let look = LOOK.min(left);
        thread::sleep(look);
        left -= look;
    }
    unless_stopped()
}

fn unless_stopped() -> Result<(), Trouble> {
    if windows::is_stopped() {
        Err(Trouble::Stopped)
    } else {
        Ok(())
    }
}

/// Nobody reads half a file.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}
