//! Syslog in: what iPXE and installers report while they boot (UDP, RFC 3164 in spirit). Syslog out:
//! what happens to machines, for a collector.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use bootstorm_config::{Config, ListenAt};
use bootstorm_control::Collector;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;
use tokio::net::UdpSocket;

/// Longer lines are cut.
const LINE_MAX: usize = 1024;

/// Listens if it can; a boot server without syslog is still one.
pub(crate) async fn start(
    listen: ListenAt,
    events: &Sender<BootEvent>,
    metrics: &Arc<Metrics>,
) -> Option<Result<SocketAddr, String>> {
    let address = listen.address()?;
    Some(match UdpSocket::bind(address).await {
        Ok(socket) => {
            let bound = socket.local_addr().unwrap_or(address);
            tokio::spawn(self::listen(socket, events.clone(), Arc::clone(metrics)));
            Ok(bound)
        }
        Err(error) => Err(format!("UDP {address}: {error}")),
    })
}

/// Whoever is told what machines do, as configured.
pub(crate) fn collector(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Collector>> {
    let Some(to) = &config.events.syslog else {
        return Ok(None);
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let to = (to.host.clone(), to.port);
    let collector = Collector::start(to, &host, Arc::clone(metrics));
    collector.context("no thread for syslog").map(Some)
}

/// Tells every line as an event of the machine at the sender's address, until the task is dropped.
/// Lines are debug messages of the target `syslog` as well: `--log-level info,syslog=debug` shows
/// them.
async fn listen(socket: UdpSocket, events: Sender<BootEvent>, metrics: Arc<Metrics>) {
    let mut buffer = [0; LINE_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let event = said(from, &buffer[..length]);
                if events.try_send(event).is_err() {
                    metrics.planes.events_dropped.inc();
                }
            }
            // An ICMP error of an earlier datagram; we never send, so there is nothing to mend.
            Err(error) => tracing::debug!(%error, "syslog socket"),
        }
    }
}

fn said(from: SocketAddr, line: &[u8]) -> BootEvent {
    let text = printable(line);
    let client = from.ip().to_canonical();
    tracing::debug!(target: "syslog", %client, "{text}");
    BootEvent {
        at: SystemTime::now(),
        mac: None,
        ip: Some(client),
        what: What::Said { text: text.into() },
    }
}

/// The line without its priority, with everything that could end a log line or move a cursor
/// escaped. A line that is none of syslog stays as it is otherwise.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r', '\0']);
    let message = match text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, message)) if priority.bytes().all(|b| b.is_ascii_digit()) => message,
        _ => text,
    };
    message.chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_line_cannot_break_out_of_the_log() {
        assert_eq!(printable(b"<14>ipxe: boot\n"), "ipxe: boot");
        assert_eq!(printable(b"a\nERROR b\x1b[2J"), "a\\nERROR b\\u{1b}[2J");
        assert_eq!(printable(b"<14"), "<14");
        assert_eq!(printable(&[0xff, b'x']), "\u{fffd}x");
    }
}
