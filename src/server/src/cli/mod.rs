//! The command line: one file a command.

mod bcd;
mod check;
mod doctor;
mod explain;
mod live;
mod machine;
mod serve;
mod sorted;
mod watch;
mod wim;

pub(crate) use live::token_path;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bootstorm_config::{Config, Finding, Severity};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// Where the packages put the configuration.
pub(crate) const DEFAULT_FILE: &str = "/etc/bootstorm/bootstorm.toml";

/// Runtime failure.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Wrong usage or configuration.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Network-boot server: PXE, UEFI HTTP(S) Boot and iPXE for thousands of machines at once.
#[derive(Debug, Parser)]
#[command(name = "bootstorm", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  bootstorm watch --interface eth0            who boots here, and who answers? (answers nothing itself)
  sudo bootstorm serve --images ./images      serve every PXE client; the menu's default is the local disk
  sudo bootstorm serve --images ./images --interface eth0 --boot debian
                                              machines on eth0 boot the entry `debian` without being asked
  bootstorm explain --mac 52:54:00:aa:bb:cc   what would this machine be answered, and why
  bootstorm doctor                            what stands in the way on this host, and how to mend it

Exit codes: 0 done, 1 runtime failure, 2 wrong usage or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer and feed machines that boot from the network
    Serve(serve::ServeArgs),
    /// Listen only: show the machines that try to boot and the servers that answer them
    Watch(watch::WatchArgs),
    /// Parse and lint the configuration: exit code 0 good, 1 warnings, 2 errors
    Check(check::CheckArgs),
    /// Say why a machine was, would be, or was not answered
    Explain(explain::ExplainArgs),
    /// List and change machines, have them boot something once, wait or go on
    Machine(machine::MachineArgs),
    /// Test ports, privileges, io_uring, XDP, certificates, images and other servers
    Doctor(doctor::DoctorArgs),
    /// Make boot configuration stores for Windows PE, and print any
    Bcd(bcd::BcdArgs),
    /// Tell what is inside a Windows image, list its files, write one of them out
    Wim(wim::WimArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Confine this process and become a program: how the server starts those of its providers
    #[command(name = bootstorm_providers::SANDBOXED_EXEC, hide = true)]
    SandboxedExec {
        /// Limits, the program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// The configuration that a command works on: a file, and flags that win over it.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; without one the defaults are enough to boot machines
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder with what can be booted
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Folder for what the server keeps: database, certificates, admin token, image copies
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl Cli {
    /// Runs the command to its end.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Watch(args) => watch::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Machine(args) => machine::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Wim(args) => wim::run(&args),
            Command::Bcd(args) => bcd::run(&args),
            Command::Completions { shell } => {
                clap_complete::generate(
                    shell,
                    &mut Self::command(),
                    "bootstorm",
                    &mut std::io::stdout(),
                );
                Ok(ExitCode::SUCCESS)
            }
            Command::SandboxedExec { arguments } => {
                Ok(bootstorm_providers::sandboxed_exec(arguments.into_iter()))
            }
        };
        outcome.unwrap_or_else(|error: anyhow::Error| {
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            let _ = writeln!(std::io::stderr(), "bootstorm: {error:#}");
            EXIT_FAILURE.into()
        })
    }
}

/// Something that the user wrote is wrong: printed as it is, exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl From<String> for UsageError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl UsageError {
    /// Tells it, and which code the program ends with.
    pub(crate) fn exit(&self) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "bootstorm: {self}");
        EXIT_USAGE.into()
    }
}

impl ConfigArgs {
    /// The file, or the defaults, with the two folders of the command line on top. Warnings go to
    /// standard error.
    pub(crate) fn config(&self) -> Result<Config, UsageError> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(file) => {
                let (config, warnings) = Config::load_with(file, lint)
                    .accept()
                    .map_err(|rejected| UsageError(format!("wrong configuration\n{rejected}")))?;
                for warning in warnings {
                    let _ = writeln!(std::io::stderr(), "{warning}");
                }
                config
            }
        };
        if let Some(images) = &self.images {
            config.images.clone_from(images);
        }
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }
}

/// What is wrong with a configuration in the eyes of those who go by it.
pub(crate) fn lint(config: &Config) -> Vec<Finding> {
    let mut findings = bootstorm_policy::lint(config);
    findings.extend(bootstorm_providers::lint(config));
    findings
}

/// What the flags made of a configuration can be wrong where the file alone was not.
pub(crate) fn lint_flags(config: &Config) -> Result<(), UsageError> {
    let errors: Vec<String> = config
        .lint()
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            let hint = finding
                .hint
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            format!("error[{}]: {}{hint}", finding.code, finding.text)
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(UsageError(errors.join("\n")))
    }
}

/// `bootstorm explain … | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
