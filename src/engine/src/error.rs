//! What can keep the data plane from starting, with the evidence and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Somebody else has the port.
    #[error(
        "{name}: {protocol} {address} is taken{holder}; stop that program, or run with \
         `--listen {name}=off` or on another port"
    )]
    PortTaken {
        /// The listener's name, as `--listen` spells it.
        name: &'static str,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// Who has it, as far as /proc shows.
        holder: Holder,
    },
    /// The kernel lets only privileged programs have this port.
    #[error(
        "{name}: no privilege for {protocol} {address}; ports below 1024 need CAP_NET_BIND_SERVICE: \
         `setcap cap_net_bind_service=+ep` on the program, `AmbientCapabilities=\
         CAP_NET_BIND_SERVICE` in the systemd unit, or `--listen {name}=off`"
    )]
    NoPrivilege {
        /// The listener's name, as `--listen` spells it.
        name: &'static str,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The socket could not be set up for another reason.
    #[error("{name}: {protocol} {address} cannot be opened: {source}")]
    Socket {
        /// The listener's name, as `--listen` spells it.
        name: &'static str,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the kernel answered.
        source: io::Error,
    },
    /// `--driver uring` where the kernel or a filter forbids io_uring.
    #[error(
        "io_uring cannot be used here ({source}); `sysctl kernel.io_uring_disabled=0`, a seccomp \
         profile that lets io_uring_setup through, or `--driver epoll`"
    )]
    RingForbidden {
        /// What the kernel answered.
        source: io::Error,
    },
    /// A driver could not be set up.
    #[error("the {driver} driver cannot be set up: {source}")]
    Driver {
        /// `uring` or `epoll`.
        driver: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A worker thread could not be started.
    #[error("worker thread {worker} cannot be started: {source}")]
    Thread {
        /// Its number.
        worker: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A setting that does not fit the others.
    #[error("{0}")]
    Config(String),
}

impl EngineError {
    /// The stable reason code, documented in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PortTaken { .. } => "ports.taken",
            Self::NoPrivilege { .. } => "ports.no-privilege",
            Self::Socket { .. } => "ports.socket",
            Self::RingForbidden { .. } => "engine.no-uring",
            Self::Driver { .. } => "engine.driver",
            Self::Thread { .. } => "engine.thread",
            Self::Config(_) => "engine.config",
        }
    }
}

/// Who holds a port, as far as /proc shows it to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Process id and program name; `None` when /proc does not tell (other users' processes).
    pub process: Option<(u32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, program)) => write!(f, " by {program} (pid {pid})"),
            None => f.write_str(" by another program"),
        }
    }
}
