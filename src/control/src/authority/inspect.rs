//! What a certificate says.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::Oid;
use x509_parser::public_key::PublicKey;

use crate::ControlError;

/// The facts of one certificate that decisions hang on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// DER of the subject.
    pub(super) subject: Vec<u8>,
    /// DER of the issuer.
    pub(super) issuer: Vec<u8>,
    /// DER of the public key with its algorithm.
    pub(super) public_key: Vec<u8>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// DNS names and addresses.
    pub(super) names: Vec<String>,
    pub(super) is_ca: bool,
    /// May stand for a server: extKeyUsage has serverAuth or is absent.
    pub(super) for_servers: bool,
    pub(super) key: Key,
    /// Signed over SHA-1 or MD5.
    pub(super) weak_signature: bool,
}

/// Kinds of public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Rsa { bits: usize },
    Other,
}

impl Facts {
    /// Reads DER.
    pub(super) fn read(path: &Path, der: &CertificateDer<'_>) -> Result<Self, ControlError> {
        let (rest, x509) = x509_parser::parse_x509_certificate(der)
            .map_err(|e| damaged(path, format!("holds no X.509 certificate ({e})")))?;
        if !rest.is_empty() {
            return Err(damaged(path, "has bytes behind the certificate".to_owned()));
        }
        Ok(Self::of(&x509))
    }

    fn of(x509: &X509Certificate<'_>) -> Self {
        let names = x509
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|san| san.value.general_names.iter().filter_map(name).collect())
            .unwrap_or_default();
        let for_servers = match x509.extended_key_usage() {
            Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
            Ok(None) => true,
            Err(_) => false,
        };
        let key = match x509.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => Key::Rsa {
                bits: rsa.key_size(),
            },
            _ => Key::Other,
        };
        Self {
            subject: x509.subject().as_raw().to_vec(),
            issuer: x509.issuer().as_raw().to_vec(),
            public_key: x509.public_key().raw.to_vec(),
            not_before: time(x509.validity().not_before.timestamp()),
            not_after: time(x509.validity().not_after.timestamp()),
            names,
            is_ca: x509.is_ca(),
            for_servers,
            key,
            weak_signature: is_weak(&x509.signature_algorithm.algorithm),
        }
    }

    /// Signed by itself, as far as names go.
    pub(super) fn is_root(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Every certificate of a PEM text, at least one.
pub(super) fn certificates(
    path: &Path,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, ControlError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|e| damaged(path, format!("is not sound PEM ({e})")))?;
    if found.is_empty() {
        return Err(damaged(path, "holds no certificate".to_owned()));
    }
    Ok(found)
}

/// The first private key of a PEM text.
pub(super) fn private_key(path: &Path, pem: &str) -> Result<PrivateKeyDer<'static>, ControlError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| {
        let encrypted = pem.contains("ENCRYPTED");
        let what = if encrypted {
            "is encrypted: the server starts without anybody to ask".to_owned()
        } else {
            format!("holds no private key ({e})")
        };
        damaged(path, what)
    })
}

/// The same certificate as text.
pub(super) fn to_pem(der: &CertificateDer<'_>) -> String {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der.as_ref()), unix)
}

pub(super) fn damaged(path: &Path, what: String) -> ControlError {
    ControlError::Certificate {
        code: "cert.damaged",
        path: path.to_owned(),
        what,
        hint: "restore it from a backup; removing the file makes a new one, \
               and a new CA has to be enrolled in every machine again",
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(dns.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                Some(IpAddr::from(v4).to_string())
            } else {
                let v6 = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(IpAddr::from(v6).to_string())
            }
        }
        _ => None,
    }
}

fn is_weak(algorithm: &Oid<'_>) -> bool {
    // md5WithRSA, sha1WithRSA, ecdsa-with-SHA1, dsa-with-SHA1
    let weak = [
        "1.2.840.113549.1.1.4",
        "1.2.840.113549.1.1.5",
        "1.2.840.10045.4.1",
        "1.2.840.10040.4.3",
    ];
    weak.contains(&algorithm.to_id_string().as_str())
}

fn time(unix: i64) -> SystemTime {
    let seconds = Duration::from_secs(unix.unsigned_abs());
    if unix < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    }
    .unwrap_or(UNIX_EPOCH)
}
