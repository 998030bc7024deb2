//! `bootstorm-load lab`: a storm against a server that runs in a network of its own, on this host.
//!
//! ```text
//!  server: COMMAND on eth0 ──┐
//!                            ├── lan: a bridge; rates and loss are its ports'
//!  machines: this program ───┤
//!                            └── flood: who means no good (only where the scenario wants it)
//! ```
//!
//! Each is a network namespace. They and every process in them belong to one process namespace,
//! which the kernel ends with its first process, however that ends: nothing is ever left, and
//! nothing of the host's own network is touched.

mod enter;
mod flood;
mod network;
mod programs;
mod server;

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bootstorm_config::Span;

use crate::machine::plan;
use crate::play;
use crate::scenario::{Flood, LinkShape, Percent, Restart, Scenario};
use crate::storm::{Link, ServerProcess};
use enter::enter;
use flood::Sender;
use network::Network;
use server::Server;

/// What a scenario wants of the lab.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The server's address.
    pub(crate) server: Ipv4Addr,
    /// Further addresses of the server's host: DHCP servers that relays ask as well.
    pub(crate) also: Vec<Ipv4Addr>,
    /// How machines reach the server.
    pub(crate) link: Link,
    /// The machines' addresses.
    pub(crate) machines: plan::Network,
    /// The server's DHCP port: it is ready once that is taken.
    pub(crate) port: u16,
    /// What the line between machines and server is like.
    pub(crate) shape: LinkShape,
    /// What is sent to the server beside the machines' packets.
    pub(crate) flood: Option<Flood>,
    /// When the server is killed and started again.
    pub(crate) restart: Option<Restart>,
}

/// Plays a scenario against a server that this program starts, in a network of their own.
///
/// The network is made of namespaces, with the rates and losses of the scenario's `[link]`, and is
/// gone when this ends. It takes root, or a kernel that lets users make namespaces.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
// Groups are named after their type, and `play::Options` is one already.
#[group(id = "lab")]
pub(crate) struct Options {
    #[command(flatten)]
    play: play::Options,
    /// The server is ready when it prints this line; else when somebody listens on its DHCP port
    #[arg(long, value_name = "LINE", conflicts_with = "ready_after")]
    ready: Option<String>,
    /// The server is ready so long after its start
    #[arg(long, value_name = "TIME", value_parser = span)]
    ready_after: Option<Duration>,
    /// Where the server's outputs go; without it a new file, kept when something failed
    #[arg(long, value_name = "FILE")]
    server_log: Option<PathBuf>,
    /// Where the process outside is: a pipe that it holds
    #[arg(long, hide = true)]
    inside: Option<i32>,
    /// The server: it runs in a namespace of its own, with the scenario's address on eth0
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  bootstorm-load lab loadtest/scenarios/demo.toml --ready ready -- bootstorm serve --images /srv/images
  bootstorm-load lab loadtest/scenarios/dnsmasq.toml -- dnsmasq --keep-in-foreground --conf-file=my.conf

Exit codes: 0 everything went as the scenario wants, 1 it did not, 2 wrong usage or scenario.";

/// A time as scenarios have it: `250ms`, `10s`.
fn span(text: &str) -> Result<Duration, String> {
    let Span(time) = text.parse()?;
    Ok(time)
}

/// How the server is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// Program and arguments.
    pub(crate) command: Vec<OsString>,
    /// How to know that it is ready.
    pub(crate) ready: Ready,
}

/// How to know that a server is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Somebody in its namespace listens on this UDP port.
    Port(u16),
    /// It printed this line.
    Line(String),
    /// So long after its start.
    After(Duration),
}

impl Wanted {
    /// What this scenario wants.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self {
            server: scenario.server,
            also: scenario.network.dhcp.clone(),
            link: scenario.way(),
            machines: scenario.network.machines.0,
            port: scenario.ports.dhcp,
            shape: scenario.link.unwrap_or_default(),
            flood: scenario.flood.clone(),
            restart: scenario.restart,
        }
    }

    /// Whether the line has a rate or loses packets.
    fn is_shaped(&self) -> bool {
        self.shape.down.is_some() || self.shape.up.is_some() || self.loss() > 0.0
    }

    /// The share of packets that is lost each way, of 1.
    fn loss(&self) -> f64 {
        self.shape.loss.map_or(0.0, Percent::share)
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "nobody listened on UDP port {port}"),
            Self::Line(line) => write!(f, "it did not print the line `{line}`"),
            Self::After(time) => write!(f, "its {time:?} were not over"),
        }
    }
}

/// Checks what is to be played and whether a lab can be made; an error is wrong usage. The work
/// gives 0 when everything went as the scenario wants.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    let scenario = options.play.scenario()?;
    let wanted = Wanted::of(&scenario);
    programs::check(wanted.is_shaped())?;
    let stop = play::until_interrupted()?;
    Ok(move || match options.inside {
        None => enter(&stop),
        Some(lifeline) => {
            enter::follow(lifeline, Arc::clone(&stop))?;
            options.run(&scenario, &wanted, &stop)
        }
    })
}

impl Options {
    /// Makes the network, starts the server, and plays against it; gives the exit code of that.
    fn run(self, scenario: &Scenario, wanted: &Wanted, stop: &AtomicBool) -> anyhow::Result<u64> {
        let network = Network::make(wanted).context("the lab cannot be made")?;
        let log = self.log_file()?;
        let launch = Launch {
            command: self.command,
            ready: match (self.ready, self.ready_after) {
                (Some(line), _) => Ready::Line(line),
                (None, Some(time)) => Ready::After(time),
                (None, None) => Ready::Port(wanted.port),
            },
        };
        let server = Server::start(&network.server, &launch, &log, stop)?;
        let sender = match (&network.flood, &wanted.flood) {
            (Some(from), Some(flood)) => Some(Sender::start(from, flood, wanted.server)?),
            _ => None,
        };
        let code = beside(server, wanted.restart, stop, |process| {
            self.play.play(scenario, Some(process), stop)
        })?;
        if let Some(sender) = sender {
            eprintln!(
                "flood: {:.0} frames a second were sent",
                sender.stop()?.rate
            );
        }
        if self.server_log.is_none() && code == 0 {
            std::fs::remove_file(&log)?;
        } else if code != 0 {
            eprintln!("what the server said is in {}", log.display());
        }
        Ok(code)
    }

    /// The file for the server's outputs, empty.
    fn log_file(&self) -> anyhow::Result<PathBuf> {
        let mut options = OpenOptions::new();
        let file = match &self.server_log {
            Some(file) => {
                options.create(true).truncate(true);
                file.clone()
            }
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
                options.create_new(true);
                std::env::temp_dir().join(format!("bootstorm-lab-{now}.log"))
            }
        };
        options
            .write(true)
            .open(&file)
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(file)
    }
}

/// Plays the storm while the server is kept running; a server that ends stops the storm.
fn beside(
    mut server: Server<'_>,
    restart: Option<Restart>,
    stop: &AtomicBool,
    storm: impl FnOnce(ServerProcess) -> anyhow::Result<u64>,
) -> anyhow::Result<u64> {
    let over = AtomicBool::new(false);
    let process = server.process();
    thread::scope(|scope| {
        let keeper = scope.spawn(|| server.keep(restart, &over, stop));
        let end = End(&over);
        let code = storm(process);
        drop(end);
        let kept = keeper
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("whoever watched the server is gone")));
        // Why the server ended says more than what its end did to the storm.
        kept.and(code)
    })
}

/// Says that the storm is over when it goes, also by a panic: whoever watches the server waits for
/// that.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
