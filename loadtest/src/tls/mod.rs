//! The client's side of TLS: records are opened where they were received.

mod sessions;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::unbuffered::ConnectionState;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Bytes of a record's head: type, version, length (RFC 8446 section 5.1).
const RECORD_HEAD: usize = 5;
/// A record with its head never is longer.
const RECORD_MAX: usize = 16384 + 2048 + RECORD_HEAD;

use sessions::Sessions;

/// Plain text that is sealed at once, in bytes; a record holds it.
const PLAIN_MAX: usize = 16384;

/// What all connections share. They resume no session: they stand for different machines.
pub(crate) fn config(
    tls12: bool,
    insecure: bool,
    ca: Option<&Path>,
) -> anyhow::Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    let versions = if tls12 {
        provider.cipher_suites.retain(|suite| {
            matches!(
                suite.suite(),
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            )
        });
        &[&rustls::version::TLS12][..]
    } else {
        rustls::ALL_VERSIONS
    };
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let mut config = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider)))
            .with_no_client_auth()
    } else {
        let file = ca.context("https:// needs --ca FILE, or --insecure")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file)
            .with_context(|| format!("cannot read {}", file.display()))?
        {
            roots.add(certificate.with_context(|| file.display().to_string())?)?;
        }
        ensure!(!roots.is_empty(), "{} holds no certificate", file.display());
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How many bytes of what was received are whole records. What is no TLS is whole: let the
/// connection say what is wrong with it.
pub(crate) fn whole_records(received: &[u8]) -> usize {
    let mut whole = 0;
    while let Some([_, _, _, high, low]) = received.get(whole..whole + RECORD_HEAD) {
        let next = whole + RECORD_HEAD + usize::from(u16::from_be_bytes([*high, *low]));
        if next - whole > RECORD_MAX {
            return received.len();
        }
        if next > received.len() {
            break;
        }
        whole = next;
    }
    whole
}

/// The same for the connections of one machine: a later one resumes the session of an earlier one.
pub(crate) fn resuming(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = config.clone();
    own.resumption = Resumption::store(Arc::new(Sessions::default()));
    Arc::new(own)
}

/// One connection.
pub(crate) struct Tls {
    connection: UnbufferedClientConnection,
    /// To be sent.
    outgoing: Vec<u8>,
    /// Plain text that waits for the end of the handshake.
    plain: Vec<u8>,
    /// Received, and not a whole record yet.
    rest: Vec<u8>,
}

impl Tls {
    /// A connection that begins with its first [`Tls::open`].
    pub(crate) fn new(config: &Arc<ClientConfig>, host: &str) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("`{host}` is no name that a certificate can carry"))?;
        Ok(Self {
            connection: UnbufferedClientConnection::new(Arc::clone(config), name)?,
            outgoing: Vec::new(),
            plain: Vec::new(),
            rest: Vec::new(),
        })
    }

    /// Gives plain text that is to be sent as soon as it may.
    pub(crate) fn write(&mut self, plain: &[u8]) {
        self.plain.extend_from_slice(plain);
    }

    /// What is to be sent.
    pub(crate) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// How the handshake ended, when it is over: by an earlier session or anew.
    pub(crate) fn resumed(&self) -> Option<bool> {
        if self.connection.is_handshaking() {
            return None;
        }
        Some(self.connection.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Puts what is left of the last records to the front of a buffer, for more to be received
    /// behind it; returns how many bytes that is. Idle connections hold no memory for it.
    pub(crate) fn begin(&mut self, buffer: &mut [u8]) -> usize {
        let rest = std::mem::take(&mut self.rest);
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        length
    }

    /// Takes back what [`Tls::begin`] gave, when nothing came.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// Opens the records in `buffer` and hands their plain text over; what is to be sent stands in
    /// [`Tls::take_outgoing`] then. Returns whether the peer has closed.
    ///
    /// # Errors
    /// The reason why the connection is of no use any more.
    pub(crate) fn open(
        &mut self,
        mut buffer: &mut [u8],
        mut plain: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        let closed = loop {
            let status = self.connection.process_tls_records(buffer);
            let mut discard = status.discard;
            let mut over = None;
            match status.state.map_err(|error| format!("tls: {error}"))? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| format!("tls: {error}"))?;
                        discard += record.discard;
                        plain(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, |out| data.encode(out))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    if self.plain.is_empty() {
                        over = Some(false);
                    }
                    for plain in std::mem::take(&mut self.plain).chunks(PLAIN_MAX) {
                        append(&mut self.outgoing, |out| traffic.encrypt(plain, out))?;
                    }
                }
                ConnectionState::BlockedHandshake => over = Some(false),
                ConnectionState::PeerClosed | ConnectionState::Closed => over = Some(true),
                _ => return Err("tls: an unexpected state".to_owned()),
            }
            buffer = &mut buffer[discard..];
            if let Some(closed) = over {
                break closed;
            }
        };
        self.rest.extend_from_slice(buffer);
        Ok(closed)
    }

    /// Tells the peer that nothing more comes, where the handshake is over.
    pub(crate) fn close(&mut self) {
        let status = self.connection.process_tls_records(&mut []);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            // Whoever does not hear of the end sees the connection's.
            append(&mut self.outgoing, |out| traffic.queue_close_notify(out)).ok();
        }
    }
}

fn append<E: std::fmt::Display>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<(), String> {
    let begin = out.len();
    out.resize(begin + RECORD_MAX, 0);
    let length = write(&mut out[begin..]).map_err(|error| format!("tls: {error}"))?;
    out.truncate(begin + length);
    Ok(())
}

/// Takes whatever certificate comes; that its key signed the handshake is still checked.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_are_taken() {
        let record = [&[23, 3, 3, 1, 2][..], &[7; 0x102]].concat();
        let two = [&record[..], &record].concat();
        for length in 0..two.len() {
            let expected = if length < record.len() {
                0
            } else {
                record.len()
            };
            assert_eq!(whole_records(&two[..length]), expected, "{length}");
        }
        assert_eq!(whole_records(&two), two.len());
        assert_eq!(whole_records(b"HTTP/1.1 400 Bad"), 16);
    }
}
