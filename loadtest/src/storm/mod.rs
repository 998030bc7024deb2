//! The storm: machines and their sockets, on one thread.

pub(crate) mod broadcast;
mod crowd;
pub(crate) mod frame;
mod link;
mod play;
mod receiver;
mod relay;
mod sockets;
mod stream;
mod timers;
mod usage;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::machine::behaviour::Behaviour;
use crate::machine::identity::Identity;
use crate::machine::plan::Plan;
use crate::report::{Books, Report, Snapshot};

/// Somebody who looks on.
pub(crate) trait Watcher {
    /// Called four times a second in the loop's own thread; the storm ends when it says false.
    fn see(&mut self, snapshot: &Snapshot) -> bool;
}

/// Plays a storm until every machine is through, a rule or the watcher ends it, or `stop` is set.
///
/// # Errors
/// What this host cannot do, with what to do about it: ports and addresses that it does not have,
/// too many open files, an unknown interface, an unreadable CA.
pub(crate) fn run(
    setup: Setup,
    books: Books,
    watch: &mut dyn Watcher,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    play::play(setup, books, watch, stop)
}

/// What is played.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The machines; the one at place `n` has the index `n`.
    pub(crate) starts: Vec<Start>,
    /// What they share.
    pub(crate) plan: Arc<Plan>,
    /// How their broadcasts come to servers.
    pub(crate) link: Link,
    /// How they speak TLS.
    pub(crate) tls: TlsSetup,
    /// When it ends before all machines are through.
    pub(crate) stop: StopRules,
    /// Whose processor time is booked beside our own.
    pub(crate) server: Option<ServerProcess>,
    /// Where machines and relays send from.
    pub(crate) ports: OwnPorts,
}

/// A machine that will be switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// When, from the storm's beginning on.
    pub(crate) at: Duration,
    /// Who it is.
    pub(crate) identity: Identity,
    /// What it does that a good one does not.
    pub(crate) behaviour: Behaviour,
}

/// How the machines' broadcasts come to servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By relay agents, whose addresses are this host's; machine `n` is behind relay `n` modulo
    /// their number.
    Relayed {
        /// Their addresses.
        relays: Vec<Ipv4Addr>,
        /// Where each relay forwards every request to.
        servers: Vec<SocketAddrV4>,
    },
    /// As whole frames from the machines' own Ethernet addresses.
    Broadcast {
        /// The interface.
        interface: String,
    },
}

/// How machines speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSetup {
    /// PEM file with the CAs of servers' certificates; without it and without `insecure` no
    /// machine can speak TLS.
    pub(crate) ca: Option<PathBuf>,
    /// Any certificate is taken.
    pub(crate) insecure: bool,
    /// A machine's later connections take up the session of its earlier ones, as iPXE's do.
    pub(crate) resume: bool,
    /// What is offered.
    pub(crate) versions: Versions,
}

/// Which versions of TLS machines offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Versions {
    /// TLS 1.2 with AES-128-GCM: iPXE speaks no later one.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// When a storm ends before all machines are through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StopRules {
    /// So long after its beginning.
    pub(crate) after: Option<Duration>,
    /// When so many machines have failed.
    pub(crate) failures: Option<u32>,
}

/// The server's process on this host, or 0 while there is none; whoever starts it again tells so
/// here.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerProcess(Arc<AtomicU32>);

impl ServerProcess {
    /// The process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self(Arc::new(AtomicU32::new(pid)))
    }

    /// Another process is the server now.
    pub(crate) fn replace(&self, pid: u32) {
        self.0.store(pid, Ordering::Relaxed);
    }

    /// Which one it is.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }
}

/// Ports that machines and relays send from. Only tests have other ones than the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnPorts {
    /// Of relays; replies come there.
    pub(crate) relay: u16,
    /// Of firmware that asks a boot server on port 4011: a BIOS,
    pub(crate) pxe: u16,
    /// and UEFI.
    pub(crate) binl: u16,
}

impl Default for OwnPorts {
    fn default() -> Self {
        Self {
            relay: 67,
            pxe: 68,
            binl: 4011,
        }
    }
}

#[cfg(test)]
mod tests;
