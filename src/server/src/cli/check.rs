//! `bootstorm check`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bootstorm_config::{Config, Severity};
use clap::Args;

use super::{DEFAULT_FILE, EXIT_FAILURE, EXIT_USAGE};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm check                              the file that the service reads
  bootstorm check ./bootstorm.toml && sudo systemctl reload bootstorm")]
pub(crate) struct CheckArgs {
    /// Configuration file
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

/// Prints every problem as `file:line:column: …`; exit code 0 good, 1 warnings, 2 errors.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(&args.file);
    let mut out = std::io::stdout().lock();
    for diagnostic in &loaded.diagnostics {
        writeln!(out, "{diagnostic}")?;
    }
    let (word, code) = match loaded.worst() {
        None => ("good", 0),
        Some(Severity::Warning) => ("usable, with warnings", EXIT_FAILURE),
        Some(Severity::Error) => ("refused", EXIT_USAGE),
    };
    writeln!(out, "{}: {word}", args.file.display())?;
    Ok(code.into())
}
