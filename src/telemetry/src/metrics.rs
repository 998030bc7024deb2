//! Every metric, in the order of docs/reference/metrics.md, which a test here generates.
//!
//! Counting costs an atomic addition: counters for closed sets are made beforehand, counters for
//! reason codes are found in a small table without a lock. Only the first sight of a reason code
//! allocates.

mod classifier;
mod history;
mod memory;
mod pacing;
mod tls;

use std::time::{SystemTime, UNIX_EPOCH};

use bootstorm_proto::dhcp::Asker;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::codes::{Codes, Label};
use crate::event::Protocol;
pub use classifier::{Classifier, Place};
pub use history::History;
pub use memory::Memory;
pub use pacing::Pacing;
pub use tls::{KernelTls, KeyExchange, Tls};

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What was passed and dropped before anything read it.
    pub classifier: Classifier,
    /// DHCP.
    pub dhcp: Dhcp,
    /// TFTP.
    pub tftp: Tftp,
    /// Boot endpoint.
    pub http: Http,
    /// TLS of the boot endpoint.
    pub tls: Tls,
    /// Rates and the queue of machines.
    pub pacing: Pacing,
    /// Between the planes.
    pub planes: Planes,
    /// Images.
    pub catalog: CatalogGauges,
    /// What of them is in memory.
    pub memory: Memory,
    /// What is written down, and passed on.
    pub history: History,
    /// Web service.
    pub web: WebService,
    /// When the server's certificate ends, in seconds since 1970; 0 while there is none.
    pub certificate_expiry: Gauge,
}

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("bootstorm");
        let r = &mut registry;
        let classifier = Classifier::register(r);
        let dhcp = Dhcp::register(r);
        let tftp = Tftp::register(r);
        let http = Http::register(r);
        let tls = Tls::register(r);
        let pacing = Pacing::register(r);
        let planes = Planes::register(r);
        let catalog = CatalogGauges::register(r);
        let memory = Memory::register(r);
        let history = History::register(r);
        let web = WebService::register(r);
        let certificate_expiry = gauge(
            r,
            "certificate_expiry_timestamp_seconds",
            "When the server's certificate ends, seconds since 1970; 0: none",
        );
        let started = gauge(
            r,
            "start_timestamp_seconds",
            "When the server started, seconds since 1970",
        );
        started.set(unix_seconds(SystemTime::now()));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The running program", build);
        Self {
            registry,
            classifier,
            dhcp,
            tftp,
            http,
            tls,
            pacing,
            planes,
            catalog,
            memory,
            history,
            web,
            certificate_expiry,
        }
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String cannot fail; a scraper takes an empty exposition for no samples.
            Err(std::fmt::Error) => "# EOF\n".to_owned(),
        }
    }
}

/// The outcome that is not a reason code.
pub const OK: &str = "ok";

/// DHCP and DHCPv6.
#[derive(Debug)]
pub struct Dhcp {
    requests: [Codes<2>; 3],
    ignored: Codes<1>,
    malformed: Codes<1>,
    /// Replies that the kernel took.
    pub replies: Counter,
    /// Replies that the kernel refused.
    pub reply_errors: Counter,
    /// Requests that wait for a decision.
    pub parked: Gauge,
}

impl Dhcp {
    /// A boot request was read; `outcome` is [`OK`] when it is answered, else the reason code.
    pub fn request(&self, asker: Asker, outcome: &'static str) {
        self.requests[asker_index(asker)].count(outcome);
    }

    /// A sound packet that is none of ours: not PXE, a server's reply, another server's client.
    pub fn ignored(&self, reason: &'static str) {
        self.ignored.count(reason);
    }

    /// A packet that cannot be read.
    pub fn malformed(&self, reason: &'static str) {
        self.malformed.count(reason);
    }

    fn register(r: &mut Registry) -> Self {
        let requests = family(
            r,
            "dhcp_requests",
            "Boot requests by who asked and outcome: ok or the reason code",
        );
        let ignored = family(
            r,
            "dhcp_ignored",
            "Sound packets that are not for us, by reason code",
        );
        let malformed = family(
            r,
            "dhcp_malformed",
            "Packets that cannot be read, by reason code",
        );
        Self {
            requests: ASKERS
                .map(|asker| Codes::new(&requests, [("asker", asker), ("outcome", OK)], &[OK])),
            ignored: Codes::new(&ignored, [("reason", "")], &[]),
            malformed: Codes::new(&malformed, [("reason", "")], &[]),
            replies: counter(r, "dhcp_replies", "Replies handed to the kernel"),
            reply_errors: counter(r, "dhcp_reply_errors", "Replies that the kernel refused"),
            parked: gauge(r, "dhcp_parked", "Requests that wait for a decision"),
        }
    }
}

/// TFTP.
#[derive(Debug)]
pub struct Tftp {
    transfers: Codes<1>,
    refused: Codes<1>,
    /// Transfers under way.
    pub active: Gauge,
    /// File bytes sent, repeats included.
    pub sent_bytes: Counter,
    /// File bytes sent again.
    pub resent_bytes: Counter,
}

impl Tftp {
    /// A transfer ended; `outcome` is [`OK`] or the reason code. Leaves [`Tftp::active`] alone.
    pub fn ended(&self, outcome: &'static str) {
        self.transfers.count(outcome);
    }

    /// A request led to no transfer.
    pub fn refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }

    fn register(r: &mut Registry) -> Self {
        let transfers = family(
            r,
            "tftp_transfers",
            "Ended transfers by outcome: ok or the reason code",
        );
        let refused = family(
            r,
            "tftp_refused",
            "Requests that led to no transfer, by reason code",
        );
        Self {
            transfers: Codes::new(&transfers, [("outcome", OK)], &[OK]),
            refused: Codes::new(&refused, [("reason", "")], &[]),
            active: gauge(r, "tftp_active_transfers", "Transfers under way"),
            sent_bytes: byte_counter(r, "tftp_sent", "File bytes sent, repeats included"),
            resent_bytes: byte_counter(r, "tftp_resent", "File bytes sent again"),
        }
    }
}

/// The boot endpoint, plain and TLS.
#[derive(Debug)]
pub struct Http {
    responses: [[Counter; 5]; 2],
    connections: [Counter; 2],
    active: [Gauge; 2],
    sent_bytes: [Counter; 2],
    refused: Codes<1>,
}

impl Http {
    /// A connection was accepted.
    pub fn opened(&self, protocol: Protocol) {
        self.connections[http_index(protocol)].inc();
        self.active[http_index(protocol)].inc();
    }

    /// A connection that was counted by [`Http::opened`] ended.
    pub fn closed(&self, protocol: Protocol) {
        self.active[http_index(protocol)].dec();
    }

    /// A response head with this status was written.
    pub fn response(&self, protocol: Protocol, status: u16) {
        self.responses[http_index(protocol)][class_index(status)].inc();
    }

    /// Bytes were written, heads and bodies, before encryption.
    pub fn sent(&self, protocol: Protocol, bytes: u64) {
        self.sent_bytes[http_index(protocol)].inc_by(bytes);
    }

    /// A request was refused or a connection was ended by us.
    pub fn refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }

    /// Connections that are open.
    #[must_use]
    pub fn active(&self) -> i64 {
        self.active.iter().map(Gauge::get).sum()
    }

    fn register(r: &mut Registry) -> Self {
        let responses: Family<[Label; 2], Counter> = family(
            r,
            "http_responses",
            "Responses of the boot endpoint by protocol and class of status",
        );
        let connections = family(
            r,
            "http_connections",
            "Accepted connections of the boot endpoint",
        );
        let active = Family::default();
        r.register(
            "http_active_connections",
            "Open connections of the boot endpoint",
            Family::clone(&active),
        );
        let sent = Family::default();
        r.register_with_unit(
            "http_sent",
            "Bytes written by the boot endpoint, before encryption",
            Unit::Bytes,
            Family::clone(&sent),
        );
        let refused = family(
            r,
            "http_refused",
            "Requests and connections that the boot endpoint refused, by reason code",
        );
        Self {
            responses: HTTP.map(|p| {
                CLASSES.map(|c| responses.get_or_create_owned(&[("protocol", p), ("status", c)]))
            }),
            connections: HTTP.map(|p| one(&connections, "protocol", p)),
            active: HTTP.map(|p| one(&active, "protocol", p)),
            sent_bytes: HTTP.map(|p| one(&sent, "protocol", p)),
            refused: Codes::new(&refused, [("reason", "")], &[]),
        }
    }
}

/// Queues between the data plane and the control plane.
#[derive(Debug)]
pub struct Planes {
    /// Requests handed to the control plane.
    pub asks: Counter,
    /// Requests that found the queue full and were answered 503.
    pub asks_refused: Counter,
    /// Requests whose answer came too late or never.
    pub asks_expired: Counter,
    /// Boot events that found the queue full.
    pub events_dropped: Counter,
    /// Decisions that were made and are neither kept nor logged.
    pub decisions_dropped: Counter,
}

impl Planes {
    fn register(r: &mut Registry) -> Self {
        Self {
            asks: counter(r, "asks", "Boot requests handed to the control plane"),
            asks_refused: counter(
                r,
                "asks_refused",
                "Boot requests that found the control plane's queue full",
            ),
            asks_expired: counter(
                r,
                "asks_expired",
                "Boot requests that the control plane did not answer in time",
            ),
            events_dropped: counter(
                r,
                "events_dropped",
                "Boot events that were not told: their queue was full, or too many came at once",
            ),
            decisions_dropped: counter(
                r,
                "decisions_dropped",
                "Decisions that were neither logged nor kept for explain: too many came at once",
            ),
        }
    }
}

/// What can be served.
#[derive(Debug)]
pub struct CatalogGauges {
    /// Files.
    pub files: Gauge,
    /// Entries of the menu.
    pub entries: Gauge,
    /// Bytes of all files.
    pub bytes: Gauge,
    /// Files that something is wrong with.
    pub problems: Gauge,
}

impl CatalogGauges {
    fn register(r: &mut Registry) -> Self {
        let bytes = Gauge::default();
        r.register_with_unit(
            "catalog",
            "Size of all files that can be served",
            Unit::Bytes,
            Gauge::clone(&bytes),
        );
        Self {
            files: gauge(r, "catalog_files", "Files that can be served"),
            entries: gauge(r, "catalog_entries", "Entries that can be booted"),
            bytes,
            problems: gauge(
                r,
                "catalog_problems",
                "Things that are wrong in the images folder",
            ),
        }
    }
}

/// The web service, scripts and the table of machines.
#[derive(Debug)]
pub struct WebService {
    responses: [Counter; 5],
    denied: Codes<1>,
    scripts: Codes<1>,
    clients: Family<[Label; 1], Gauge>,
    /// Readers of the event stream.
    pub streams: Gauge,
    /// Events that slow readers of the stream missed.
    pub stream_lagged: Counter,
}

impl WebService {
    /// The web service answered with this status.
    pub fn response(&self, status: u16) {
        self.responses[class_index(status)].inc();
    }

    /// The web service refused a request.
    pub fn denied(&self, reason: &'static str) {
        self.denied.count(reason);
    }

    /// A boot script was handed out; `kind` is `entry`, `menu`, `local` or a reason code.
    pub fn script(&self, kind: &'static str) {
        self.scripts.count(kind);
    }

    /// How many machines are in this phase.
    pub fn clients(&self, phase: &'static str, machines: usize) {
        let machines = i64::try_from(machines).unwrap_or(i64::MAX);
        self.clients
            .get_or_create(&[("phase", phase)])
            .set(machines);
    }

    fn register(r: &mut Registry) -> Self {
        let responses = family(
            r,
            "web_responses",
            "Responses of the web service by class of status",
        );
        let denied = family(
            r,
            "web_denied",
            "Requests that the web service refused, by reason code",
        );
        let scripts = family(
            r,
            "scripts",
            "Boot scripts by what they boot: entry, menu, local or the reason code of an error",
        );
        let clients = Family::default();
        r.register(
            "clients",
            "Machines in the live table by phase",
            Family::clone(&clients),
        );
        Self {
            responses: CLASSES.map(|c| one(&responses, "status", c)),
            denied: Codes::new(&denied, [("reason", "")], &[]),
            scripts: Codes::new(&scripts, [("kind", "")], &["entry", "menu", "local"]),
            clients,
            streams: gauge(r, "web_streams", "Readers of the event stream"),
            stream_lagged: counter(
                r,
                "web_stream_lagged",
                "Events that slow readers of the stream missed",
            ),
        }
    }
}

const ASKERS: [&str; 3] = ["firmware", "http-firmware", "ipxe"];
const HTTP: [&str; 2] = ["http", "https"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn asker_index(asker: Asker) -> usize {
    match asker {
        Asker::Firmware => 0,
        Asker::HttpFirmware => 1,
        Asker::Ipxe => 2,
    }
}

fn http_index(protocol: Protocol) -> usize {
    usize::from(protocol == Protocol::Https)
}

fn class_index(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

/// As gauges hold times.
#[must_use]
pub fn unix_seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

fn counter(r: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    r.register(name, help, counter.clone());
    counter
}

fn byte_counter(r: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    r.register_with_unit(name, help, Unit::Bytes, counter.clone());
    counter
}

fn gauge(r: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    r.register(name, help, gauge.clone());
    gauge
}

fn family<const L: usize>(r: &mut Registry, name: &str, help: &str) -> Family<[Label; L], Counter> {
    let family = Family::default();
    r.register(name, help, Family::clone(&family));
    family
}

fn one<M: Clone + Default>(
    family: &Family<[Label; 1], M>,
    label: &'static str,
    value: &'static str,
) -> M {
    family.get_or_create_owned(&[(label, value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_counted_under_its_labels() {
        let metrics = Metrics::new();
        metrics.dhcp.request(Asker::Ipxe, OK);
        metrics.dhcp.request(Asker::Ipxe, "policy.no-nbp");
        metrics.dhcp.request(Asker::Ipxe, "policy.no-nbp");
        metrics.http.response(Protocol::Https, 206);
        metrics.tls.done(KeyExchange::Dhe);
        let text = metrics.encode();
        for line in [
            r#"bootstorm_dhcp_requests_total{asker="ipxe",outcome="ok"} 1"#,
            r#"bootstorm_dhcp_requests_total{asker="ipxe",outcome="policy.no-nbp"} 2"#,
            r#"bootstorm_dhcp_requests_total{asker="firmware",outcome="ok"} 0"#,
            r#"bootstorm_http_responses_total{protocol="https",status="2xx"} 1"#,
            r#"bootstorm_tls_handshakes_total{key_exchange="dhe"} 1"#,
            r#"bootstorm_build_info{version="0.1.0"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
