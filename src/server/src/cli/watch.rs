//! `bootstorm watch`: listens, answers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bootstorm_config::Config;
use bootstorm_config::InterfaceChoice;
use bootstorm_proto::dhcp::{Asker, Class, Sighting, sniff};
use bootstorm_proto::types::HardwareAddress;
use clap::Args;

use super::ConfigArgs;
use super::sorted::News;
use crate::network::{self, Ear, datagram};

/// Machines and servers that are remembered; a flood of invented ones changes nothing.
const REMEMBERED_MAX: usize = 4096;

/// Arguments of `watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo bootstorm watch --interface eth0         until Ctrl-C
  sudo bootstorm watch --interface eth0 --seconds 60

Switch a machine on and look who asks and who answers. Nothing is ever sent. What XDP drops is not
heard here: a server that runs on this host is asked for it.")]
pub(crate) struct WatchArgs {
    /// Interface to listen on
    #[arg(long, value_name = "NAME")]
    interface: InterfaceChoice,
    /// Stop after so many seconds instead of at Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    #[command(flatten)]
    common: ConfigArgs,
}

/// Prints what is heard, then a summary and the next command to type.
pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let config = match args.common.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let interface = network::chosen(std::slice::from_ref(&args.interface))?.remove(0);
    let ear = Ear::open(&interface)?;
    let stopped = stop_flag()?;
    let dropped = follow_drops(config);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "listening on {}; nothing is sent; Ctrl-C ends",
        interface.name
    )?;
    let begun = Instant::now();
    let patience = args.seconds.map(Duration::from_secs);
    let mut seen = Seen::default();
    let mut buffer = vec![0; 65_536];
    while !stopped.load(Ordering::Relaxed) && patience.is_none_or(|p| begun.elapsed() < p) {
        let heard = ear.frame(&mut buffer)?.and_then(|frame| seen.hear(frame));
        for line in heard.into_iter().chain(dropped.try_iter()) {
            writeln!(out, "{:8.3}  {line}", begun.elapsed().as_secs_f64())?;
            out.flush()?;
        }
    }
    seen.summary(&mut out, &interface.name)?;
    Ok(ExitCode::SUCCESS)
}

/// What the running server drops, asked for once a second beside the packets.
fn follow_drops(config: Config) -> Receiver<String> {
    let (told, lines) = channel();
    std::thread::spawn(move || {
        let mut news = News::default();
        loop {
            for line in news.ask(&config) {
                if told.send(line).is_err() {
                    return;
                }
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    lines
}

/// Set at SIGINT or SIGTERM.
fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(crate::compose::stop_signal());
        setter.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}

/// Who was heard.
#[derive(Debug, Default)]
pub(super) struct Seen {
    clients: BTreeMap<HardwareAddress, Client>,
    servers: BTreeMap<IpAddr, Server>,
    relays: BTreeSet<Ipv4Addr>,
}

#[derive(Debug, Default)]
struct Client {
    what: String,
    asked: u64,
    answered_by: BTreeSet<IpAddr>,
}

#[derive(Debug, Default)]
struct Server {
    gives_addresses: bool,
    says_pxe: bool,
    names_files: bool,
}

impl Seen {
    /// Takes note of a frame; the line to print, if it was of interest.
    pub(super) fn hear(&mut self, frame: &[u8]) -> Option<String> {
        let datagram = datagram(frame)?;
        let ports = [datagram.source.port(), datagram.destination.port()];
        if !ports.iter().any(|port| matches!(port, 67 | 68 | 4011)) {
            return None;
        }
        let sighting = sniff(datagram.payload)?;
        if let Some(relay) = sighting.relay
            && self.relays.len() < REMEMBERED_MAX
        {
            self.relays.insert(relay);
        }
        if sighting.from_server {
            let server = sighting.server_id.map_or(datagram.source.ip(), IpAddr::V4);
            self.hear_server(server, &sighting)
        } else {
            self.hear_client(&sighting, datagram.destination.port())
        }
    }

    fn hear_client(&mut self, sighting: &Sighting, port: u16) -> Option<String> {
        let asker = sighting.asker?;
        let what = describe(asker, sighting);
        if self.clients.len() < REMEMBERED_MAX || self.clients.contains_key(&sighting.hardware) {
            let client = self.clients.entry(sighting.hardware).or_default();
            client.asked += 1;
            client.what.clone_from(&what);
        }
        let relay = sighting
            .relay
            .map(|relay| format!(" through relay {relay}"));
        Some(format!(
            "{}  {} to port {port}: {what}{}",
            sighting.hardware,
            message_name(sighting),
            relay.unwrap_or_default()
        ))
    }

    fn hear_server(&mut self, server: IpAddr, sighting: &Sighting) -> Option<String> {
        let known = self.clients.get_mut(&sighting.hardware);
        let for_client = known.is_some();
        if let Some(client) = known {
            client.answered_by.insert(server);
        }
        if self.servers.len() < REMEMBERED_MAX || self.servers.contains_key(&server) {
            let entry = self.servers.entry(server).or_default();
            entry.gives_addresses |= sighting.given.is_some();
            entry.says_pxe |= sighting.class.is_some();
            entry.names_files |= sighting.boot_file.is_some();
        }
        if !for_client {
            return None;
        }
        let mut line = format!(
            "{}  {} from {server}",
            sighting.hardware,
            message_name(sighting)
        );
        if let Some(address) = sighting.given {
            line.push_str(&format!(", address {address}"));
        }
        match sighting.class {
            Some(Class::Pxe) => line.push_str(", PXEClient"),
            Some(Class::Http) => line.push_str(", HTTPClient"),
            None => {}
        }
        if let Some(file) = &sighting.boot_file {
            line.push_str(&format!(", boot file {}", file.escape_debug()));
        }
        Some(line)
    }

    fn summary(&self, out: &mut impl Write, interface: &str) -> std::io::Result<()> {
        writeln!(
            out,
            "\nmachines that boot from the network: {}",
            self.clients.len()
        )?;
        for (hardware, client) in &self.clients {
            let by: Vec<String> = client.answered_by.iter().map(ToString::to_string).collect();
            let by = if by.is_empty() {
                "nobody".to_owned()
            } else {
                by.join(", ")
            };
            writeln!(
                out,
                "  {hardware}  {}, asked {} times, answered by {by}",
                client.what, client.asked
            )?;
        }
        writeln!(out, "servers that answered: {}", self.servers.len())?;
        for (address, server) in &self.servers {
            writeln!(out, "  {address}  {}", server.describe())?;
        }
        for relay in &self.relays {
            writeln!(out, "relay: {relay}")?;
        }
        writeln!(out, "\nnext: {}", self.advice(interface))
    }

    /// Servers that answer boot requests or name boot files.
    pub(super) fn boot_servers(&self) -> Vec<String> {
        let rivals = self
            .servers
            .iter()
            .filter(|(_, server)| server.is_boot_server());
        rivals
            .map(|(address, server)| format!("{address} ({})", server.describe()))
            .collect()
    }

    /// The next command to type.
    fn advice(&self, interface: &str) -> String {
        if self.clients.is_empty() {
            return format!(
                "nothing asked for a boot. Switch a machine on with network boot first in its \
                 boot order, then again:\n  sudo bootstorm watch --interface {interface}"
            );
        }
        let rival = self
            .servers
            .iter()
            .find(|(_, server)| server.is_boot_server());
        let warning = rival.map(|(address, _)| {
            format!(
                "{address} answers boot requests already; machines take the first answer. Switch \
                 its PXE part off, then:\n"
            )
        });
        format!(
            "{}  sudo bootstorm serve --images ./images --interface {interface}",
            warning.unwrap_or_else(|| "nobody serves them yet:\n".to_owned())
        )
    }
}

impl Server {
    fn is_boot_server(&self) -> bool {
        self.says_pxe || self.names_files
    }

    fn describe(&self) -> String {
        let mut roles = Vec::new();
        if self.gives_addresses {
            roles.push("DHCP server");
        }
        match (self.says_pxe, self.names_files) {
            (true, true) => roles.push("boot server"),
            (true, false) => roles.push(
                "says PXEClient but names no file: UEFI machines go to its port 4011 and wait",
            ),
            (false, true) => roles.push("names a boot file (options 66 and 67)"),
            (false, false) => {}
        }
        roles.join(", ")
    }
}

/// What the machine is, in words.
pub(crate) fn describe(asker: Asker, sighting: &Sighting) -> String {
    let program = match asker {
        Asker::Firmware => "PXE firmware",
        Asker::HttpFirmware => "HTTP Boot firmware",
        Asker::Ipxe => "iPXE",
    };
    match sighting.arches.first() {
        Some(arch) => format!("{program}, {arch}"),
        None => format!("{program}, no architecture named"),
    }
}

/// The DHCP message's name.
pub(crate) fn message_name(sighting: &Sighting) -> String {
    sighting
        .message
        .map_or_else(|| "BOOTP".to_owned(), |message| message.to_string())
}
