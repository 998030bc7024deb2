//! A request of the boot endpoint that the data plane hands to the control plane, and its answer.

use std::net::SocketAddr;

/// The methods that the boot endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetch.
    Get,
    /// Fetch the head alone.
    Head,
    /// Send a form or a report.
    Post,
}

/// Everything except `/images/`: scripts, certificates, reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRequest {
    /// The machine's address and port.
    pub client: SocketAddr,
    /// Our address that it reached.
    pub local: SocketAddr,
    /// It came through TLS.
    pub secure: bool,
    /// Method.
    pub method: Method,
    /// Percent-decoded absolute path, for example `/boot`.
    pub path: String,
    /// Raw query, without the question mark; empty when there is none.
    pub query: String,
    /// `Host` header as sent.
    pub host: String,
    /// `User-Agent` header as sent.
    pub user_agent: String,
    /// Body, at most [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// The largest request body taken, in bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// The control plane's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the client waits for it"]
pub struct BootResponse {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Seconds for a `Retry-After` header.
    pub retry_after: Option<u32>,
    /// Body.
    pub body: Vec<u8>,
}
