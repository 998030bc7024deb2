//! `bootstorm check`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bootstorm_config::{Config, Diagnostic, Place, Severity};
use bootstorm_policy::{TemplateError, Templates};
use clap::Args;

use super::{DEFAULT_FILE, EXIT_FAILURE, EXIT_USAGE};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm check                              the file that the service reads
  bootstorm check ./bootstorm.toml && sudo systemctl reload bootstorm

What the last server found wrong among the images is told, too; the exit code does not count it.")]
pub(crate) struct CheckArgs {
    /// Configuration file
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

/// Prints every problem as `file:line:column: …`; exit code 0 good, 1 warnings, 2 errors.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = Config::load_with(&args.file, super::lint);
    let mut out = std::io::stdout().lock();
    for diagnostic in &loaded.diagnostics {
        writeln!(out, "{diagnostic}")?;
    }
    let templates = loaded.config.as_ref().map(|config| &config.boot.templates);
    let broken = Templates::new(templates.cloned().flatten()).problems();
    for problem in &broken {
        writeln!(out, "{}", diagnostic(problem))?;
    }
    if let Some(config) = &loaded.config {
        for problem in bootstorm_ingest::last_served(&config.data).problems() {
            writeln!(out, "image {problem}")?;
        }
    }
    let templates = (!broken.is_empty()).then_some(Severity::Error);
    let (word, code) = match loaded.worst().max(templates) {
        None => ("good", 0),
        Some(Severity::Warning) => ("usable, with warnings", EXIT_FAILURE),
        Some(Severity::Error) => ("refused", EXIT_USAGE),
    };
    writeln!(out, "{}: {word}", args.file.display())?;
    Ok(code.into())
}

/// A template that cannot be read, as a mistake of the configuration. A file without a place is
/// pointed at where it begins.
fn diagnostic(problem: &TemplateError) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "script.template-broken",
        place: Some(Place {
            file: problem.path.clone(),
            line: problem.line.max(1),
            column: problem.column.max(1),
        }),
        text: problem.text.clone(),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_template_is_an_error_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bootstorm.toml");
        let template = folder.path().join("scripts");
        std::fs::create_dir(&template).unwrap();
        std::fs::write(&config, "[boot]\ntemplates = \"scripts\"\n").unwrap();
        let checked = |text: &str| {
            std::fs::write(template.join("a.ipxe"), text).unwrap();
            run(&CheckArgs {
                file: config.clone(),
            })
            .unwrap()
        };
        assert_eq!(checked("echo {{ machine.name }}"), ExitCode::from(0));
        assert_eq!(checked("echo {{ machine.name"), ExitCode::from(EXIT_USAGE));
        let problem = &Templates::new(Some(template.clone())).problems()[0];
        let shown = diagnostic(problem).to_string();
        assert!(shown.contains("scripts/a.ipxe:1:"), "{shown}");
        assert!(
            shown.contains(": error[script.template-broken]: "),
            "{shown}"
        );
    }
}
