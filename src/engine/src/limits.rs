//! Every capacity of the data plane. What depends on another is tied to it by a const assertion.

use std::time::Duration;

/// TFTP transfers that one worker holds at a time.
pub(crate) const TRANSFERS: usize = 8192;
/// The largest TFTP block in bytes (RFC 2348).
pub(crate) const TFTP_BLOCK_MAX: u16 = 65464;
/// TCP connections that one worker holds at a time.
pub(crate) const CONNECTIONS: usize = 4096;
/// Answers of the control plane that wait for one worker.
pub(crate) const ANSWERS: usize = 1024;
/// How long a closed connection may still be read so that the peer gets our last bytes.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// Bytes of a datagram that are looked at; longer ones are dropped.
pub(crate) const DATAGRAM: usize = 1792;
