//! Throws what the network can send at the parsers, with libFuzzer.
//!
//! The targets are a workspace of their own under tests/fuzz. The compiler's own coverage pass does
//! the instrumentation, so the stable toolchain is enough and nothing else has to be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

mod seeds;

/// Target and the longest input that makes sense for it.
const TARGETS: [(&str, u32); 8] = [
    ("decision", 4096),
    ("dhcp4", 1600),
    ("dhcp6", 1600),
    ("http_head", 10_000),
    ("ipxe_params", 4096),
    ("tftp", 4096),
    ("wim", 16_384),
    ("wim_inside", 16_384),
];

/// What cargo-fuzz passes too, in the spelling of a stable compiler.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long to fuzz each target; 0 only replays the corpora
    #[arg(default_value_t = 60)]
    seconds: u64,
    /// Instead: add what tests/fixtures holds to the corpora, as far as it reaches new code
    #[arg(long, conflicts_with = "seconds")]
    seed: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.seed {
        seed()?;
    } else {
        run(arguments.seconds)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs every target from its corpus for so many seconds, one a core at a time.
pub(crate) fn run(seconds: u64) -> Result<()> {
    let programs = &build()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for together in TARGETS.chunks(cores) {
        let results: Vec<Result<String>> = std::thread::scope(|scope| {
            let running: Vec<_> = together
                .iter()
                .map(|&target| {
                    (
                        target.0,
                        scope.spawn(move || fuzz(programs, target, seconds)),
                    )
                })
                .collect();
            let ended = running.into_iter().map(|(target, thread)| {
                let result = thread.join().unwrap_or_else(|_| bail!("the run panicked"));
                result.with_context(|| format!("fuzz target {target}"))
            });
            ended.collect()
        });
        for result in results {
            println!("{}", result?);
        }
    }
    Ok(())
}

/// Runs one target; an input that breaks it is an error with the end of the log.
fn fuzz(programs: &Path, (target, max_len): (&str, u32), seconds: u64) -> Result<String> {
    let artifacts = folder().join("artifacts");
    // New inputs go to the first folder; the committed corpus stays as it is.
    let found = folder().join("target/corpus").join(target);
    for folder in [&artifacts, &found] {
        fs::create_dir_all(folder)?;
    }
    let mut fuzzer = Command::new(programs.join(target));
    fuzzer.arg(&found).arg(corpus(target)).args([
        format!("-max_len={max_len}"),
        format!("-artifact_prefix={}/{target}-", artifacts.display()),
        "-timeout=5".to_owned(),
        "-rss_limit_mb=1024".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    fuzzer.arg(if seconds == 0 {
        "-runs=0".to_owned()
    } else {
        format!("-max_total_time={seconds}")
    });
    let output = fuzzer
        .stdin(Stdio::null())
        .output()
        .context("it cannot be started")?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = log.lines().collect();
        bail!(
            "{}\nto see it again: {} tests/fuzz/artifacts/{target}-...",
            lines[lines.len().saturating_sub(40)..].join("\n"),
            programs.join(target).display()
        );
    }
    Ok(format!("{target:<12} {}", summary(&log)))
}

/// Adds seeds to the corpora, keeping only those that reach code nothing else in them reaches.
fn seed() -> Result<()> {
    let programs = build()?;
    for (target, max_len) in TARGETS {
        let seeds = folder().join("target/seeds").join(target);
        seeds::write(target, &seeds)?;
        let corpus = corpus(target);
        fs::create_dir_all(&corpus)?;
        let status = Command::new(programs.join(target))
            .args(["-merge=1".to_owned(), format!("-max_len={max_len}")])
            .arg(&corpus)
            .arg(&seeds)
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("cannot run the fuzz target {target}"))?;
        if !status.success() {
            bail!("merging the seeds of {target} ended with {status}");
        }
        println!("{target:<12} {} inputs", fs::read_dir(&corpus)?.count());
    }
    Ok(())
}

/// Builds all targets and says where they are.
fn build() -> Result<PathBuf> {
    println!("Building the fuzz targets");
    let host = host()?;
    let target_dir = folder().join("target");
    // With an explicit target the flags do not reach build scripts, which could not be linked.
    let status = workspace::cargo()
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            &host,
        ])
        .arg("--manifest-path")
        .arg(folder().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!(
            "building the fuzz targets ended with {status}; libFuzzer needs a C++ compiler (g++)"
        );
    }
    Ok(target_dir.join(host).join("release"))
}

fn host() -> Result<String> {
    let rustc = Command::new("rustc")
        .arg("-vV")
        .current_dir(workspace::root())
        .output()
        .context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

fn folder() -> PathBuf {
    workspace::root().join("tests/fuzz")
}

fn corpus(target: &str) -> PathBuf {
    folder().join("corpus").join(target)
}

/// Runs and coverage out of libFuzzer's log.
fn summary(log: &str) -> String {
    let runs = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim);
    let coverage = log
        .lines()
        .rev()
        .find_map(|line| line.split(" cov: ").nth(1)?.split(' ').next())
        .unwrap_or("?");
    format!("{runs} inputs, {coverage} edges reached")
}

/// Every file below a folder whose name ends so, in order.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
