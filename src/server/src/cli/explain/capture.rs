//! Explains recorded packets.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use bootstorm_config::Config;
use bootstorm_ebpf_shared::{Action, Class, Table, inspect};
use bootstorm_policy::Reply;
use bootstorm_proto::dhcp::{Port, REPLY_MAX, Request, Seen, Sighting, Silence, sniff};
use jiff::Timestamp;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use serde_json::{Value, json};

use super::Format;
use super::judge::Judge;
use super::text::{self, Line};
use crate::cli::watch::{describe, message_name};
use crate::network::{Datagram, datagram};

/// Packets read from one capture.
const PACKETS_MAX: usize = 1_000_000;

/// Explains each DHCP packet of a capture.
pub(super) fn explain(
    out: &mut impl Write,
    judge: &Judge,
    config: &Config,
    file: &Path,
    format: Format,
) -> anyhow::Result<()> {
    let table = crate::classifier::table(config, false);
    let mut first = None;
    let mut explained = 0;
    for_each_frame(file, |at, frame| {
        let Some(datagram) = datagram(frame) else {
            return Ok(());
        };
        let since = at.saturating_sub(*first.get_or_insert(at));
        let Some(mut packet) = explained_datagram(judge, &table, &datagram) else {
            return Ok(());
        };
        packet["at"] = time(at).into();
        packet["seconds"] = since.as_secs_f64().into();
        match format {
            Format::Text => print(out, &packet)?,
            Format::Json => {
                let before = if explained == 0 { "[\n" } else { ",\n" };
                write!(out, "{before}{packet}")?;
            }
        }
        explained += 1;
        Ok(())
    })?;
    match format {
        Format::Json if explained == 0 => writeln!(out, "[]")?,
        Format::Json => writeln!(out, "\n]")?,
        Format::Text if explained == 0 => writeln!(
            out,
            "no DHCP packet on UDP port 67, 68 or 4011 in {}: record with\n  \
             sudo tcpdump -i eth0 -w boot.pcap 'udp port 67 or udp port 68 or udp port 4011'",
            file.display()
        )?,
        Format::Text => {}
    }
    Ok(())
}

fn time(since: Duration) -> String {
    let at = Timestamp::try_from(SystemTime::UNIX_EPOCH + since);
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// What is known of a DHCP packet; `None` for anything else.
fn explained_datagram(judge: &Judge, table: &Table, datagram: &Datagram<'_>) -> Option<Value> {
    let port = match datagram.destination.port() {
        67 => Some(Port::Dhcp67),
        4011 => Some(Port::Pxe4011),
        68 => None,
        _ => return None,
    };
    let sighting = sniff(datagram.payload);
    if let Some(sighting) = sighting.as_ref().filter(|sighting| sighting.from_server) {
        return Some(others(datagram, sighting));
    }
    let (port, SocketAddr::V4(source)) = (port?, datagram.source) else {
        return None;
    };
    let mut packet = match request(judge, datagram.payload, port, source) {
        Ok(explained) => explained,
        Err(silence) => json!({ "sent": silent(&silence) }),
    };
    let (class, _) = inspect(datagram.payload, datagram.destination.port());
    packet["class"] = json!({ "name": class.name(), "rule": rule(table, class) });
    packet["packet"] = heading(sighting.as_ref(), datagram).into();
    Some(packet)
}

/// What the configured rule does with such packets.
fn rule(table: &Table, class: Class) -> &'static str {
    let of = Class::all()
        .zip(table.rules)
        .find(|(named, _)| *named == class);
    match of.map(|(_, rule)| rule.action()) {
        Some(Action::Drop) => "drop",
        Some(Action::Limit(_)) => "limit",
        Some(Action::Pass) | None => "pass",
    }
}

/// What a request is decided and would be sent.
fn request(
    judge: &Judge,
    payload: &[u8],
    port: Port,
    source: SocketAddrV4,
) -> Result<Value, Silence> {
    let seen = Seen {
        port,
        source,
        local: judge.local,
        interface: 0,
        broadcast: false,
    };
    let request = Request::read(payload, &seen)?;
    let explanation = judge.dhcp(request.facts());
    let mut packet = explanation.to_json();
    packet["quirks"] = request.quirks().iter().copied().collect();
    let Reply::Dhcp(answer) = &explanation.reply else {
        return Ok(packet);
    };
    let mut buffer = [0; REPLY_MAX];
    packet["sent"] = match request.reply(answer, &judge.style, &mut buffer) {
        Ok(reply) => {
            // Whoever has chosen this server waits no longer.
            packet["reply"]["delay"] = 0.into();
            let sent = buffer.get(..reply.len).and_then(sniff);
            json!({
                "message": reply.message.map_or_else(|| "BOOTP reply".to_owned(), |m| m.to_string()),
                "to": reply.to.address().to_string(),
                "file": sent.and_then(|sent| sent.boot_file),
            })
        }
        Err(silence) => silent(&silence),
    };
    Ok(packet)
}

fn silent(silence: &Silence) -> Value {
    json!({ "message": null, "code": silence.code(), "text": silence.to_string() })
}

/// A packet of another server.
fn others(datagram: &Datagram<'_>, sighting: &Sighting) -> Value {
    let given = sighting.given.map(|address| format!(", address {address}"));
    let file = sighting.boot_file.as_ref();
    let file = file.map(|file| format!(", boot file {file}"));
    let packet = format!(
        "{} of {} for {}{}{}",
        message_name(sighting),
        datagram.source.ip(),
        sighting.hardware,
        given.unwrap_or_default(),
        file.unwrap_or_default(),
    );
    json!({ "packet": packet })
}

fn heading(sighting: Option<&Sighting>, datagram: &Datagram<'_>) -> String {
    let port = datagram.destination.port();
    let Some(sighting) = sighting else {
        return format!("a packet to port {port} from {}", datagram.source);
    };
    let who = sighting.asker.map_or_else(
        || "no boot request".to_owned(),
        |asker| describe(asker, sighting),
    );
    let relay = sighting.relay;
    let relay = relay.map(|relay| format!(" through relay {relay}"));
    format!(
        "{} to port {port} from {}{}: {who}",
        message_name(sighting),
        sighting.hardware,
        relay.unwrap_or_default()
    )
}

const INDENT: &str = "           ";

fn print(out: &mut impl Write, packet: &Value) -> std::io::Result<()> {
    let seconds = packet["seconds"].as_f64().unwrap_or_default();
    let heading = text::clean(packet["packet"].as_str().unwrap_or_default());
    writeln!(out, "{seconds:9.3}  {heading}")?;
    if packet["class"].is_null() {
        return Ok(());
    }
    let mut lines: Vec<Line> = vec![("class", class(&packet["class"]))];
    let quirks = packet["quirks"].as_array().into_iter().flatten();
    lines.extend(quirks.map(|quirk| ("quirk", quirk.as_str().unwrap_or_default().to_owned())));
    if !packet["facts"].is_null() {
        lines.extend(text::lines(packet));
    }
    lines.extend(sent(packet));
    text::write(out, INDENT, &lines)
}

fn class(class: &Value) -> String {
    let name = class["name"].as_str().unwrap_or_default();
    let rule = match class["rule"].as_str() {
        Some("drop") => "dropped by the classifier",
        Some("limit") => "passes the classifier up to a rate",
        _ => "passes the classifier",
    };
    format!("{name}, {rule}")
}

/// What leaves for the machine.
fn sent(packet: &Value) -> Vec<Line> {
    let sent = &packet["sent"];
    let Some(message) = sent["message"].as_str() else {
        let is_told = sent["code"] == packet["reply"]["code"];
        if is_told {
            return vec![("SILENT", String::from("nothing is sent"))];
        }
        let mut lines = vec![("SILENT", text::words(sent))];
        lines.extend(text::advised(sent["code"].as_str()));
        return lines;
    };
    let to = sent["to"].as_str().unwrap_or_default();
    let file = match sent["file"].as_str() {
        Some(file) => format!(", file {file}"),
        None => ", no file yet: the firmware asks port 4011 next".to_owned(),
    };
    vec![("REPLY", format!("{message} to {to}{file}"))]
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

#[cfg(test)]
mod tests;
