//! `bootstorm-load`: simulated machines that boot from any boot server.
#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the storm is being put together")]

mod discover;
mod fetch;
mod finding;
mod flood;
mod ground;
mod interface;
mod lab;
mod machine;
mod report;
mod scenario;
mod storm;
mod tls;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

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
        (None, _) => Err(anyhow::anyhow!("no storm yet")),
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
