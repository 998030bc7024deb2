//! Where a service is and whom to believe that it is the one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Where distributions keep the CAs that the system trusts: Debian and Arch, Fedora, SUSE, Alpine.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A URL that was taken apart.
pub(super) struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    pub(super) fn new(url: &str, ca: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("its URL: {e}"))?;
        let usual_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err("its URL begins neither with http:// nor with https://".to_owned()),
        };
        let authority = uri.authority().ok_or("its URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("its URL holds a password: use `authorization`".to_owned());
        }
        // IPv6 addresses stand in brackets in URLs and nowhere else.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match usual_port {
            443 => Some(tls(&host, ca)?),
            _ => None,
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(usual_port),
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            host,
            tls,
        })
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Host and port as the header `Host` has them.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn tls(&self) -> Option<(&TlsConnector, ServerName<'static>)> {
        let (connector, name) = self.tls.as_ref()?;
        Some((connector, name.clone()))
    }
}

fn tls(host: &str, ca: Option<&Path>) -> Result<(TlsConnector, ServerName<'static>), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("its URL: {e}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let system = || SYSTEM_CAS.iter().map(Path::new).find(|path| path.exists());
    let path = ca.or_else(system).ok_or(
        "the system has no list of CAs that it trusts; install ca-certificates or set `ca`",
    )?;
    let bad = |e: &dyn std::fmt::Display| format!("its CA {}: {e}", path.display());
    let pem = fs::read(path).map_err(|e| bad(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| bad(&e))?;
        let added = roots.add(certificate);
        // Among the system's there may be some that are too odd for the library.
        if ca.is_some() {
            added.map_err(|e| bad(&e))?;
        }
    }
    if roots.is_empty() {
        return Err(bad(&"there is no certificate in it"));
    }
    Ok(roots)
}
