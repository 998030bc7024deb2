//! TLS as boot firmware needs it: 1.2 and 1.3, an RSA leaf, and DHE for firmware of 2022 to 2025.
//!
//! [`server_config`] makes the configuration, [`Stream`] runs one connection without a socket.

mod ffdhe;
mod kernel;
mod provider;
mod refusal;
mod stream;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ResolvesServerCert, WantsServerCert};
use rustls::{ConfigBuilder, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use kernel::{Keys, Suite};
pub use provider::boot as provider;
pub(crate) use refusal::{PLAIN_HTTP, bad_record, kernel_failed, key_update, timed_out, worn_out};
pub use stream::{Fed, Stream};

/// What the operator may switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Offer TLS_DHE_RSA_WITH_AES_128/256_GCM: without them UEFI firmware of 2022 to 2025 cannot
    /// connect.
    pub dhe: bool,
    /// Let the kernel seal and open the records of connections that fetch large files, where it
    /// can.
    pub kernel: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            dhe: true,
            kernel: false,
        }
    }
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain holds no certificate.
    #[error("the certificate file holds no certificate; the leaf comes first, then its issuers")]
    EmptyChain,
    /// Key and leaf do not belong together, or the key is of a kind that is not taken.
    #[error(
        "certificate and key do not fit: {0}; the key must be RSA or ECDSA and belong to the first certificate of the chain"
    )]
    CertificateAndKey(#[source] rustls::Error),
    /// The cryptography library refused to start.
    #[error("the cryptography library refused: {0}")]
    Provider(#[source] rustls::Error),
}

/// Makes the server's TLS configuration: leaf first in `chain`, TLS 1.2 and 1.3, the server's
/// order of suites, sessions resumed by ticket or identifier.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    options: TlsOptions,
) -> Result<Arc<ServerConfig>, TlsError> {
    if chain.is_empty() {
        return Err(TlsError::EmptyChain);
    }
    let config = builder(options)?
        .with_single_cert(chain, key)
        .map_err(TlsError::CertificateAndKey)?;
    for_boot(config, options)
}

/// The same for a certificate that changes while the server runs: `resolver` is asked at every
/// handshake.
///
/// # Errors
/// [`TlsError`].
pub fn resolving_config(
    resolver: Arc<dyn ResolvesServerCert>,
    options: TlsOptions,
) -> Result<Arc<ServerConfig>, TlsError> {
    for_boot(builder(options)?.with_cert_resolver(resolver), options)
}

fn builder(options: TlsOptions) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
    Ok(
        ServerConfig::builder_with_provider(Arc::new(provider::boot(options.dhe)))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_no_client_auth(),
    )
}

fn for_boot(mut config: ServerConfig, options: TlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    // Firmware lists DHE first even where it has ECDHE, which costs a quarter.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(TlsError::Provider)?;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
    // Keys that nobody may ask for cannot get lost.
    config.enable_secret_extraction = options.kernel;
    // One ticket is enough for a client that opens connections one after another.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Sessions remembered for clients that resume by identifier and have no tickets.
const SESSIONS: usize = 4096;

#[cfg(test)]
pub(crate) mod tests;
