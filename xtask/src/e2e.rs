//! `cargo xtask e2e`: the matrix of real firmware.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use bootstorm_e2e::cases::{self, Case, Subject};
use bootstorm_e2e::run::{self, Options};
use bootstorm_e2e::{command, packages};

use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Cases to run; without any, those of every CI run
    cases: Vec<String>,
    /// Run every case
    #[arg(long)]
    all: bool,
    /// Only list the cases
    #[arg(long)]
    list: bool,
    /// A case that cannot run here is a failure
    #[arg(long, env = "CI")]
    require: bool,
    /// Keep logs, captures and consoles of passed cases too
    #[arg(long)]
    keep: bool,
    /// A server binary to test instead of building one
    #[arg(long, value_name = "FILE", env = "BOOTSTORM")]
    server: Option<PathBuf>,
    /// A `bootstorm-load` to test with instead of building one
    #[arg(long, value_name = "FILE", env = "BOOTSTORM_LOAD")]
    load: Option<PathBuf>,
}

/// What boots, and the simulated machines where a case has some.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) server: PathBuf,
    pub(crate) load: Option<PathBuf>,
}

/// How many of each there were.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Count {
    /// One thing that passed.
    pub(crate) fn passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One thing that cannot be done here, after saying why.
    pub(crate) fn skipped(reason: &anyhow::Error) -> Self {
        println!("  skipped: {reason:#}");
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for (index, case) in cases::ALL.iter().enumerate() {
            let mark = if index < cases::FIRST { "*" } else { " " };
            println!("{mark} {:22} {}", case.name, case.about);
        }
        for case in cases::MEASURED {
            println!("- {:22} {}", case.name, case.about);
        }
        println!("* runs without --all; - runs only by name, in `cargo xtask classifier`");
        return Ok(ExitCode::SUCCESS);
    }
    let selected = select(arguments)?;
    let count = boot(&selected, || programs(arguments, &selected), arguments.keep)?;
    println!("{count}");
    let bad = count.failed > 0 || (arguments.require && count.skipped > 0);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Boots the cases; where that cannot be done every one is skipped, and the reason said.
pub(crate) fn boot(
    selected: &[&'static Case],
    programs: impl FnOnce() -> Result<Programs>,
    keep: bool,
) -> Result<Count> {
    let start = Instant::now();
    if let Some(reason) = impossible() {
        println!("  skipped: {reason}");
        return Ok(Count {
            skipped: selected.len(),
            ..Count::default()
        });
    }
    let Programs { server, load } = programs()?;
    let options = Options {
        server,
        load,
        folder: workspace::target().join("e2e"),
        keep,
    };
    let outcomes = run::run(selected, &options)?;
    let passed = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_ok())
        .count();
    println!(
        "  {:.0} s for {} cases",
        start.elapsed().as_secs_f64(),
        outcomes.len()
    );
    Ok(Count {
        passed,
        failed: outcomes.len() - passed,
        skipped: selected.len() - outcomes.len(),
    })
}

/// Those that were named, else those of this source.
fn programs(arguments: &Arguments, selected: &[&'static Case]) -> Result<Programs> {
    let server = match &arguments.server {
        Some(file) => file.canonicalize()?,
        None => workspace::build_server()?,
    };
    let simulated = |case: &&Case| matches!(case.subject, Subject::Flood(_) | Subject::Storm(_));
    let load = match &arguments.load {
        Some(file) => Some(file.canonicalize()?),
        None if selected.iter().any(simulated) => {
            println!("Building the simulated machines");
            Some(workspace::build("bootstorm-load", "bootstorm-load")?)
        }
        None => None,
    };
    Ok(Programs { server, load })
}

fn impossible() -> Option<String> {
    if let Err(error) = packages::install(&[packages::BOOT, packages::WINDOWS].concat()) {
        return Some(format!("{error:#}"));
    }
    if !command::is_root() {
        return Some("network namespaces and taps need root: sudo -E cargo xtask e2e".to_owned());
    }
    None
}

fn select(arguments: &Arguments) -> Result<Vec<&'static Case>> {
    if arguments.all {
        return Ok(cases::ALL.iter().collect());
    }
    if arguments.cases.is_empty() {
        return Ok(cases::ALL.iter().take(cases::FIRST).collect());
    }
    let mut selected = Vec::new();
    for name in &arguments.cases {
        match cases::named(name) {
            Some(case) => selected.push(case),
            None => bail!("there is no case {name}; `cargo xtask e2e --list` names them"),
        }
    }
    Ok(selected)
}
