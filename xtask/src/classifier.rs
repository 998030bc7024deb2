//! `cargo xtask classifier`: what the classifier costs a packet, and what it is worth in a flood.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use bootstorm_e2e::command;

use crate::{page, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures into docs/reference/performance.md
    #[arg(long)]
    write: bool,
}

/// The same storm beside the same flood, with XDP and without, on the server's defaults.
const FLOODS: [&str; 2] = ["flood-xdp-defaults", "flood-user-defaults"];

/// Measures both, and fails when a limit is broken or a machine did not boot.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut bench = workspace::cargo();
    bench.args(["bench", "--quiet", "--package", "bootstorm-kernel-tests"]);
    bench.args(["--bench", "classifier"]);
    let (packets, is_fast) = shown(&mut bench)?;
    let server = workspace::build_release("bootstorm-server", "bootstorm")?;
    let load = workspace::build_release("bootstorm-load", "bootstorm-load")?;
    let mut flood = Command::new(std::env::current_exe()?);
    flood.arg("e2e").args(FLOODS).arg("--require");
    flood.arg("--server").arg(server).arg("--load").arg(load);
    let (floods, has_booted) = shown(&mut flood)?;
    if arguments.write {
        let floods: String = floods.into_iter().filter(|line| is_figure(line)).collect();
        let figures = format!(
            "{}\n\nNanoseconds a packet, best and median of 5 rounds of 1,000,000 runs:\n\n\
             ```\n{}```\n\n50 machines beside a flood:\n\n```\n{}```\n",
            page::origin()?,
            packets.join(""),
            floods,
        );
        page::write("classifier", &figures)?;
    }
    Ok(if is_fast && has_booted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What else the cases print tells of this machine's folders.
fn is_figure(line: &str) -> bool {
    let line = line.trim_start();
    ["|", "dropped:", "ok "]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Runs a command and shows what it prints as it comes; the lines, and whether it succeeded.
fn shown(command: &mut Command) -> Result<(Vec<String>, bool)> {
    let what = command::shown(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {what}"))?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            lines.push(line.trim_end().to_owned() + "\n");
        }
    }
    Ok((lines, child.wait()?.success()))
}
