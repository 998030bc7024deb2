//! `cargo xtask test`: everything that CI runs, in order, with headings and times.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bootstorm_e2e::cases;
use bootstorm_e2e::{command, packages};

use crate::e2e::{self, Count, Programs};
use crate::{deny, docs, ebpf, fuzz, tidy, winpe, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Steps to run; without any, all of them
    steps: Vec<String>,
    /// Every end-to-end case instead of the first ones
    #[arg(long)]
    all: bool,
    /// What cannot run here is a failure
    #[arg(long, env = "CI")]
    require: bool,
    /// Only list the steps
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Arguments) -> Result<Count>,
}

/// Each fuzz target runs this long from its corpus.
const FUZZ_SECONDS: u64 = 60;

/// Loads programs into the kernel, so plain `cargo test` leaves it out.
const KERNEL_TESTS: &str = "bootstorm-kernel-tests";

/// What plain tests are of. Steps that run single ones name the same packages: with others, cargo
/// would build much of it once more.
pub(crate) const TESTED: [&str; 3] = ["--workspace", "--exclude", KERNEL_TESTS];

const STEPS: &[Step] = &[
    Step {
        name: "packages",
        about: "what the tests need of this machine",
        run: packages,
    },
    Step {
        name: "format",
        about: "cargo fmt --check",
        run: format,
    },
    Step {
        name: "tidy",
        about: "file lengths, banned words and names, where unsafe stands",
        run: |_| one(tidy::check()),
    },
    Step {
        name: "links",
        about: "links of the documentation lead somewhere",
        run: |_| one(docs::check()),
    },
    Step {
        name: "clippy",
        about: "cargo clippy on all targets, warnings denied",
        run: clippy,
    },
    Step {
        name: "ebpf",
        about: "the classifier's committed object is what its source gives",
        run: |_| ebpf::check(),
    },
    Step {
        name: "tests",
        about: "cargo test of the whole workspace",
        run: |arguments| tests(arguments, &TESTED),
    },
    Step {
        name: "kernel",
        about: "the classifier in the kernel and its loader, in namespaces",
        run: kernel,
    },
    Step {
        name: "winpe",
        about: "the client for Windows PE, built, and run under Wine against a real server",
        run: winpe::check,
    },
    Step {
        name: "rustdoc",
        about: "cargo doc, warnings denied",
        run: rustdoc,
    },
    Step {
        name: "deny",
        about: "licences, bans and sources of dependencies",
        run: |_| deny::check(),
    },
    Step {
        name: "fuzz",
        about: "every parser, from its corpus",
        run: |_| one(fuzz::run(FUZZ_SECONDS)),
    },
    Step {
        name: "e2e",
        about: "real firmware boots in QEMU",
        run: firmware,
    },
];

/// Runs the steps; every one runs whatever the ones before it said.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for step in STEPS {
            println!("{:8} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.steps {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("there is no step {name}; `cargo xtask test --list` names them");
        }
    }
    let start = Instant::now();
    let mut total = Count::default();
    let mut lines = Vec::new();
    for step in STEPS {
        if !arguments.steps.is_empty() && !arguments.steps.iter().any(|name| name == step.name) {
            continue;
        }
        println!("\n== {}: {}", step.name, step.about);
        let began = Instant::now();
        let count = (step.run)(arguments).unwrap_or_else(|error| {
            println!("{error:#}");
            Count {
                failed: 1,
                ..Count::default()
            }
        });
        total.add(count);
        lines.push(line(step, count, began.elapsed()));
        println!("{}", lines.last().map_or("", String::as_str));
    }
    println!("\n== summary, {:.0} s", start.elapsed().as_secs_f64());
    for line in lines {
        println!("{line}");
    }
    println!("{total}");
    let bad = total.failed > 0 || (arguments.require && total.skipped > 0);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(step: &Step, count: Count, time: Duration) -> String {
    let word = match count {
        Count { failed: 1.., .. } => "FAILED",
        Count { skipped: 1.., .. } => "skipped",
        Count { .. } => "ok",
    };
    format!(
        "{word:8} {:8} {:6.1} s  {count}",
        step.name,
        time.as_secs_f64()
    )
}

fn one(result: Result<()>) -> Result<Count> {
    result.map(|()| Count::passed())
}

/// Without root nothing is installed: what then is missing fails where it is needed.
fn packages(_: &Arguments) -> Result<Count> {
    let needs = [
        packages::BOOT,
        packages::STORE,
        packages::WINDOWS,
        packages::CLASSIFIER,
        packages::WINPE,
        packages::WINE,
    ]
    .concat();
    if command::is_root() {
        return one(packages::install(&needs));
    }
    let missing = packages::missing(&needs);
    for need in &missing {
        println!("  missing: {:24} {}", need.package, need.why);
    }
    Ok(Count {
        skipped: usize::from(!missing.is_empty()),
        ..Count::default()
    })
}

fn format(_: &Arguments) -> Result<Count> {
    for manifest in ["Cargo.toml", "ebpf/Cargo.toml", "src/winpe/Cargo.toml"] {
        pass(workspace::cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    Ok(Count::passed())
}

fn clippy(_: &Arguments) -> Result<Count> {
    pass(workspace::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut count = Count::passed();
    count.add(ebpf::lint()?);
    Ok(count)
}

fn rustdoc(_: &Arguments) -> Result<Count> {
    one(pass(
        workspace::cargo()
            .args(["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    ))
}

fn tests(arguments: &Arguments, packages: &[impl AsRef<OsStr>]) -> Result<Count> {
    let mut cargo = workspace::cargo();
    cargo
        .args(["test", "--quiet", "--no-fail-fast"])
        .args(packages);
    counted(arguments, &mut cargo)
}

/// Counts the tests themselves; their output is shown as it comes.
pub(crate) fn counted(arguments: &Arguments, cargo: &mut Command) -> Result<Count> {
    cargo.stdout(Stdio::piped());
    if arguments.require {
        // What a test skips without it, such as its half with PostgreSQL, fails.
        cargo.env("CI", "true");
    }
    let mut child = cargo.spawn().context("cannot run cargo")?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            count.add(tested(&line));
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        bail!("{} ended with {status}", command::shown(cargo));
    }
    Ok(count)
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; ...`; an ignored test is nobody's skip.
fn tested(line: &str) -> Count {
    let Some((_, result)) = line.split_once("test result: ") else {
        return Count::default();
    };
    let number = |word: &str| {
        let before = result.split(word).next().unwrap_or_default().trim_end();
        before
            .rsplit([' ', ';'])
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    Count {
        passed: number(" passed"),
        failed: number(" failed"),
        skipped: 0,
    }
}

fn kernel(arguments: &Arguments) -> Result<Count> {
    if !command::is_root() {
        return Ok(Count::skipped(&anyhow!(
            "programs are loaded into the kernel by root: sudo -E cargo xtask test kernel"
        )));
    }
    // With the packages of the step before, and so with their features: alone, much would be
    // built once more.
    let mut chosen = vec!["--workspace".to_owned()];
    for file in fs::read_dir(workspace::root().join("tests/kernel/tests"))? {
        let name = file?.path();
        let name = name.file_stem().unwrap_or_default().to_string_lossy();
        chosen.extend(["--test".to_owned(), name.into_owned()]);
    }
    tests(arguments, &chosen)
}

fn firmware(arguments: &Arguments) -> Result<Count> {
    let cases = if arguments.all {
        cases::ALL
    } else {
        &cases::ALL[..cases::FIRST]
    };
    e2e::boot(&cases.iter().collect::<Vec<_>>(), programs, false)
}

/// Built as the step `tests` builds them, so that after it nothing is left to do: a test among the
/// targets is what gives the programs the tests' features.
fn programs() -> Result<Programs> {
    let mut build = workspace::cargo();
    build.args(["build", "--quiet"]).args(TESTED);
    build.args(["--bin", "bootstorm", "--bin", "bootstorm-load"]);
    pass(build.args(["--test", "reload"]))?;
    let program = |name| workspace::target().join("debug").join(name);
    Ok(Programs {
        server: program("bootstorm"),
        load: Some(program("bootstorm-load")),
    })
}

pub(crate) fn pass(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command::shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", command::shown(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::tested;

    #[test]
    fn results_of_cargo_test_are_counted() {
        let count = tested("test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured");
        assert_eq!((count.passed, count.failed, count.skipped), (12, 3, 0));
        assert_eq!(tested("running 3 tests").passed, 0);
    }
}
