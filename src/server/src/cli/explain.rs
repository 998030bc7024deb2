//! `bootstorm explain`: why a machine was, would be, or was not answered.

mod advice;
mod capture;
mod judge;
mod machine;
mod text;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use bootstorm_proto::types::{MacAddress, MachineGuid};
use clap::{Args, ValueEnum};

use super::ConfigArgs;
use judge::Judge;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm explain 52:54:00:aa:bb:cc                what was decided for this machine and why, what
                                                     happened to it, and what it would be answered;
                                                     from the running server, else from its database
  bootstorm explain --pcap boot.pcap --server 10.0.0.5
                                                     each DHCP packet of a capture, and our answer
  bootstorm explain --pcap boot.pcap --config new.toml --ask
                                                     the same by another configuration, asking its
                                                     programs, services and databases

Every refusal has a code; docs/reference/reasons.md lists cause, check and fix.
Exit codes: 0 explained, 1 it cannot be, 2 what was written is wrong.")]
#[group(id = "subject", required = true, multiple = false, args = ["machine", "mac", "pcap"])]
pub(crate) struct ExplainArgs {
    /// The machine: its MAC address, its IP address or its GUID
    machine: Option<Subject>,
    /// The machine by its MAC address
    #[arg(long, value_name = "MAC")]
    mac: Option<MacAddress>,
    /// Recorded packets (pcap or pcapng, Ethernet)
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The server's address towards the machine; without it the host's first IPv4 address
    #[arg(long, value_name = "ADDR")]
    server: Option<Ipv4Addr>,
    /// Without a server: ask the programs, services and databases of the configuration, too
    #[arg(long)]
    ask: bool,
    /// How it is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    common: ConfigArgs,
}

/// How explanations are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: docs/reference/decisions.md lists the names
    Json,
}

/// Who is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Mac(MacAddress),
    Address(IpAddr),
    Guid(MachineGuid),
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mac = text.parse().map(Self::Mac).ok();
        let address = || text.parse().map(Self::Address).ok();
        let guid = || text.parse().map(Self::Guid).ok();
        mac.or_else(address)
            .or_else(guid)
            .ok_or("it is no MAC address (52:54:00:aa:bb:cc), IP address or GUID")
    }
}

/// Prints the explanation.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = match args.common.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let mut out = std::io::stdout().lock();
    if let Some(file) = &args.pcap {
        let judge = Judge::new(&config, args.server, args.ask)?;
        for note in &judge.notes {
            eprintln!("note: {note}");
        }
        capture::explain(&mut out, &judge, &config, file, args.output)?;
    } else if let Some(subject) = args.machine.or(args.mac.map(Subject::Mac)) {
        let view = machine::view(&config, subject, args.server, args.ask)?;
        match args.output {
            Format::Text => machine::print(&mut out, &view)?,
            Format::Json => {
                use std::io::Write as _;
                writeln!(out, "{view:#}")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_by_mac_address_or_guid() {
        let read = |text: &str| text.parse::<Subject>();
        let mac = MacAddress::new([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
        assert_eq!(read("52-54-00-AA-BB-CC"), Ok(Subject::Mac(mac)));
        let address = IpAddr::from([10, 0, 3, 17]);
        assert_eq!(read("10.0.3.17"), Ok(Subject::Address(address)));
        let guid = "4c4c4544-0042-3510-8052-b3c04f4b4e32";
        assert_eq!(read(guid), Ok(Subject::Guid(guid.parse().unwrap())));
        assert!(read("lab3-17").is_err());
    }
}
