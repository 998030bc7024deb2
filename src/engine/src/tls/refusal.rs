//! Why a handshake failed, in words and codes that a person can act on.

use std::borrow::Cow;
use std::fmt::Write;

use bootstorm_telemetry::event::Reason;
use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// The first byte of a TLS connection is that of a handshake record; a letter is another protocol.
pub(super) fn check_first_byte(bytes: &[u8]) -> Result<(), Reason> {
    match bytes.first() {
        None | Some(&HANDSHAKE) => Ok(()),
        Some(b'A'..=b'Z') => Err(reason(
            PLAIN_HTTP,
            "the client speaks plain HTTP to the HTTPS port; use https:// in its URL, or the port of the http listener",
        )),
        Some(other) => Err(reason(
            "tls.not-tls",
            format!("the first byte is {other:#04x}, which begins no TLS handshake"),
        )),
    }
}

/// iPXE ends a handshake whose certificate it does not trust with this unencrypted goodbye.
pub(super) fn is_clear_close_notify(bytes: &[u8]) -> bool {
    matches!(bytes, [ALERT, 3, _, 0, 2, 1 | 2, 0, ..])
}

/// What [`is_clear_close_notify`] means.
pub(super) fn walked_away() -> Reason {
    reason(
        "tls.unknown-ca",
        "the client said goodbye in the middle of the handshake, as iPXE does when it does not trust the certificate; enrol the CA (GET /ca.crt) in the firmware or build it into iPXE",
    )
}

/// The TCP connection was closed in good order, but without a word, after the certificate: iPXE
/// 1.21.1 of Debian 13 does so when it has no CA for it.
pub(super) fn left_in_silence() -> Reason {
    reason(
        "tls.unknown-ca",
        "the client closed the connection as soon as it had seen the certificate, as iPXE does when it does not trust it; enrol the CA (GET /ca.crt) in the firmware or build it into iPXE",
    )
}

/// The TCP connection ended during the handshake, without a word.
pub(super) fn cut() -> Reason {
    reason(
        "tls.handshake-cut",
        "the client closed the connection during the handshake without saying why; it may not trust the certificate, or not know our key exchange",
    )
}

/// The kernel was to take the records of a connection over, and it cannot go on.
pub(crate) fn kernel_failed(error: &dyn std::fmt::Display) -> Reason {
    reason(
        "tls.kernel-failed",
        format!("the kernel did not take the connection over: {error}"),
    )
}

/// The client renewed its keys behind the kernel's back.
pub(crate) fn key_update() -> Reason {
    reason(
        "tls.key-update",
        "the client renewed its keys, which connections of the kernel cannot; it may connect again",
    )
}

/// The kernel found a record that is not genuine.
pub(crate) fn bad_record() -> Reason {
    reason("tls.bad-record", "the kernel could not decrypt a record")
}

/// A key was used for as much as it may be.
pub(crate) fn worn_out() -> Reason {
    reason(
        "tls.key-worn-out",
        "as much was sent as one key is good for; the client may connect again and go on with a range",
    )
}

/// The handshake took too long.
pub(crate) fn timed_out(seconds: u64) -> Reason {
    reason(
        "tls.handshake-timeout",
        format!("the handshake was not finished within {seconds} s"),
    )
}

/// A message larger than any that firmware sends.
pub(super) fn oversized() -> Reason {
    reason(
        "tls.bad-record",
        "a TLS message is larger than the server takes",
    )
}

/// What the library found, while `handshaking` or later; `bytes` may hold the ClientHello.
pub(super) fn of_error(error: &Error, handshaking: bool, bytes: &[u8]) -> Reason {
    match error {
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => reason(
            "tls.no-common-suite",
            format!(
                "the client and the server share no cipher suite, group or signature{}; firmware that offers RSA key exchange alone needs plain HTTP, firmware of 2022 to 2025 needs DHE switched on",
                offered(bytes)
            ),
        ),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => reason(
            "tls.old-version",
            "the client knows no TLS newer than 1.1; update it or let it boot over plain HTTP",
        ),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) if handshaking => reason("tls.not-tls", "what arrived is no TLS record"),
        other if handshaking => reason("tls.handshake-failed", other.to_string()),
        other => reason("tls.bad-record", other.to_string()),
    }
}

/// The one reason whose client is answered in the clear.
pub(crate) const PLAIN_HTTP: &str = "tls.plain-http";

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// Suites named in a text; firmware offers a dozen or two.
const SUITES_SHOWN: usize = 32;

fn reason(code: &'static str, text: impl Into<Cow<'static, str>>) -> Reason {
    Reason {
        code,
        text: text.into(),
    }
}

fn of_alert(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown => reason(
            "tls.unknown-ca",
            format!(
                "the client does not trust the certificate (alert {alert:?}); enrol the CA (GET /ca.crt) in the firmware, and use a name or address that the certificate holds"
            ),
        ),
        AlertDescription::CertificateExpired => reason(
            "tls.certificate-expired",
            "for the client the certificate has expired or is not valid yet: check the client's clock, then the certificate",
        ),
        AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity
        | AlertDescription::UnsupportedCertificate => reason(
            "tls.no-common-suite",
            format!("the client takes neither our suite nor our kind of key (alert {alert:?})"),
        ),
        other => reason(
            "tls.client-alert",
            format!("the client ended the connection with alert {other:?}"),
        ),
    }
}

// The suites of the ClientHello, as evidence: ` (offered: 009f 009e)`.
fn offered(record: &[u8]) -> String {
    let Some(suites) = suites(record) else {
        return String::new();
    };
    let mut text = String::from(" (offered:");
    for suite in suites.chunks_exact(2).take(SUITES_SHOWN) {
        // Writing to a String cannot fail.
        let _ = write!(text, " {:02x}{:02x}", suite[0], suite[1]);
    }
    text.push(')');
    text
}

// RFC 8446 section 4.1.2: record and handshake headers, version, random, session id, suites.
fn suites(record: &[u8]) -> Option<&[u8]> {
    let hello = record.get(5..)?;
    if record.first() != Some(&HANDSHAKE) || hello.first() != Some(&1) {
        return None;
    }
    let session = hello.get(4 + 2 + 32..)?;
    let rest = session.get(1 + usize::from(*session.first()?)..)?;
    let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    rest.get(2..2 + length)
}
