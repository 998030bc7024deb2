//! `cargo xtask peers`: this server and its peers, measured in the same run.

mod client;
mod cpu;
mod dhcp;
mod programs;
mod scenario;
mod server;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bootstorm_e2e::{command, stop};

use crate::{page, workspace};
use dhcp::Bench;
use programs::{Peers, Program};
use scenario::{ALL, FILES, Scenario};
use server::{Kind, Place, Server};
use table::{Measured, Row};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run this scenario only; may be given more than once
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Rounds, in each of which every server is measured once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Worker threads of this server; one is what nginx gets too
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// A server binary instead of one that is built in the release profile
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Put the result into docs/reference/performance.md: all scenarios of files, all of DHCP, or both
    #[arg(long)]
    write: bool,
    /// Only list the scenarios
    #[arg(long)]
    list: bool,
    /// Run in the namespace that one is in
    #[arg(long, hide = true)]
    inside: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for (name, about) in listed() {
            println!("{name:20} {about}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (scenarios, dhcp) = select(&arguments.scenario)?;
    if arguments.write {
        is_whole(scenarios.len(), ALL.len())?;
        is_whole(dhcp.len(), dhcp::ALL.len())?;
    }
    let folder = workspace::target().join("peers");
    fs::create_dir_all(&folder)?;
    if arguments.inside {
        command::line("ip link set lo up")?;
        // tftpd-hpa looks its address up, which finds nothing on a host that has only loopback's.
        command::line("ip address add 198.18.0.1/32 dev lo")?;
    } else {
        build(arguments)?;
        collect(&scenarios, &dhcp, &folder);
        if let Some(code) = enter_namespace()? {
            return Ok(code);
        }
        if !dhcp.is_empty() {
            bail!("no network namespace can be made here, which the scenarios of DHCP need");
        }
        println!("No network namespace can be made here: measured on this host's own loopback.");
    }
    let (own, load) = build(arguments)?;
    let mut peers = collect(&scenarios, &dhcp, &folder);
    peers.programs.insert(0, own);
    let run = folder.join("run");
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    fs::create_dir_all(&run)?;
    let outcome = measure(arguments, &scenarios, &peers, &run, &load);
    let bench = Bench {
        peers: &peers,
        load: &load,
        folder: &run,
        workers: arguments.workers,
        rounds: usize::try_from(arguments.rounds)?,
    };
    let offers = outcome.and_then(|measured| Ok((measured, dhcp::measure(&dhcp, &bench)?)));
    // Images and their copies are most of it; the programs stay for the next time.
    fs::remove_dir_all(&run).ok();
    let (measured, offers) = offers?;
    report_files(arguments, &peers, &measured)?;
    report_offers(arguments, &peers, &offers)?;
    let verdicts = measured.iter().flat_map(Measured::verdicts);
    let holds = verdicts
        .chain(offers.iter().flat_map(dhcp::Measured::verdicts))
        .all(|verdict| verdict.holds);
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every scenario's name and what it measures.
fn listed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = ALL.iter().map(|scenario| (scenario.name, scenario.about));
    files.chain(dhcp::ALL.iter().map(|dhcp| (dhcp.name, dhcp.about)))
}

type Selected = (Vec<&'static Scenario>, Vec<&'static dhcp::Scenario>);

fn select(names: &[String]) -> Result<Selected> {
    for name in names {
        if !listed().any(|(listed, _)| listed == name) {
            bail!("there is no scenario {name}; `cargo xtask peers --list` names them");
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok((
        ALL.iter().filter(|files| wanted(files.name)).collect(),
        dhcp::ALL.iter().filter(|dhcp| wanted(dhcp.name)).collect(),
    ))
}

/// A part of the page is written as a whole or not at all.
fn is_whole(selected: usize, all: usize) -> Result<()> {
    if selected != 0 && selected != all {
        bail!("--write takes all scenarios of files, all of DHCP, or both: a part has one date");
    }
    Ok(())
}

/// This server and the measuring client, in the release profile.
fn build(arguments: &Arguments) -> Result<(Program, PathBuf)> {
    let load = workspace::build_release("bootstorm-load", "bootstorm-load")?;
    let path = match &arguments.server {
        Some(file) => file
            .canonicalize()
            .with_context(|| format!("no server at {}", file.display()))?,
        None => workspace::build_release("bootstorm-server", "bootstorm")?,
    };
    let said = command::output(Command::new(&path).arg("--version"))?;
    let program = Program {
        kind: Kind::Bootstorm,
        path,
        libraries: None,
        version: said.split_whitespace().last().unwrap_or("?").to_owned(),
    };
    Ok((program, load))
}

fn collect(scenarios: &[&Scenario], dhcp: &[&dhcp::Scenario], folder: &Path) -> Peers {
    let mut kinds: Vec<Kind> = Vec::new();
    if !dhcp.is_empty() {
        kinds.extend(dhcp::KINDS);
    }
    for scenario in scenarios.iter().filter(|scenario| !scenario.alone) {
        for kind in Kind::speaking(scenario.protocol) {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
    }
    programs::collect(&kinds, folder)
}

/// Runs the rest in a network namespace of its own, which ends with it: every port is free there
/// and no rule of this host's firewall is in the way. Nothing when there can be none.
fn enter_namespace() -> Result<Option<ExitCode>> {
    let namespace = || {
        let mut unshare = Command::new("unshare");
        unshare.arg("--net");
        if !command::is_root() {
            unshare.arg("--map-root-user");
        }
        unshare
    };
    if command::output(namespace().arg("true")).is_err() {
        return Ok(None);
    }
    stop::listen()?;
    let mut inside = namespace();
    inside.arg(std::env::current_exe()?);
    inside.args(std::env::args_os().skip(1)).arg("--inside");
    // Ctrl-C reaches both; the one inside takes everything down.
    let status = inside.status().context("cannot run unshare")?;
    Ok(Some(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }))
}

fn measure(
    arguments: &Arguments,
    scenarios: &[&'static Scenario],
    peers: &Peers,
    folder: &Path,
    load: &Path,
) -> Result<Vec<Measured>> {
    stop::listen()?;
    if scenarios.is_empty() {
        return Ok(Vec::new());
    }
    let files = folder.join("files");
    fs::create_dir(&files)?;
    for (name, length) in FILES {
        fill(&files.join(name), *length)?;
    }
    let place = Place {
        files: &files,
        folder,
        workers: arguments.workers,
    };
    let rounds = usize::try_from(arguments.rounds)?;
    scenarios
        .iter()
        .map(|scenario| {
            println!("\n{}: {}", scenario.name, scenario.about);
            one(
                scenario,
                rounds.min(scenario.rounds_max),
                peers,
                &place,
                load,
            )
        })
        .collect()
}

/// All rounds of a scenario: in each round every server once.
fn one(
    scenario: &'static Scenario,
    rounds: usize,
    peers: &Peers,
    place: &Place<'_>,
    load: &Path,
) -> Result<Measured> {
    let mut rows = Vec::new();
    let mut servers = Vec::new();
    for kind in Kind::speaking(scenario.protocol) {
        if scenario.alone && *kind != Kind::Bootstorm {
            continue;
        }
        let program = peers.programs.iter().find(|program| program.kind == *kind);
        let started = match program {
            Some(program) => Server::start(program, scenario.protocol, place)
                .map_err(|error| format!("{error:#}")),
            None => Err(reason(peers, *kind)),
        };
        let missing = started.as_ref().err().cloned();
        if let Some(reason) = &missing {
            println!("  {kind:10} missing: {reason}");
        }
        rows.push(Row {
            kind: *kind,
            samples: Vec::new(),
            missing,
        });
        servers.push(started.ok());
    }
    for _ in 0..rounds {
        for (row, server) in rows.iter_mut().zip(&mut servers) {
            let Some(server) = server else {
                continue;
            };
            let sample = client::measure(load, scenario, server, place.folder);
            let sample = sample.with_context(|| format!("{}, {}", scenario.name, row.kind))?;
            println!(
                "  {:10} {:6.0} MB/s {:7.3} CPU s/GB  {} time-outs, {} failed",
                row.kind,
                sample.bytes as f64 / 1e6 / sample.seconds,
                sample.cpu / (sample.bytes as f64 / 1e9),
                sample.timeouts,
                sample.failed
            );
            row.samples.push(sample);
        }
    }
    let accounting = servers.iter().flatten().next().map(Server::accounting);
    Ok(Measured {
        scenario,
        rows,
        accounting: accounting.unwrap_or("nobody's"),
    })
}

fn reason(peers: &Peers, kind: Kind) -> String {
    missing(peers, kind).unwrap_or_else(|| "not there".to_owned())
}

/// Why a peer could not be had.
fn missing(peers: &Peers, kind: Kind) -> Option<String> {
    let missing = peers.missing.iter().find(|(missing, _)| *missing == kind);
    missing.map(|(_, reason)| reason.clone())
}

/// Bytes that nothing can compress.
fn fill(file: &Path, length: u64) -> Result<()> {
    let mut random = std::io::Read::take(fs::File::open("/dev/urandom")?, length);
    std::io::copy(&mut random, &mut fs::File::create(file)?)
        .with_context(|| format!("cannot fill {}", file.display()))?;
    Ok(())
}

/// Prints what came of the scenarios of files, and puts it into its part of the page.
fn report_files(arguments: &Arguments, peers: &Peers, measured: &[Measured]) -> Result<()> {
    let Some(first) = measured.first() else {
        return Ok(());
    };
    let mut text = heading(arguments, peers, |_| true, first.accounting)?;
    for measured in measured {
        text.push_str(&measured.markdown());
    }
    publish(arguments, "peers", &text)
}

/// The same for those of DHCP.
fn report_offers(arguments: &Arguments, peers: &Peers, measured: &[dhcp::Measured]) -> Result<()> {
    let Some(first) = measured.first() else {
        return Ok(());
    };
    let takes_part = |kind| dhcp::KINDS.contains(&kind);
    let mut text = heading(arguments, peers, takes_part, first.accounting)?;
    for measured in measured {
        text.push_str(&measured.markdown());
    }
    publish(
        arguments,
        "peers --scenario dhcp-1 --scenario dhcp-100k",
        &text,
    )
}

fn publish(arguments: &Arguments, task: &str, text: &str) -> Result<()> {
    println!("\n{text}");
    if arguments.write {
        page::write(task, text)?;
    }
    Ok(())
}

/// When, of what, on what and how it was measured.
fn heading(
    arguments: &Arguments,
    peers: &Peers,
    takes_part: impl Fn(Kind) -> bool,
    accounting: &str,
) -> Result<String> {
    let programs = peers.programs.iter();
    let programs = programs.filter(|program| takes_part(program.kind));
    let versions: Vec<String> = programs
        .map(|program| format!("{} {}", program.kind, program.version))
        .collect();
    let workers = arguments.workers;
    let plural = if workers == 1 { "" } else { "s" };
    let mut text = format!(
        "{}\n\nVersions: {}. This server with {workers} worker{plural}; nginx, where it takes part, with one.\n\n\
         Processor time read from: {accounting}.\n\n",
        page::origin()?,
        versions.join(", "),
    );
    if arguments.server.is_some() {
        text.push_str("The server was given as a binary: its build profile is unknown.\n\n");
    }
    Ok(text)
}
