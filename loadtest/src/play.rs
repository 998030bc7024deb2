//! A scenario is played to its end, shown while it goes on, and judged.

use std::io::{Read as _, Write as _, stdout};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use crate::report::Books;
use crate::scenario::{Overrides, Scenario};
use crate::storm::{self, ServerProcess};
use crate::view::{self, Viewer};

/// What is played, and where it is told.
#[derive(Debug, clap::Args)]
#[group(id = "played")]
pub(crate) struct Options {
    /// What is to be simulated
    scenario: PathBuf,
    /// Other numbers of machines than the scenario's
    #[arg(long)]
    machines: Option<u32>,
    /// Another boot server than the scenario's
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Ipv4Addr>,
    /// PEM file with the CA of the server's certificate, instead of the scenario's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the report as JSON instead of a summary
    #[arg(long)]
    json: bool,
    /// Write the report here, as JSON, for `bootstorm-load compare` too
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Write the report here, as one web page
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Lines instead of the live view
    #[arg(long)]
    plain: bool,
}

/// What is said of a server that runs already.
#[derive(Debug, clap::Args)]
pub(crate) struct Outside {
    /// The server's process on this host: what it costs is told beside what this program costs
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Play it although `[link]`, `[flood]` and `[restart]` are only done by `bootstorm-load lab`
    #[arg(long)]
    as_is: bool,
}

/// Checks what is to be played against a server that runs already; an error is wrong usage. The
/// work gives 0 when everything went as the scenario wants.
pub(crate) fn prepare(
    options: Options,
    outside: &Outside,
) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64> + use<>> {
    let scenario = options.scenario()?;
    if let Some(section) = scenario.only_in_lab().filter(|_| !outside.as_is) {
        bail!(
            "[{section}] is done by the laboratory: bootstorm-load lab {} -- COMMAND of the server \
             (or play it without, by --as-is)",
            options.scenario.display()
        );
    }
    let server = match outside.server_pid {
        Some(pid) => {
            let there = Path::new("/proc").join(pid.to_string()).is_dir();
            ensure!(there, "--server-pid {pid}: there is no such process");
            Some(ServerProcess::new(pid))
        }
        None => None,
    };
    let stop = until_interrupted()?;
    Ok(move || options.play(&scenario, server, &stop))
}

/// Set by SIGINT and SIGTERM. A second SIGINT ends the process at once, but for giving the terminal
/// back; a second SIGTERM does not, since `timeout` sends two.
pub(crate) fn until_interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // A handler of signals itself may not write to a terminal: a thread hears of each SIGINT.
    let (mut interrupts, interrupted) = UnixStream::pair()?;
    flag::register(SIGINT, Arc::clone(&stop))
        .and_then(|_| flag::register(SIGTERM, Arc::clone(&stop)))
        .and_then(|_| pipe::register(SIGINT, interrupted))
        .context("no handler for signals")?;
    thread::spawn(move || {
        if interrupts.read_exact(&mut [0; 2]).is_ok() {
            view::exit(1);
        }
    });
    Ok(stop)
}

impl Options {
    /// The scenario, with what the command line says otherwise; everything that can be wrong
    /// before the first packet is.
    pub(crate) fn scenario(&self) -> anyhow::Result<Scenario> {
        let overrides = Overrides {
            machines: self.machines,
            server: self.server,
            ca: self.ca.clone(),
        };
        let scenario = Scenario::load(&self.scenario, &overrides)?;
        if let Some(ca) = &scenario.tls.ca {
            ensure!(ca.is_file(), "the CA {} is not there", ca.display());
        }
        for file in self.report.iter().chain(&self.html) {
            // Not after ten minutes of a storm.
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            ensure!(
                folder.is_none_or(Path::is_dir),
                "{} cannot be written: its folder is not there",
                file.display()
            );
            ensure!(!file.is_dir(), "{} is a folder", file.display());
        }
        Ok(scenario)
    }

    /// Plays it to its end, which the flag may bring, and tells what came of it; 0 when everything
    /// went as the scenario wants.
    pub(crate) fn play(
        &self,
        scenario: &Scenario,
        server: Option<ServerProcess>,
        stop: &AtomicBool,
    ) -> anyhow::Result<u64> {
        let books = Books::new(scenario.about(), Instant::now());
        let mut screen = Viewer::new(self.plain || self.json);
        let mut report = storm::run(scenario.setup(server), books, &mut screen, stop)?;
        // It gives the terminal back.
        drop(screen);
        report.limits = scenario.limits.judge(&report);
        report.beside = scenario.beside();
        if let Some(file) = &self.report {
            report.save(file)?;
        }
        if let Some(file) = &self.html {
            view::save(file, &view::html(&report)?)?;
        }
        let told = if self.json {
            report.json()? + "\n"
        } else {
            view::summary(&report)
        };
        print(&told)?;
        Ok(u64::from(!report.passed()))
    }
}

/// Writes to standard output; whoever reads it no further has read enough.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush())
    {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}
