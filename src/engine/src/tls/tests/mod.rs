//! The real ClientHellos of firmware, and OpenSSL and curl as peers.

mod fixtures;
mod openssl;

use std::sync::{Arc, OnceLock};

use bootstorm_telemetry::metrics::KeyExchange;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Fed, Stream, TlsError, TlsOptions, server_config};

/// A self-signed RSA-2048 leaf for localhost and 127.0.0.1.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) pem: String,
    key: Vec<u8>,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }
}

pub(crate) fn leaf() -> &'static Leaf {
    static LEAF: OnceLock<Leaf> = OnceLock::new();
    LEAF.get_or_init(|| {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Leaf {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key: key.serialize_der(),
        }
    })
}

pub(crate) fn config(dhe: bool) -> Arc<ServerConfig> {
    with(TlsOptions { dhe, kernel: false })
}

/// The kernel may take over.
pub(crate) fn config_for_kernel() -> Arc<ServerConfig> {
    with(TlsOptions {
        dhe: true,
        kernel: true,
    })
}

fn with(options: TlsOptions) -> Arc<ServerConfig> {
    server_config(leaf().chain.clone(), leaf().key(), options).unwrap()
}

fn suite_of(stream: &Stream) -> Option<CipherSuite> {
    stream.tls.negotiated_cipher_suite().map(|s| s.suite())
}

// A client over the same provider, which offers DHE over `group` alone.
fn dhe_client(group: &'static dyn rustls::crypto::SupportedKxGroup) -> rustls::ClientConnection {
    let mut provider = super::provider::boot(true);
    provider.cipher_suites.drain(..9);
    provider.kx_groups = vec![group];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(leaf().chain[0].clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

#[test]
fn a_client_that_names_a_finite_field_group_gets_that_one() {
    let groups: [&'static dyn rustls::crypto::SupportedKxGroup; 2] =
        [&super::ffdhe::FFDHE2048, &super::ffdhe::FFDHE3072];
    for group in groups {
        let mut client = dhe_client(group);
        let mut server = Stream::new(config(true)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            assert_eq!(server.feed(&there, &mut Vec::new()), Ok(Fed::Open));
            server.flush(&mut back);
            let mut rest = &back[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        let agreed = server.tls.negotiated_key_exchange_group().unwrap();
        assert_eq!(agreed.name(), group.name());
        assert_eq!(server.key_exchange(), Some(KeyExchange::Dhe));
    }
}

#[test]
fn an_empty_chain_is_an_error_with_a_hint() {
    let error = server_config(vec![], leaf().key(), TlsOptions::default()).unwrap_err();
    assert!(matches!(error, TlsError::EmptyChain));
    assert!(error.to_string().contains("leaf comes first"));
}

#[test]
fn a_key_of_another_certificate_is_an_error() {
    let other = KeyPair::generate().unwrap().serialize_der();
    let error = server_config(
        leaf().chain.clone(),
        PrivateKeyDer::try_from(other).unwrap(),
        TlsOptions::default(),
    )
    .unwrap_err();
    assert!(matches!(error, TlsError::CertificateAndKey(_)), "{error}");
}
