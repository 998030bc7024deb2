//! Checking a certificate that the owner brings.

use std::path::Path;
use std::time::SystemTime;

use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;

use super::inspect::{self, Facts, Key};
use super::issue::date;
use super::{Identity, OwnCertificate, RENEW_BEFORE, Warning};
use crate::ControlError;
use crate::files::{self, CERT};

/// RSA keys below this are refused by EDK2 and by browsers.
const RSA_BITS_MIN: usize = 2048;

pub(super) fn identity(
    own: &OwnCertificate,
    wanted: &[String],
    now: SystemTime,
) -> Result<Identity, ControlError> {
    let chain = inspect::certificates(&own.chain, &existing(&own.chain)?)?;
    let key = inspect::private_key(&own.key, &existing(&own.key)?)?;
    let facts: Vec<Facts> = chain
        .iter()
        .map(|der| Facts::read(&own.chain, der))
        .collect::<Result<_, _>>()?;
    let [server, issuers @ ..] = facts.as_slice() else {
        return Err(inspect::damaged(&own.chain, "is empty".to_owned()));
    };
    refuse_unusable(&own.chain, &facts, now)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let what = format!(
                "does not belong to the certificate in {}",
                own.chain.display()
            );
            return Err(fault(
                &own.key,
                "cert.key-mismatch",
                what,
                "name the right pair",
            ));
        }
        Err(other) => return Err(ControlError::Tls(other)),
    }
    let mut warnings = warnings(server, issuers, wanted, now);
    warnings.extend(files::too_open(&own.key, CERT));
    let ca_pem = match &own.ca {
        Some(path) => {
            let pem = existing(path)?;
            inspect::certificates(path, &pem)?;
            pem
        }
        None => chain.last().map(inspect::to_pem).unwrap_or_default(),
    };
    Ok(Identity {
        not_after: server.not_after,
        names: server.names.clone(),
        chain,
        key,
        ca_pem,
        warnings,
    })
}

fn refuse_unusable(path: &Path, chain: &[Facts], now: SystemTime) -> Result<(), ControlError> {
    for (at, facts) in chain.iter().enumerate() {
        let which = format!("certificate {} of {}", at + 1, chain.len());
        if facts.not_after <= now {
            let what = format!("{which} ended on {}", date(facts.not_after));
            return Err(fault(path, "cert.expired", what, "bring a new one"));
        }
        if let Key::Rsa { bits } = facts.key
            && bits < RSA_BITS_MIN
        {
            let what = format!("{which} has an RSA key of {bits} bits");
            return Err(fault(path, "cert.weak", what, "take 2048 bits or more"));
        }
        // A root is trusted for itself, whatever its signature.
        if facts.weak_signature && !facts.is_root() {
            let what = format!("{which} is signed over SHA-1 or MD5");
            return Err(fault(
                path,
                "cert.weak",
                what,
                "have it signed over SHA-256",
            ));
        }
    }
    for (at, pair) in chain.windows(2).enumerate() {
        if let [child, parent] = pair
            && child.issuer != parent.subject
        {
            let what = format!(
                "certificate {} is not issued by certificate {}",
                at + 1,
                at + 2
            );
            let hint = "put the server's certificate first, then each issuer in turn";
            return Err(fault(path, "cert.chain-order", what, hint));
        }
    }
    Ok(())
}

fn warnings(server: &Facts, issuers: &[Facts], wanted: &[String], now: SystemTime) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, text| warnings.push(Warning { code, text });
    if server.not_after < now + RENEW_BEFORE {
        let text = format!("the certificate ends on {}", date(server.not_after));
        warn("cert.ends-soon", text);
    }
    if server.not_before > now {
        let text = format!("the certificate begins on {}", date(server.not_before));
        warn("cert.not-yet-valid", text);
    }
    if server.key == Key::Other {
        let text = "the key is not RSA: iPXE before 2026 and much firmware refuse it".to_owned();
        warn("cert.not-rsa", text);
    }
    if !server.for_servers || (server.is_ca && !issuers.is_empty()) {
        let text = "the certificate is not made for servers: no serverAuth, or a CA".to_owned();
        warn("cert.not-for-servers", text);
    }
    if !issuers.last().unwrap_or(server).is_root() {
        let text = "the chain stops before its root: iPXE looks for the root's certificate in \
                    what the server sends"
            .to_owned();
        warn("cert.no-root", text);
    }
    let covered = |name: &String| server.names.iter().any(|n| covers(n, name));
    if !wanted.iter().filter(|w| !is_local(w)).any(covered) {
        let text = format!(
            "the certificate is for {} only: machines reach this server by none of that",
            server.names.join(", ")
        );
        warn("cert.wrong-name", text);
    }
    warnings
}

fn is_local(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

/// RFC 6125, section 6.4.3: a star stands for one whole label.
fn covers(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(domain), Some((_, rest))) => domain == rest,
        _ => pattern == name,
    }
}

fn existing(path: &Path) -> Result<String, ControlError> {
    files::read(path, CERT)?.ok_or_else(|| ControlError::File {
        code: "cert.unreadable",
        path: path.to_owned(),
        doing: "read",
        hint: "check the path in the configuration",
        source: std::io::ErrorKind::NotFound.into(),
    })
}

fn fault(path: &Path, code: &'static str, what: String, hint: &'static str) -> ControlError {
    ControlError::Certificate {
        code,
        path: path.to_owned(),
        what,
        hint,
    }
}
