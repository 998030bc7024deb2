//! `bootstorm-load`: simulated machines that boot from any boot server.
#![forbid(unsafe_code)]

mod clients;
mod discover;
mod fetch;
mod flood;
mod interface;
mod machine;
mod report;
mod scenario;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;

use clients::dhcp::Relay;
use report::Tally;
use scenario::Scenario;

/// Plays machines that boot from the network, with real packets, against any boot server.
///
/// Each machine asks by DHCP through a relay agent that this program plays, goes to port 4011 when
/// told so, fetches its boot program by TFTP, asks again as iPXE, runs the script that it is
/// given and fetches everything that the script boots.
#[derive(Debug, Parser)]
#[command(name = "bootstorm-load", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What is to be simulated
    #[arg(required = true)]
    scenario: Option<PathBuf>,
    /// Other numbers of machines than the scenario's
    #[arg(long)]
    machines: Option<u32>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Fetch(fetch::Options),
    Flood(flood::Options),
    Discover(discover::Options),
}

const EXAMPLES: &str = "\
Examples:
  ip route add local 10.99.8.0/22 dev lo        # the host takes the machines' addresses
  bootstorm-load loadtest/scenarios/demo.toml   # in a network namespace, as root
  bootstorm-load fetch tftp://10.0.0.2/boot/ipxe.efi --clients 500

Exit codes: 0 every machine booted, 1 some did not, 2 wrong usage or scenario.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.scenario) {
        (Some(Command::Fetch(options)), _) => fetch::prepare(options).map(|work| work()),
        (Some(Command::Flood(options)), _) => flood::prepare(options).map(|work| work()),
        (Some(Command::Discover(options)), _) => discover::prepare(options).map(|work| work()),
        (None, scenario) => {
            scenario_of(scenario.as_deref(), cli.machines).map(|scenario| storm(scenario, cli.json))
        }
    };
    match done {
        Ok(Ok(0)) => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("bootstorm-load: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bootstorm-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn scenario_of(file: Option<&Path>, machines: Option<u32>) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::load(file.context("no scenario")?)?;
    scenario.machines = machines.unwrap_or(scenario.machines);
    scenario.check()?;
    Ok(scenario)
}

/// Plays the scenario to its end; returns how many machines failed.
fn storm(scenario: Scenario, json: bool) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop")?;
    runtime.block_on(async {
        let scenario = Arc::new(scenario);
        let relay = Relay::bind(scenario.relay).await?;
        let tally = Arc::new(Tally::default());
        let begun = Instant::now();
        let machines = scenario.machines;
        for index in 0..machines {
            let (scenario, relay, tally) = (
                Arc::clone(&scenario),
                Arc::clone(&relay),
                Arc::clone(&tally),
            );
            let delay = scenario.ramp_ms * u64::from(index) / u64::from(machines);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                machine::boot(scenario, relay, tally, index).await;
            });
        }
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let stopped = tokio::signal::ctrl_c();
        tokio::pin!(stopped);
        while tally.ended().0 < u64::from(machines) {
            tokio::select! {
                _ = tick.tick() => eprintln!("{}", tally.line(machines, begun.elapsed())),
                _ = &mut stopped => {
                    eprintln!("stopped");
                    break;
                }
            }
        }
        if json {
            println!("{}", tally.json(machines, begun.elapsed()));
        } else {
            print!("{}", tally.summary(machines, begun.elapsed()));
        }
        let (done, failed) = tally.ended();
        Ok(failed + u64::from(machines).saturating_sub(done))
    })
}
