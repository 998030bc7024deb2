//! What can go wrong while the control plane starts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the control plane, or a part of it, does not work.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A file in the data folder or a configured one.
    #[error("{code}: {} cannot be {doing}; {hint}", path.display())]
    File {
        /// Stable reason code.
        code: &'static str,
        /// Which file.
        path: PathBuf,
        /// `read`, `written` ...
        doing: &'static str,
        /// What to do.
        hint: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("{code}: {}: {what}; {hint}", path.display())]
    Certificate {
        /// Stable reason code.
        code: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong, with the evidence.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A certificate cannot be made.
    #[error("cert.not-made: a certificate for {names} cannot be made; check --host")]
    Issue {
        /// For which names.
        names: String,
        /// What the library says.
        source: rcgen::Error,
    },
    /// The system has no random numbers.
    #[error("cert.no-random: the system gives no random numbers")]
    NoRandom,
    /// The web service's address cannot be had.
    #[error(
        "web.no-port: {address} cannot be listened on; \
         `--listen web=ADDR:PORT` chooses another one, `--listen web=off` goes without"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The admin token in the data folder.
    #[error("{code}: {}: {what}; remove it and the next start makes a new one", path.display())]
    Token {
        /// Stable reason code.
        code: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] bootstorm_store::StoreError),
    /// The certificate cannot be used by the TLS library.
    #[error("cert.unusable: the TLS library refuses the certificate or its key")]
    Tls(#[from] rustls::Error),
}

impl ControlError {
    /// Stable reason code, documented in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { code, .. } | Self::Certificate { code, .. } | Self::Token { code, .. } => {
                code
            }
            Self::Store(error) => error.code(),
            Self::Issue { .. } => "cert.not-made",
            Self::NoRandom => "cert.no-random",
            Self::Listen { .. } => "web.no-port",
            Self::Tls(_) => "cert.unusable",
        }
    }
}
