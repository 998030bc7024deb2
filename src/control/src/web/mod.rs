//! The web service: API, metrics, health, on a port of its own that speaks plain HTTP and TLS.

mod api;
mod approvals;
mod auth;
mod body;
mod classifier;
mod connection;
mod explain;
mod history;
mod machines;
mod problem;
mod router;
mod stream;

pub use approvals::ApprovalView;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::Catalog;
use bootstorm_policy::Policy;
use bootstorm_telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{
    AdminToken, Approvals, Authority, Classifier, Clients, ControlError, Decisions, Machines,
};

/// Where the web service listens.
#[derive(Clone, Copy, Debug)]
pub struct WebConfig {
    /// `0.0.0.0` takes IPv6 too, where the system has it.
    pub listen: SocketAddr,
}

/// What the web service shows and changes.
#[derive(Clone, Debug)]
pub struct WebSeams {
    /// Who may.
    pub token: AdminToken,
    /// Certificate.
    pub authority: Arc<Authority>,
    /// Machines of late.
    pub clients: Clients,
    /// Machines of the store.
    pub machines: Arc<Machines>,
    /// Machines that ask to be let in.
    pub approvals: Arc<Approvals>,
    /// Who boots what.
    pub policy: Arc<Policy>,
    /// What was decided of late.
    pub decisions: Decisions,
    /// The packet classifier.
    pub classifier: Arc<dyn Classifier>,
    /// Entries.
    pub catalog: Arc<Catalog>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The server itself.
    pub about: Arc<About>,
}

/// What `/api/v1/about` tells of the server beside what the seams know.
#[derive(Clone, Debug)]
pub struct About {
    /// When it started.
    pub started: SystemTime,
    /// Name (`dhcp`, `http` ...) and address of each listener that is up.
    pub listeners: Vec<(String, SocketAddr)>,
    /// How the data plane talks to the kernel: `uring` or `epoll`.
    pub driver: String,
    /// Threads of the data plane.
    pub workers: usize,
}

/// The running web service. Dropping it ends it at once.
#[derive(Debug)]
pub struct Web {
    bound: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Web {
    /// Binds the port and starts to serve; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be had or the certificate cannot be used.
    pub async fn start(config: WebConfig, seams: WebSeams) -> Result<Self, ControlError> {
        let tls = connection::tls(&seams.authority)?;
        let listener = listen(config.listen).await?;
        let bound = listener.local_addr().unwrap_or(config.listen);
        let (stop, stopped) = watch::channel(false);
        let router = router::router(seams, stopped.clone());
        let accepting = tokio::spawn(connection::accept(listener, tls, router, stopped));
        Ok(Self {
            bound,
            stop,
            accepting,
        })
    }

    /// The address that was bound.
    #[must_use]
    pub const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Takes no more connections, ends streams and lets requests under way finish, for at most
    /// `grace`.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.send_replace(true);
        // A task that ended by itself or not at all is gone either way.
        let _ = tokio::time::timeout(grace, &mut self.accepting).await;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ControlError> {
    if address.ip() == IpAddr::from([0, 0, 0, 0]) {
        let dual = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        if let Ok(listener) = TcpListener::bind(dual).await {
            return Ok(listener);
        }
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| ControlError::Listen { address, source })
}

#[cfg(test)]
mod tests;
