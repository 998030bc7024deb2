//! The server's certificate: from its own CA, made at first start, or one that the owner brings.
//!
//! `DATA/tls/ca.pem` holds the CA's key and certificate, `DATA/tls/server.pem` the server's key and
//! chain; each is written whole or not at all. `DATA/tls/ca.crt` is a copy of the CA's certificate
//! for people to take along. The CA is never replaced: whoever enrolled it in firmware would lose
//! every boot. The server's certificate is replaced when it ends soon or when the server's names
//! or addresses are no longer in it.

mod inspect;
pub(crate) mod issue;
mod names;
mod own;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ControlError;
use crate::files::{self, CERT};

/// Where the certificate comes from.
#[derive(Clone, Debug, Default)]
pub struct AuthorityConfig {
    /// The data folder; must exist.
    pub data: PathBuf,
    /// Names and addresses that machines reach the server by, beside those that it finds itself.
    pub hosts: Vec<String>,
    /// The owner's certificate, in place of an own CA.
    pub own: Option<OwnCertificate>,
}

/// A certificate that the owner brings.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// PEM: the server's certificate, then each issuer in turn.
    pub chain: PathBuf,
    /// PEM: its private key, not encrypted.
    pub key: PathBuf,
    /// PEM: the CA to hand out as `/ca.crt`, when it is not the last of the chain.
    pub ca: Option<PathBuf>,
}

/// A certificate ready for use.
#[derive(Debug)]
pub struct Identity {
    /// The server's certificate, then its issuers up to the CA where that is known: iPXE looks for
    /// the CA's certificate in what the server sends.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The CA's certificate as PEM.
    pub ca_pem: String,
    /// When the server's certificate ends.
    pub not_after: SystemTime,
    /// DNS names and addresses in it.
    pub names: Vec<String>,
    /// What works but will trouble some machine.
    pub warnings: Vec<Warning>,
}

impl Identity {
    /// The CA's certificate as DER, which UEFI setups and Windows take.
    #[must_use]
    pub fn ca_der(&self) -> Vec<u8> {
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes());
        ca.map(|der| der.to_vec()).unwrap_or_default()
    }
}

/// Something about the certificate that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable reason code.
    pub code: &'static str,
    /// With the evidence in it.
    pub text: String,
}

/// Keeps the certificate of this server.
#[derive(Debug)]
pub struct Authority {
    config: AuthorityConfig,
    current: ArcSwap<Identity>,
    resolver: Arc<Resolver>,
}

impl Authority {
    /// Reads the certificate, making what does not exist yet (half a second for two RSA keys).
    ///
    /// # Errors
    /// Files that cannot be read, written or used; each with a code of the area `cert`.
    pub fn open(config: AuthorityConfig) -> Result<Self, ControlError> {
        let identity = identity(&config, &names::of_this_host(&config.hosts), now())?;
        let resolver = Arc::new(Resolver(ArcSwap::from(certified(&identity)?)));
        Ok(Self {
            config,
            current: ArcSwap::from_pointee(identity),
            resolver,
        })
    }

    /// The certificate of this moment.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// The same for rustls: connections made after a renewal get the new certificate.
    #[must_use]
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::<Resolver>::clone(&self.resolver)
    }

    /// Looks again: renews what ends soon or no longer names all addresses, reads what the owner
    /// replaced. True when the certificate is another one. Call it hourly and on SIGHUP.
    ///
    /// # Errors
    /// As [`Authority::open`]; the certificate in use stays.
    pub fn refresh(&self) -> Result<bool, ControlError> {
        let wanted = names::of_this_host(&self.config.hosts);
        let identity = identity(&self.config, &wanted, now())?;
        if identity.chain == self.current.load().chain {
            return Ok(false);
        }
        self.resolver.0.store(certified(&identity)?);
        self.current.store(Arc::new(identity));
        Ok(true)
    }
}

/// How long before its end a certificate is renewed, or warned about.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

#[derive(Debug)]
struct Resolver(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, ControlError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = identity.key.clone_key();
    let certified = CertifiedKey::from_der(identity.chain.clone(), key, &provider)?;
    Ok(Arc::new(certified))
}

fn identity(
    config: &AuthorityConfig,
    wanted: &[String],
    now: SystemTime,
) -> Result<Identity, ControlError> {
    match &config.own {
        Some(own) => own::identity(own, wanted, now),
        None => made_here(&config.data, wanted, now),
    }
}

fn made_here(data: &Path, wanted: &[String], now: SystemTime) -> Result<Identity, ControlError> {
    let folder = data.join("tls");
    files::private_folder(&folder)?;
    let mut warnings = Vec::new();

    let ca_file = folder.join("ca.pem");
    let ca = match files::read_private(&ca_file, CERT, &mut warnings)? {
        Some(pem) => issue::Ca::from_pem(&ca_file, &pem, now)?,
        None => {
            let made = issue::Ca::make(now)?;
            files::write(&ca_file, CERT, &made.pem, files::PRIVATE)?;
            tracing::info!(file = %ca_file.display(), "made the CA");
            made
        }
    };
    warnings.extend(ca.warning(now));
    let copy = folder.join("ca.crt");
    if files::read(&copy, CERT).ok().flatten().as_deref() != Some(&*ca.cert_pem) {
        files::write(&copy, CERT, &ca.cert_pem, files::PUBLIC)?;
    }

    let server_file = folder.join("server.pem");
    if let Some(pem) = files::read_private(&server_file, CERT, &mut warnings)? {
        let server = issue::Server::from_pem(&server_file, &pem)?;
        if server.fits(&ca, wanted, now) {
            return Ok(server.into_identity(&ca, warnings));
        }
    }
    let server = issue::Server::make(&ca, wanted, now)?;
    files::write(&server_file, CERT, &server.pem, files::PRIVATE)?;
    tracing::info!(file = %server_file.display(), "made the server's certificate");
    Ok(server.into_identity(&ca, warnings))
}

/// One for all tests: keys take their time.
#[cfg(test)]
pub(crate) fn for_tests() -> Arc<Authority> {
    use std::sync::OnceLock;
    static AUTHORITY: OnceLock<(tempfile::TempDir, Arc<Authority>)> = OnceLock::new();
    let make = || {
        let data = tempfile::tempdir().unwrap();
        let config = AuthorityConfig {
            data: data.path().to_owned(),
            ..AuthorityConfig::default()
        };
        let authority = Arc::new(Authority::open(config).unwrap());
        (data, authority)
    };
    Arc::clone(&AUTHORITY.get_or_init(make).1)
}

#[cfg(test)]
mod tests;
