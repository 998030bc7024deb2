//! Boot events for a collector of the house: syslog as RFC 5424 has it, by UDP (RFC 5426).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;

use crate::clients::{Happened, Hear};

/// Messages that may wait to be sent; what is beyond is counted and left out.
const WAITING_MAX: usize = 4096;

/// How often the name of the collector is looked up.
const LOOK_UP: Duration = Duration::from_secs(60);

/// Passes on what happens to machines that something was sent to.
#[derive(Debug)]
pub struct Collector {
    messages: Sender<String>,
    host: String,
    metrics: Arc<Metrics>,
}

impl Collector {
    /// Starts the thread that sends to the collector at `to`, name or address and port. Messages
    /// name this host as `host`. The thread ends with the collector.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(to: (String, u16), host: &str, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (messages, waiting) = bounded(WAITING_MAX);
        let way = Way {
            to,
            socket: None,
            looked_up: None,
        };
        let counted = Arc::clone(&metrics);
        std::thread::Builder::new()
            .name("syslog-out".to_owned())
            .spawn(move || send(way, &waiting, &counted))?;
        Ok(Self {
            messages,
            host: name(host),
            metrics,
        })
    }
}

impl Hear for Collector {
    fn hear(&self, happened: &[Happened]) {
        let told = happened
            .iter()
            .filter(|it| it.is_of_boot() && it.kind != "said");
        for it in told {
            if self.messages.try_send(message(it, &self.host)).is_err() {
                self.metrics.history.syslog_dropped.inc();
            }
        }
    }
}

fn send(mut way: Way, messages: &Receiver<String>, metrics: &Metrics) {
    for message in messages {
        match way.send(message.as_bytes()) {
            Ok(()) => {
                metrics.history.syslog_sent.inc();
            }
            Err(error) => {
                metrics.history.syslog_dropped.inc();
                tracing::debug!(%error, "the syslog collector cannot be reached");
            }
        }
    }
}

/// The way to the collector, whose name may come to mean another address.
struct Way {
    to: (String, u16),
    socket: Option<(UdpSocket, SocketAddr)>,
    looked_up: Option<Instant>,
}

impl Way {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        let is_due = self
            .looked_up
            .is_none_or(|at| now.saturating_duration_since(at) >= LOOK_UP);
        if is_due {
            self.looked_up = Some(now);
            self.look_up()?;
        }
        let Some((socket, to)) = &self.socket else {
            return Err(io::ErrorKind::NotFound.into());
        };
        socket.send_to(message, to).map(|_| ())
    }

    fn look_up(&mut self) -> io::Result<()> {
        let (host, port) = &self.to;
        let to = (host.as_str(), *port).to_socket_addrs()?.next();
        let to = to.ok_or(io::ErrorKind::NotFound)?;
        if self.socket.as_ref().is_none_or(|(_, before)| *before != to) {
            let own: SocketAddr = match to {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            self.socket = Some((UdpSocket::bind(own)?, to));
        }
        Ok(())
    }
}

/// One message (RFC 5424, section 6). 32473 is the number that is nobody's (RFC 5612).
fn message(happened: &Happened, host: &str) -> String {
    const DAEMON: u8 = 3;
    let severity = match happened.kind {
        "broken" | "refused" | "failed" => 4,
        _ => 6,
    };
    let at = Timestamp::try_from(happened.at).unwrap_or(Timestamp::UNIX_EPOCH);
    let (kind, pid) = (happened.kind, process::id());
    let boot = happened.boot.map(crate::history::name);
    let mac = happened.mac.map(|mac| mac.to_string());
    let ip = happened.ip.map(|ip| ip.to_string());
    let data: String = [
        ("mac", mac.as_deref()),
        ("ip", ip.as_deref()),
        ("boot", boot.as_deref()),
        ("phase", Some(happened.phase.name())),
        ("code", happened.code),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!(" {name}=\"{}\"", value?)))
    .collect();
    let text: String = happened.text.chars().filter(|c| !c.is_control()).collect();
    let priority = DAEMON * 8 + severity;
    format!("<{priority}>1 {at:.6} {host} bootstorm {pid} {kind} [boot@32473{data}] {text}")
}

/// As much of a host's name as a message may have: printable ASCII without blanks.
fn name(host: &str) -> String {
    let name: String = host
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clients::Phase;

    fn happened() -> Happened {
        Happened {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_250_000),
            mac: "52:54:00:99:00:01".parse().ok(),
            ip: "10.0.0.7".parse().ok(),
            boot: Some(255),
            kind: "broken",
            code: Some("tftp.timeout"),
            text: "boot.wim after 12 bytes".to_owned(),
            phase: Phase::Failed,
            bytes: 12,
            is_new: true,
            has_booted: true,
        }
    }

    #[test]
    fn twopxe_24_a_message_is_one_of_rfc_5424() {
        let pid = process::id();
        let wanted = format!(
            "<28>1 2027-01-15T08:00:00.250000Z boot1 bootstorm {pid} broken [boot@32473 \
             mac=\"52:54:00:99:00:01\" ip=\"10.0.0.7\" boot=\"00000000000000ff\" phase=\"failed\" \
             code=\"tftp.timeout\"] boot.wim after 12 bytes"
        );
        assert_eq!(message(&happened(), "boot1"), wanted);
        let plain = Happened {
            mac: None,
            ip: None,
            boot: None,
            code: None,
            kind: "script",
            phase: Phase::Script,
            text: "a ] \" \\ é\n<0>1 - evil".to_owned(),
            ..happened()
        };
        let wanted = format!(
            "<30>1 2027-01-15T08:00:00.250000Z - bootstorm {pid} script [boot@32473 \
             phase=\"script\"] a ] \" \\ é<0>1 - evil"
        );
        assert_eq!(message(&plain, &name("\n \u{7}")), wanted);
    }

    #[test]
    fn twopxe_24_events_of_boots_reach_the_collector() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let to = ("127.0.0.1".to_owned(), socket.local_addr().unwrap().port());
        let metrics = Arc::new(Metrics::new());
        let collector = Collector::start(to, "boot1", Arc::clone(&metrics)).unwrap();
        let silent = Happened {
            has_booted: false,
            ..happened()
        };
        let said = Happened {
            kind: "said",
            ..happened()
        };
        let done = Happened {
            kind: "done",
            ..happened()
        };
        collector.hear(&[happened(), silent, said, done.clone()]);
        for wanted in [happened(), done] {
            let mut datagram = [0; 2048];
            let length = socket.recv(&mut datagram).unwrap();
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            assert_eq!(text, message(&wanted, "boot1"));
        }
        assert_eq!(metrics.history.syslog_dropped.get(), 0);
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let (messages, waiting) = bounded(2);
        let metrics = Arc::new(Metrics::new());
        let collector = Collector {
            messages,
            host: "-".to_owned(),
            metrics: Arc::clone(&metrics),
        };
        collector.hear(&vec![happened(); 5]);
        assert_eq!(metrics.history.syslog_dropped.get(), 3);
        drop(collector);
        let way = Way {
            to: ("no such host".to_owned(), 1),
            socket: None,
            looked_up: None,
        };
        send(way, &waiting, &metrics);
        assert_eq!(metrics.history.syslog_dropped.get(), 5);
        assert_eq!(metrics.history.syslog_sent.get(), 0);
    }
}
