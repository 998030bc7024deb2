//! The cryptography: aws-lc-rs, and two DHE suites assembled from its parts.

use std::sync::LazyLock;

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, KeyExchangeAlgorithm, aws_lc_rs};
use rustls::{CipherSuite, SupportedCipherSuite, Tls12CipherSuite};

use super::ffdhe;

/// The provider of the boot endpoint, with or without DHE; clients that behave like firmware take
/// it too.
#[must_use]
pub fn boot(dhe: bool) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = ELLIPTIC.to_vec();
    if dhe {
        provider
            .cipher_suites
            .extend(DHE.iter().map(SupportedCipherSuite::Tls12));
        // The first is the one that clients get who name no group at all.
        provider.kx_groups.push(&ffdhe::FFDHE2048);
        provider.kx_groups.push(&ffdhe::FFDHE3072);
    }
    provider
}

// AES-128 first: the bodies are boot images, and firmware decrypts in software.
static ELLIPTIC: [SupportedCipherSuite; 9] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

static DHE: LazyLock<Vec<Tls12CipherSuite>> = LazyLock::new(|| {
    [
        (
            CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            CipherSuite::TLS_DHE_RSA_WITH_AES_256_GCM_SHA384,
            TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
    ]
    .into_iter()
    .filter_map(|(suite, sibling)| with_dhe(suite, sibling))
    .collect()
});

// RFC 5288 defines the DHE and ECDHE suites alike but for the key exchange.
fn with_dhe(suite: CipherSuite, sibling: SupportedCipherSuite) -> Option<Tls12CipherSuite> {
    let SupportedCipherSuite::Tls12(sibling) = sibling else {
        return None;
    };
    Some(Tls12CipherSuite {
        common: CipherSuiteCommon {
            suite,
            hash_provider: sibling.common.hash_provider,
            confidentiality_limit: sibling.common.confidentiality_limit,
        },
        prf_provider: sibling.prf_provider,
        kx: KeyExchangeAlgorithm::DHE,
        sign: sibling.sign,
        aead_alg: sibling.aead_alg,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(provider: &CryptoProvider) -> Vec<CipherSuite> {
        provider
            .cipher_suites
            .iter()
            .map(SupportedCipherSuite::suite)
            .collect()
    }

    #[test]
    fn dhe_suites_come_last_and_only_when_asked_for() {
        let with = names(&boot(true));
        assert_eq!(
            with[with.len() - 2..],
            [
                CipherSuite::TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
            ]
        );
        assert_eq!(names(&boot(false)), with[..with.len() - 2]);
        assert!(
            boot(false)
                .kx_groups
                .iter()
                .all(|g| g.name().key_exchange_algorithm() == KeyExchangeAlgorithm::ECDHE)
        );
    }
}
