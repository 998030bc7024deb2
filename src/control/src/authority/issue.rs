//! Making the CA and the server's certificate, in the form that iPXE and EDK2 accept.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::inspect::{self, Facts};
use super::{DAY, Identity, RENEW_BEFORE, Warning, names};
use crate::ControlError;

const CA_LIFE: Duration = Duration::from_secs(3650 * DAY);
const SERVER_LIFE: Duration = Duration::from_secs(365 * DAY);
/// Machines whose clock is slow, or shows local time, take a certificate that began yesterday.
const BACK_DATED: Duration = Duration::from_secs(DAY);

/// The CA with its key.
pub(super) struct Ca {
    /// Key and certificate.
    pub(super) pem: String,
    /// The certificate alone.
    pub(super) cert_pem: String,
    der: CertificateDer<'static>,
    facts: Facts,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn make(now: SystemTime) -> Result<Self, ControlError> {
        let host = names::host_name().unwrap_or_default();
        let mut id = [0; 4];
        random(&mut id)?;
        // The name differs from that of every other CA, so that no verifier tries the wrong one.
        let name = format!("bootstorm CA {host} {:08x}", u32::from_be_bytes(id));
        let issue = |source| ControlError::Issue {
            names: name.clone(),
            source,
        };
        let mut params = params(&name, now, now + CA_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rsa().map_err(issue)?;
        let cert = params.self_signed(&key).map_err(issue)?;
        let pem = format!("{}{}", key.serialize_pem(), inspect::to_pem(cert.der()));
        Self::assemble(Path::new("ca.pem"), pem, cert.der().clone(), key)
    }

    pub(super) fn from_pem(path: &Path, pem: &str, now: SystemTime) -> Result<Self, ControlError> {
        let certificates = inspect::certificates(path, pem)?;
        inspect::private_key(path, pem)?;
        let key = KeyPair::from_pem(pem)
            .map_err(|e| inspect::damaged(path, format!("holds a key of an unknown kind ({e})")))?;
        let [der] = certificates.as_slice() else {
            let what = format!("holds {} certificates in place of one", certificates.len());
            return Err(inspect::damaged(path, what));
        };
        let ca = Self::assemble(path, pem.to_owned(), der.clone(), key)?;
        if ca.facts.not_after <= now {
            return Err(ControlError::Certificate {
                code: "cert.ca-ended",
                path: path.to_owned(),
                what: format!("the CA ended on {}", date(ca.facts.not_after)),
                hint: "check the clock; if it is right, move the file away, \
                       start again and enrol the new CA in the machines",
            });
        }
        Ok(ca)
    }

    /// The CA will end, or has not begun.
    pub(super) fn warning(&self, now: SystemTime) -> Option<Warning> {
        if self.facts.not_before > now {
            return Some(Warning {
                code: "cert.not-yet-valid",
                text: format!(
                    "the CA begins on {}: is the clock right?",
                    date(self.facts.not_before)
                ),
            });
        }
        (self.facts.not_after < now + SERVER_LIFE).then(|| Warning {
            code: "cert.ca-ends-soon",
            text: format!(
                "the CA ends on {}: plan to enrol a new one",
                date(self.facts.not_after)
            ),
        })
    }

    fn assemble(
        path: &Path,
        pem: String,
        der: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, ControlError> {
        let facts = Facts::read(path, &der)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(key_mismatch(path));
        }
        if !facts.is_ca {
            return Err(inspect::damaged(path, "is no CA".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|e| inspect::damaged(path, format!("cannot sign ({e})")))?;
        Ok(Self {
            pem,
            cert_pem: inspect::to_pem(&der),
            der,
            facts,
            issuer,
        })
    }
}

/// The server's certificate with its key.
pub(super) struct Server {
    /// Key and certificate.
    pub(super) pem: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    facts: Facts,
}

impl Server {
    pub(super) fn make(ca: &Ca, names: &[String], now: SystemTime) -> Result<Self, ControlError> {
        let issue = |source| ControlError::Issue {
            names: names.join(", "),
            source,
        };
        let name = names.first().map_or("bootstorm", |n| n.as_str());
        let end = (now + SERVER_LIFE).min(ca.facts.not_after);
        let mut params = params(name, now, end)?;
        params.subject_alt_names = CertificateParams::new(names)
            .map_err(issue)?
            .subject_alt_names;
        // This form of "no CA" carries the subject key identifier and basicConstraints.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = rsa().map_err(issue)?;
        let cert = params.signed_by(&key, &ca.issuer).map_err(issue)?;
        let pem = format!("{}{}", key.serialize_pem(), inspect::to_pem(cert.der()));
        Self::from_pem(Path::new("server.pem"), &pem)
    }

    pub(super) fn from_pem(path: &Path, pem: &str) -> Result<Self, ControlError> {
        let key = inspect::private_key(path, pem)?;
        let pair = KeyPair::from_pem(pem)
            .map_err(|e| inspect::damaged(path, format!("holds a key of an unknown kind ({e})")))?;
        let der = inspect::certificates(path, pem)?.swap_remove(0);
        let facts = Facts::read(path, &der)?;
        if facts.public_key != pair.subject_public_key_info() {
            return Err(key_mismatch(path));
        }
        Ok(Self {
            pem: pem.to_owned(),
            der,
            key,
            facts,
        })
    }

    /// Can go on being used: hangs from this CA, lasts, has begun, and names everything wanted.
    pub(super) fn fits(&self, ca: &Ca, wanted: &[String], now: SystemTime) -> bool {
        let until_renewal = (now + RENEW_BEFORE).min(ca.facts.not_after);
        self.facts.issuer == ca.facts.subject
            && self.facts.not_before <= now
            && self.facts.not_after >= until_renewal
            && wanted.iter().all(|w| self.facts.names.contains(w))
    }

    pub(super) fn into_identity(self, ca: &Ca, warnings: Vec<Warning>) -> Identity {
        Identity {
            chain: vec![self.der, ca.der.clone()],
            key: self.key,
            ca_pem: ca.cert_pem.clone(),
            not_after: self.facts.not_after,
            names: self.facts.names,
            warnings,
        }
    }
}

/// The day, as people write it.
pub(super) fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|t| t.strftime("%Y-%m-%d").to_string())
        .unwrap_or_else(|_| "a day that cannot be written".to_owned())
}

/// Fills `bytes` from the system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), ControlError> {
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| ControlError::NoRandom)
}

fn key_mismatch(path: &Path) -> ControlError {
    ControlError::Certificate {
        code: "cert.key-mismatch",
        path: path.to_owned(),
        what: "the key does not belong to the certificate".to_owned(),
        hint: "restore both from the same backup",
    }
}

fn rsa() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
}

fn params(
    name: &str,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, ControlError> {
    let mut serial = [0; 16];
    random(&mut serial)?;
    // RFC 5280, section 4.1.2.2: positive; and never the same for two certificates of one issuer.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // RFC 5280, appendix A.1: a common name has 64 characters at most.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - BACK_DATED).into();
    params.not_after = not_after.into();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
