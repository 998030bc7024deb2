//! `bootstorm-load discover`: what a boot server offers, and how many offers a second it makes.

mod option;
mod rate;
mod reply;
mod show;

use std::time::Duration;

use anyhow::ensure;
use bootstorm_config::Span;
use bootstorm_proto::types::{ClientArch, MacAddress, MachineGuid};

use crate::interface::Interface;

/// Sends DISCOVERs as fast as they are answered, or one of each architecture to see what is offered.
///
/// Without --show it counts: a new DISCOVER for each offer, of machines that are made up, the same in
/// every run (02:f1:0d:00:00:00 is the first one), in a network of your own. With --show it asks once
/// as each architecture does and prints every offer with all its options; that harms nobody, and
/// nothing is leased.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Network interface of the machines
    #[arg(long)]
    interface: String,
    /// How long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Machines, of which a random one asks each time
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    macs: u32,
    /// DISCOVERs that may be without an answer at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    outstanding: u64,
    /// Print every offer instead of counting offers
    #[arg(long, conflicts_with_all = ["seconds", "macs", "outstanding"])]
    show: bool,
    /// Hardware address of the machine that asks; without it the interface's own
    #[arg(long, requires = "show")]
    mac: Option<MacAddress>,
    /// Its SMBIOS UUID (option 97)
    #[arg(long, requires = "show")]
    uuid: Option<MachineGuid>,
    /// Architectures to ask as (option 93), or `all` that are in use
    #[arg(long, requires = "show", value_name = "NUMBER,...", default_value = "0,7,16", value_parser = archs)]
    arch: Archs,
    /// How long offers are waited for after the last DISCOVER
    #[arg(long, requires = "show", default_value = "4s", value_parser = patience)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  bootstorm-load discover --interface eth0 --show
  bootstorm-load discover --interface eth0 --show --arch all --mac 00:11:22:33:44:55 --json
  bootstorm-load discover --interface eth1 --macs 100000 --seconds 5

Both need CAP_NET_RAW; counting needs UDP port 68 too.

Exit codes: 0 something was offered, 1 nothing was, 2 wrong usage.";

/// Checks what was asked; an error is wrong usage. The work gives 0 when there were offers.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    let interface = Interface::named(&options.interface)?;
    Ok(move || {
        if options.show {
            show::show(&options, &interface)
        } else {
            rate::measure(&options, &interface)
        }
    })
}

/// Architectures, in the order in which they ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Archs(Vec<ClientArch>);

/// Those that machines of this century have.
const IN_USE: [u16; 13] = [0, 6, 7, 9, 10, 11, 15, 16, 18, 19, 25, 27, 39];
/// More than the IANA has given a meaning.
const ARCHS_MAX: usize = 64;
/// The longest that is waited for offers.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

fn archs(text: &str) -> Result<Archs, String> {
    if text == "all" {
        return Ok(Archs(IN_USE.map(ClientArch).to_vec()));
    }
    let read = |number: &str| {
        number
            .trim()
            .parse()
            .map(ClientArch)
            .map_err(|_| format!("`{number}` is not an architecture: write `0,7,16` or `all`"))
    };
    let archs: Vec<_> = text.split(',').map(read).collect::<Result<_, _>>()?;
    if archs.len() > ARCHS_MAX {
        return Err(format!("at most {ARCHS_MAX} architectures ask"));
    }
    Ok(Archs(archs))
}

fn patience(text: &str) -> anyhow::Result<Duration> {
    let Span(patience) = text.parse::<Span>().map_err(anyhow::Error::msg)?;
    ensure!(
        !patience.is_zero() && patience <= PATIENCE_MAX,
        "between 1ms and 1h is waited"
    );
    Ok(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_a_list_or_all() {
        assert_eq!(archs("0, 7").unwrap().0, [ClientArch(0), ClientArch(7)]);
        assert_eq!(archs("all").unwrap().0.len(), IN_USE.len());
        for wrong in ["", "x64", "7,", "65536", "-1"] {
            assert!(archs(wrong).is_err(), "{wrong}");
        }
        assert!(archs(&["7"; 65].join(",")).is_err());
    }

    #[test]
    fn patience_is_some_and_ends() {
        assert_eq!(patience("4s").unwrap(), Duration::from_secs(4));
        for wrong in ["4", "0s", "2h", ""] {
            assert!(patience(wrong).is_err(), "{wrong}");
        }
    }
}
