//! What the data plane is told at its start.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bootstorm_catalog::Catalog;
use bootstorm_proto::dhcp::Style;
use bootstorm_telemetry::event::BootEvent;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;

use crate::handoff::{Ask, Decide, FileQuestion, Question};
use crate::limits;
use crate::pacing::PacingConfig;

/// How the data plane runs. `None` for a listener switches it off.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Worker threads; 0 is one a core.
    pub workers: usize,
    /// Bind each worker to a core. Worth it on a machine that does nothing else; on a shared one a
    /// bound thread waits for its core while others idle.
    pub pin: bool,
    /// How bytes get in and out.
    pub driver: DriverChoice,
    /// DHCP (UDP 67). An address other than 0.0.0.0 answers only what arrives at that address's
    /// interface.
    pub dhcp: Option<SocketAddrV4>,
    /// PXE boot server (UDP 4011); the address means the same as for `dhcp`.
    pub pxe: Option<SocketAddrV4>,
    /// DHCPv6 (UDP 547).
    pub dhcp6: Option<SocketAddrV6>,
    /// TFTP requests (UDP 69). 0.0.0.0 takes IPv6 too.
    pub tftp: Option<SocketAddr>,
    /// Boot endpoint over plain HTTP. 0.0.0.0 takes IPv6 too.
    pub http: Option<SocketAddr>,
    /// Boot endpoint over TLS. 0.0.0.0 takes IPv6 too.
    pub https: Option<SocketAddr>,
    /// The only interfaces that DHCP and TFTP answer on, as name and index; empty means all.
    pub interfaces: Vec<(String, u32)>,
    /// TFTP.
    pub transfers: TftpConfig,
    /// How fast machines are fed, and how many at a time.
    pub pacing: PacingConfig,
    /// How DHCP answers look on the wire.
    pub style: Style,
}

impl Default for EngineConfig {
    /// Every listener of the contract on its usual port, on every address.
    fn default() -> Self {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let any = |port| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        Self {
            workers: 0,
            pin: false,
            driver: DriverChoice::Auto,
            dhcp: Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67)),
            pxe: Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4011)),
            dhcp6: Some(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 547, 0, 0)),
            tftp: any(69),
            http: any(8080),
            https: any(8050),
            interfaces: Vec::new(),
            transfers: TftpConfig::default(),
            pacing: PacingConfig::default(),
            style: Style::default(),
        }
    }
}

/// Which driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where the kernel lets us, else epoll with one log line.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// TFTP settings.
#[derive(Clone, Debug)]
pub struct TftpConfig {
    /// Where data comes from.
    pub ports: DataPorts,
    /// The largest window granted, in blocks.
    pub max_window: u16,
    /// The largest block granted, in bytes; the interface's MTU lowers it further.
    pub max_block: u16,
    /// The block number that follows 65535: 0, or 1 for the clients that count so.
    pub rollover: u16,
    /// Transfers that one client address may have at a time, in one worker.
    pub max_transfers_per_client: u32,
}

impl Default for TftpConfig {
    fn default() -> Self {
        Self {
            ports: DataPorts::Range(64001..=65000),
            max_window: 64,
            max_block: limits::TFTP_BLOCK_MAX,
            rollover: 0,
            max_transfers_per_client: limits::TRANSFERS_PER_CLIENT,
        }
    }
}

/// Where TFTP data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPorts {
    /// Ports of this range, split between the workers.
    Range(RangeInclusive<u16>),
    /// The request port itself: for firewalls that let nothing else through.
    Single,
}

/// What the data plane shares with the rest of the server.
#[derive(Clone)]
pub struct Seams {
    /// What can be served.
    pub catalog: Arc<Catalog>,
    /// Who boots what.
    pub decide: Arc<dyn Decide>,
    /// Requests for the control plane; a full queue is answered 503.
    pub asks: Sender<Ask>,
    /// DHCP clients about whom somebody else has to be asked; where there is nobody to ask, or the
    /// queue is full, they get no answer.
    pub questions: Option<Sender<Question>>,
    /// Files to be made for machines that ask for them by TFTP; where there is nobody to ask they
    /// are not found.
    pub files: Option<Sender<FileQuestion>>,
    /// What happens to machines; dropped and counted when full.
    pub events: Sender<BootEvent>,
    /// Counted into by every worker.
    pub metrics: Arc<Metrics>,
    /// Certificate and suites for HTTPS; without it `https` is refused.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl std::fmt::Debug for Seams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seams")
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
