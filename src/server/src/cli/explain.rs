//! `bootstorm explain`: why a machine was, would be, or was not answered.

mod trace;

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bootstorm_config::Config;
use bootstorm_policy::{Facts, Policy, Ports, Rules};
use bootstorm_proto::dhcp::{
    Answer, Asker, ClientFacts, Port, REPLY_MAX, Request, Seen, Sighting, Style, WdsAction, sniff,
};
use bootstorm_proto::types::{ClientArch, MacAddress};
use clap::Args;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;

use super::watch::{describe, message_name};
use super::{ConfigArgs, live, sorted};
use crate::network::{self, Datagram, datagram};
use crate::translate;

/// Packets read from one capture.
const PACKETS_MAX: usize = 1_000_000;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm explain --mac 52:54:00:aa:bb:cc          what this machine would be answered, and, where
                                                     the server runs, what happened to it
  bootstorm explain --pcap boot.pcap --server 10.0.0.5
                                                     each boot request of a capture, and our answer

Every refusal has a code; docs/reference/reasons.md lists cause, check and fix.")]
#[group(id = "subject", required = true, multiple = false, args = ["mac", "pcap"])]
pub(crate) struct ExplainArgs {
    /// The machine
    #[arg(long, value_name = "MAC")]
    mac: Option<MacAddress>,
    /// Recorded packets (pcap or pcapng, Ethernet)
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The server's address towards the machine; without it the host's first IPv4 address
    #[arg(long, value_name = "ADDR")]
    server: Option<Ipv4Addr>,
    #[command(flatten)]
    common: ConfigArgs,
}

/// Prints the explanation.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = match args.common.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let judge = Judge::new(&config, args.server)?;
    let mut out = std::io::stdout().lock();
    if let Some(mac) = args.mac {
        explain_machine(&mut out, &judge, &config, mac)?;
    }
    if let Some(file) = &args.pcap {
        explain_capture(&mut out, &judge, file)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Decides as the server would, without sending anything.
struct Judge {
    policy: Policy,
    style: Style,
    local: Ipv4Addr,
    note: Option<String>,
}

impl Judge {
    fn new(config: &Config, server: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let local = match server {
            Some(address) => address,
            None => own_address()?,
        };
        let (catalog, note) = crate::offline::catalog(config);
        let policy = Policy::new(
            Rules::from(config),
            Ports::from(&config.listen),
            Arc::new(catalog),
        );
        Ok(Self {
            policy,
            style: translate::style(config),
            local,
            note,
        })
    }

    fn facts(&self, mac: MacAddress, asker: Asker, arch: ClientArch) -> ClientFacts {
        ClientFacts {
            // HTTP and HTTPS, as every build of today has them.
            ipxe_features: (1 << 3) | (1 << 4),
            ..ClientFacts::new(mac.into(), asker, arch, IpAddr::V4(self.local))
        }
    }
}

fn own_address() -> anyhow::Result<Ipv4Addr> {
    let interfaces = network::interfaces()?;
    let addresses = interfaces
        .iter()
        .filter(|i| !i.loopback)
        .flat_map(|i| &i.addresses);
    let first = addresses.filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    Ok(first.into_iter().next().unwrap_or(Ipv4Addr::LOCALHOST))
}

fn explain_machine(
    out: &mut impl Write,
    judge: &Judge,
    config: &Config,
    mac: MacAddress,
) -> anyhow::Result<()> {
    writeln!(out, "machine  {mac}")?;
    match live::machine(config, mac) {
        Ok(Some(lines)) => {
            writeln!(out, "\nwhat happened (from the running server)")?;
            for line in lines {
                writeln!(out, "  {line}")?;
            }
        }
        Ok(None) => writeln!(out, "\nthe running server has not heard of it")?,
        Err(error) => writeln!(out, "\nno history: {error:#}")?,
    }
    if let Ok(Some(standing)) = sorted::standing(config, mac) {
        writeln!(out, "\nclassifier  {standing}")?;
    }
    writeln!(out, "\nwhat it would be answered by {}", judge.local)?;
    if let Some(note) = &judge.note {
        writeln!(out, "  note: {note}")?;
    }
    let askers = [
        ("BIOS firmware", Asker::Firmware, ClientArch(0)),
        ("UEFI firmware", Asker::Firmware, ClientArch(7)),
        ("HTTP Boot firmware", Asker::HttpFirmware, ClientArch(16)),
        ("iPXE", Asker::Ipxe, ClientArch(7)),
    ];
    for (name, asker, arch) in askers {
        let answer = judge.policy.dhcp(&judge.facts(mac, asker, arch));
        writeln!(out, "  {name:<19} {}", in_words(&answer))?;
    }
    let facts = Facts {
        mac: Some(mac),
        ..Facts::default()
    };
    let plan = judge.policy.boot(&facts);
    writeln!(out, "  {:<19} {}", "its script boots", plan.name())?;
    for step in trace::steps(&judge.policy, &facts) {
        writeln!(out, "  {:<19} {step}", "")?;
    }
    Ok(())
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Boot { file, server, .. } => match server {
            Some(server) => format!("{file} from {server}"),
            None => file.to_string(),
        },
        Answer::Wds(WdsAction::Wait { message, .. }) => format!("wdsnbp waits: {message}"),
        Answer::Wds(WdsAction::Refer(server)) => format!("wdsnbp goes to {server}"),
        Answer::Wds(WdsAction::Abort { message }) => format!("wdsnbp leaves: {message}"),
        Answer::Later => "decided when a provider has answered".to_owned(),
        Answer::Silent { code, text } => format!("NOT ANSWERED  {text} [{code}]"),
    }
}

fn explain_capture(out: &mut impl Write, judge: &Judge, file: &Path) -> anyhow::Result<()> {
    if let Some(note) = &judge.note {
        writeln!(out, "note: {note}")?;
    }
    let mut first = None;
    let mut explained = 0;
    for_each_frame(file, |at, frame| {
        let Some(datagram) = datagram(frame) else {
            return Ok(());
        };
        let since = at.saturating_sub(*first.get_or_insert(at));
        if explain_datagram(out, judge, since, &datagram)? {
            explained += 1;
        }
        Ok(())
    })?;
    if explained == 0 {
        writeln!(
            out,
            "no DHCP packet on UDP port 67 or 4011 in {}: record with\n  \
             sudo tcpdump -i eth0 -w boot.pcap 'udp port 67 or udp port 68 or udp port 4011'",
            file.display()
        )?;
    }
    Ok(())
}

/// Explains a DHCP packet; `false` for anything else.
fn explain_datagram(
    out: &mut impl Write,
    judge: &Judge,
    since: Duration,
    datagram: &Datagram<'_>,
) -> anyhow::Result<bool> {
    let time = format!("{:9.3}", since.as_secs_f64());
    let port = match datagram.destination.port() {
        67 => Port::Dhcp67,
        4011 => Port::Pxe4011,
        68 => return Ok(other_servers_reply(out, &time, datagram)?),
        _ => return Ok(false),
    };
    let sighting = sniff(datagram.payload);
    if sighting
        .as_ref()
        .is_some_and(|sighting| sighting.from_server)
    {
        return Ok(other_servers_reply(out, &time, datagram)?);
    }
    writeln!(out, "{time}  {}", heading(sighting.as_ref(), datagram))?;
    let SocketAddr::V4(source) = datagram.source else {
        return Ok(false);
    };
    for (name, value) in verdict(judge, datagram.payload, port, source) {
        writeln!(out, "           {name:<9} {value}")?;
    }
    Ok(true)
}

fn heading(sighting: Option<&Sighting>, datagram: &Datagram<'_>) -> String {
    let port = datagram.destination.port();
    match sighting {
        Some(sighting) => {
            let who = sighting.asker.map_or_else(
                || "no boot request".to_owned(),
                |asker| describe(asker, sighting),
            );
            let relay = sighting
                .relay
                .map(|relay| format!(" through relay {relay}"));
            format!(
                "{} to port {port} from {}{}: {who}",
                message_name(sighting),
                sighting.hardware,
                relay.unwrap_or_default()
            )
        }
        None => format!("a packet to port {port} from {}", datagram.source),
    }
}

/// The lines under a request: what was read, decided and would be sent.
fn verdict(
    judge: &Judge,
    payload: &[u8],
    port: Port,
    source: SocketAddrV4,
) -> Vec<(&'static str, String)> {
    let seen = Seen {
        port,
        source,
        local: judge.local,
        interface: 0,
        broadcast: false,
    };
    let request = match Request::read(payload, &seen) {
        Ok(request) => request,
        Err(silence) => return vec![("SILENT", format!("{silence} [{}]", silence.code()))],
    };
    let mut lines = Vec::new();
    if let Some(guid) = request.facts().guid {
        lines.push(("guid", guid.to_string()));
    }
    for quirk in request.quirks() {
        lines.push(("quirk", (*quirk).to_owned()));
    }
    let answer = judge.policy.dhcp(request.facts());
    for step in trace::steps(&judge.policy, &Facts::from(request.facts())) {
        lines.push(("provider", step));
    }
    lines.push(("policy", in_words(&answer)));
    let mut buffer = [0; REPLY_MAX];
    lines.push(match request.reply(&answer, &judge.style, &mut buffer) {
        Ok(reply) => {
            let sent = sniff(&buffer[..reply.len]);
            let file = sent.and_then(|sent| sent.boot_file).map_or_else(
                || ", no file yet: the firmware asks port 4011 next".to_owned(),
                |file| format!(", file {file}"),
            );
            let kind = reply
                .message
                .map_or_else(|| "BOOTP reply".to_owned(), |m| m.to_string());
            ("REPLY", format!("{kind} to {}{file}", reply.to.address()))
        }
        Err(silence) => ("SILENT", format!("{silence} [{}]", silence.code())),
    });
    lines
}

fn other_servers_reply(
    out: &mut impl Write,
    time: &str,
    datagram: &Datagram<'_>,
) -> std::io::Result<bool> {
    let Some(sighting) = sniff(datagram.payload).filter(|sighting| sighting.from_server) else {
        return Ok(false);
    };
    let address = sighting.given.map(|address| format!(", address {address}"));
    let file = sighting
        .boot_file
        .as_ref()
        .map(|file| format!(", boot file {file}"));
    writeln!(
        out,
        "{time}  {} of {} for {}{}{}",
        message_name(&sighting),
        datagram.source.ip(),
        sighting.hardware,
        address.unwrap_or_default(),
        file.unwrap_or_default(),
    )?;
    Ok(true)
}

/// Reads a capture of either format, with each packet's time since its own epoch.
fn for_each_frame(
    path: &Path,
    mut each: impl FnMut(Duration, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let open = || -> anyhow::Result<_> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(BufReader::new(file))
    };
    if let Ok(mut reader) = PcapReader::new(open()?) {
        for _ in 0..PACKETS_MAX {
            let Some(packet) = reader.next_packet() else {
                return Ok(());
            };
            let packet = packet.with_context(|| format!("{} is damaged", path.display()))?;
            each(packet.timestamp, &packet.data)?;
        }
        return Ok(());
    }
    let Ok(mut reader) = PcapNgReader::new(open()?) else {
        bail!(
            "{} is neither pcap nor pcapng [explain.no-capture]",
            path.display()
        );
    };
    for _ in 0..PACKETS_MAX {
        let Some(block) = reader.next_block() else {
            return Ok(());
        };
        let block = block.with_context(|| format!("{} is damaged", path.display()))?;
        if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block {
            each(packet.timestamp, &packet.data)?;
        }
    }
    Ok(())
}
