//! What a program may do that the server starts.
//!
//! The server starts itself once more as `bootstorm sandboxed-exec`. That process has one thread,
//! confines itself and then becomes the program, so nothing of it ever runs unconfined, and no code
//! has to run between fork and exec, where hardly any may.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use rustix::process::{Resource, Rlimit, geteuid, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// The command of this server that confines itself and becomes a program.
pub const SANDBOXED_EXEC: &str = "sandboxed-exec";

/// Who programs run as when the server runs as root: nobody else's, so the number of its processes
/// can be limited. Debian, Fedora and the kernel's own overflow user agree on the number.
const NOBODY: u32 = 65_534;

/// The exit code of `env` and `timeout` for a program that could not be started.
const CANNOT_START: u8 = 126;

/// Files that a program may have open.
const OPEN_FILES: u64 = 256;

/// The largest file that it may write, in bytes.
const FILE_SIZE: u64 = 64 * 1024 * 1024;

/// What one program may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The only folder that it may write to.
    pub folder: PathBuf,
    /// Memory of each of its processes, in bytes.
    pub memory: u64,
    /// Processes and threads that it may start, at most.
    pub processes: u64,
    /// Seconds of processor time of each of its processes.
    pub cpu: u64,
}

impl Confinement {
    /// The arguments that [`sandboxed_exec`] reads back.
    pub(crate) fn arguments(&self) -> [OsString; 5] {
        [
            SANDBOXED_EXEC.into(),
            self.folder.clone().into(),
            self.memory.to_string().into(),
            self.processes.to_string().into(),
            self.cpu.to_string().into(),
        ]
    }

    fn read(arguments: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let folder = arguments.next()?.into();
        let mut number = || arguments.next()?.to_str()?.parse().ok();
        Some(Self {
            folder,
            memory: number()?,
            processes: number()?,
            cpu: number()?,
        })
    }

    /// The user that the program runs as, if it is another than the server's.
    pub(crate) fn user() -> Option<u32> {
        geteuid().is_root().then_some(NOBODY)
    }
}

/// Confines this process as the arguments behind [`SANDBOXED_EXEC`] say and becomes the program
/// behind them. Returns when that cannot be done, and has told why on standard error.
pub fn sandboxed_exec(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let confinement = Confinement::read(&mut arguments);
    let (Some(confinement), Some(program)) = (confinement, arguments.next()) else {
        eprintln!("usage: {SANDBOXED_EXEC} FOLDER MEMORY PROCESSES CPU PROGRAM [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let Err(e) = become_program(&confinement, &program, arguments);
    eprintln!("{}: {e}", program.display());
    ExitCode::from(CANNOT_START)
}

fn become_program(
    confinement: &Confinement,
    program: &OsString,
    arguments: impl Iterator<Item = OsString>,
) -> io::Result<Infallible> {
    limit(confinement)?;
    // Capabilities of the server's unit are inherited by what it starts unless they are dropped.
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_no_new_privs(true)?;
    allow_writing_to(&confinement.folder).map_err(io::Error::other)?;
    stay_in_group().map_err(io::Error::other)?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(user) = Confinement::user() {
        command.uid(user).gid(user);
    }
    Err(command.exec())
}

fn limit(confinement: &Confinement) -> io::Result<()> {
    let user = Confinement::user().unwrap_or_else(|| geteuid().as_raw());
    // The limit counts everything that runs as this user.
    let processes = processes_of(user) + confinement.processes;
    let limits = [
        // Not the address space: PowerShell reserves hundreds of gigabytes and uses few.
        (Resource::Data, confinement.memory),
        (Resource::Nproc, processes),
        (Resource::Cpu, confinement.cpu),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Fsize, FILE_SIZE),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        // A lower limit of the server itself holds on.
        let most = rustix::process::getrlimit(resource)
            .maximum
            .map_or(most, |maximum| maximum.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Processes and threads that run as a user.
fn processes_of(user: u32) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_user = processes
        .filter(|process| process.metadata().is_ok_and(|m| m.uid() == user))
        .filter_map(|process| fs::read_dir(process.path().join("task")).ok());
    of_user.map(|threads| threads.count() as u64).sum()
}

/// Reads whatever its user may read; writes to its folder alone and signals nobody outside of it,
/// where the kernel has Landlock (5.13; signals: 6.12).
fn allow_writing_to(folder: &Path) -> Result<(), landlock::RulesetError> {
    let writing = AccessFs::from_write(ABI::V3);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing)?
        .scope(Scope::Signal)?
        .create()?;
    if let Ok(folder) = PathFd::new(folder) {
        rules = rules.add_rule(PathBeneath::new(folder, writing))?;
    }
    if let Ok(null) = PathFd::new("/dev/null") {
        rules = rules.add_rule(PathBeneath::new(null, AccessFs::WriteFile))?;
    }
    rules.restrict_self()?;
    Ok(())
}

/// A process that leaves its group would outlive it. Those that want to, such as daemons and
/// shells with job control, are told that they have and go on where they are.
fn stay_in_group() -> Result<(), seccompiler::Error> {
    let calls = [libc::SYS_setsid, libc::SYS_setpgid];
    let filter = SeccompFilter::new(
        BTreeMap::from(calls.map(|call| (call, Vec::new()))),
        SeccompAction::Allow,
        SeccompAction::Errno(0),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}
