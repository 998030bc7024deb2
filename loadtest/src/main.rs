//! `bootstorm-load`: simulated machines that boot from any boot server.
#![forbid(unsafe_code)]

mod discover;
mod fetch;
mod finding;
mod flood;
mod ground;
mod interface;
mod lab;
mod machine;
mod machines;
mod play;
mod report;
mod scenario;
mod storm;
mod tls;
mod view;

use std::process::ExitCode;

use clap::Parser;

use finding::Code;
use machine::profile::Profile;

/// Plays machines that boot from the network, with real packets, against any boot server.
///
/// Each machine asks by DHCP, as its firmware does, through relay agents that this program plays or
/// as frames of its own, goes to port 4011 when told so, fetches its boot program by TFTP or HTTP,
/// asks again as iPXE, runs the script that it is given and fetches everything that the script
/// boots. What the server does that it should not is a finding with a name.
#[derive(Debug, Parser)]
#[command(name = "bootstorm-load", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    play: Option<play::Options>,
    #[command(flatten)]
    outside: play::Outside,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Fetch(fetch::Options),
    Flood(flood::Options),
    Discover(discover::Options),
    Lab(lab::Options),
    Machines(machines::Options),
    Compare(view::compare::Options),
    /// Lists the kinds of machines that scenarios can mix
    Profiles,
    /// Lists everything that servers can be found to do wrong
    Findings,
}

const EXAMPLES: &str = "\
Examples:
  ip route add local 10.99.8.0/21 dev lo        # the host takes the machines' addresses
  bootstorm-load loadtest/scenarios/demo.toml   # in a network namespace, as root
  bootstorm-load fetch tftp://10.0.0.2/boot/ipxe.efi --clients 500

Exit codes: 0 everything went as the scenario wants, 1 it did not, 2 wrong usage or scenario.";

fn main() -> ExitCode {
    match prepare(Cli::parse()).map(|work| work()) {
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

/// What a command does; it gives how much of it failed.
type Work = Box<dyn FnOnce() -> anyhow::Result<u64>>;

/// Checks what is asked; an error is wrong usage.
fn prepare(cli: Cli) -> anyhow::Result<Work> {
    Ok(match (cli.command, cli.play) {
        (Some(Command::Fetch(options)), _) => Box::new(fetch::prepare(options)?),
        (Some(Command::Flood(options)), _) => Box::new(flood::prepare(options)?),
        (Some(Command::Discover(options)), _) => Box::new(discover::prepare(options)?),
        (Some(Command::Lab(options)), _) => Box::new(lab::prepare(options)?),
        (Some(Command::Machines(options)), _) => Box::new(machines::prepare(options)?),
        (Some(Command::Compare(options)), _) => Box::new(view::compare::prepare(options)?),
        (Some(Command::Profiles), _) => Box::new(|| list(&profiles())),
        (Some(Command::Findings), _) => Box::new(|| list(&findings())),
        (None, Some(options)) => Box::new(play::prepare(options, &cli.outside)?),
        (None, None) => anyhow::bail!("what is to be played? Give a scenario, or see --help"),
    })
}

fn list(text: &str) -> anyhow::Result<u64> {
    play::print(text)?;
    Ok(0)
}

fn profiles() -> String {
    let lines = Profile::ALL
        .iter()
        .map(|profile| format!("{:13} {}\n", profile.name(), profile.about()));
    lines.collect()
}

fn findings() -> String {
    let lines = Code::ALL
        .iter()
        .map(|code| format!("{}\n    {}\n", code.name(), code.meaning()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn profiles_and_findings_are_listed_each_with_what_it_is() {
        assert_eq!(profiles().lines().count(), Profile::ALL.len());
        assert!(profiles().contains("uefi-https    x64 UEFI that boots by HTTPS"));
        assert_eq!(findings().lines().count(), 2 * Code::ALL.len());
        assert!(findings().starts_with("dhcp.silent\n    No boot server"));
    }
}
