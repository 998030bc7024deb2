//! What the kernel is told so that it seals and opens the records of a connection itself: the
//! structs of `linux/tls.h`, as bytes.

use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite};
use zeroize::Zeroizing;

/// A version of TLS with a cipher, of those that the kernel may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    version: Version,
    cipher: Cipher,
}

/// The keys of both directions. Whoever has them can read and forge the connection.
pub struct Keys {
    /// For `TLS_TX`.
    pub(crate) send: Zeroizing<Vec<u8>>,
    /// For `TLS_RX`.
    pub(crate) receive: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12 = 0x0303,
    Tls13 = 0x0304,
}

// TLS_CIPHER_* of linux/tls.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    Aes128Gcm = 51,
    Aes256Gcm = 52,
    ChaCha20Poly1305 = 54,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Send,
    Receive,
}

impl Suite {
    /// Every one.
    pub(crate) const ALL: [Self; 6] = {
        const fn suite(version: Version, cipher: Cipher) -> Suite {
            Suite { version, cipher }
        }
        [
            suite(Version::Tls12, Cipher::Aes128Gcm),
            suite(Version::Tls12, Cipher::Aes256Gcm),
            suite(Version::Tls12, Cipher::ChaCha20Poly1305),
            suite(Version::Tls13, Cipher::Aes128Gcm),
            suite(Version::Tls13, Cipher::Aes256Gcm),
            suite(Version::Tls13, Cipher::ChaCha20Poly1305),
        ]
    };

    /// The suite that was agreed on, if it is one of these.
    pub(crate) fn of(suite: SupportedCipherSuite) -> Option<Self> {
        let version = match suite.version().version {
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            _ => return None,
        };
        let name = suite.suite().as_str()?;
        let cipher = [
            ("AES_128_GCM", Cipher::Aes128Gcm),
            ("AES_256_GCM", Cipher::Aes256Gcm),
            ("CHACHA20_POLY1305", Cipher::ChaCha20Poly1305),
        ];
        let (_, cipher) = cipher.into_iter().find(|(part, _)| name.contains(part))?;
        Some(Self { version, cipher })
    }

    /// Keys that protect nothing, to ask a kernel whether it takes the suite.
    pub(crate) fn sample(self) -> Keys {
        let (key, iv) = ([1; 32], [2; 12]);
        let key = match self.cipher {
            Cipher::Aes128Gcm => &key[..16],
            Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305 => &key[..],
        };
        Keys {
            send: self.info(Way::Send, key, iv, 0),
            receive: self.info(Way::Receive, key, iv, 0),
        }
    }

    /// The keys that rustls gave away; `None` when they are not of this suite.
    pub(crate) fn keys(self, secrets: &ExtractedSecrets) -> Option<Keys> {
        let (sent, send) = &secrets.tx;
        let (received, receive) = &secrets.rx;
        let info = |way, secrets: &ConnectionTrafficSecrets, sequence| {
            let (cipher, key, iv) = match secrets {
                ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
                ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
                ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                    (Cipher::ChaCha20Poly1305, key, iv)
                }
                _ => return None,
            };
            let iv = iv.as_ref().try_into().ok()?;
            (cipher == self.cipher).then(|| self.info(way, key.as_ref(), iv, sequence))
        };
        Some(Keys {
            send: info(Way::Send, send, *sent)?,
            receive: info(Way::Receive, receive, *received)?,
        })
    }

    /// `struct tls12_crypto_info_*`: version, cipher, iv, key, salt, record sequence number.
    fn info(self, way: Way, key: &[u8], iv: [u8; 12], sequence: u64) -> Zeroizing<Vec<u8>> {
        // Room for the largest, so that no copy of the key is left behind by growing.
        let mut info = Zeroizing::new(Vec::with_capacity(64));
        info.extend_from_slice(&(self.version as u16).to_ne_bytes());
        info.extend_from_slice(&(self.cipher as u16).to_ne_bytes());
        if self.cipher == Cipher::ChaCha20Poly1305 {
            info.extend_from_slice(&iv);
            info.extend_from_slice(key);
        } else {
            let (salt, nonce) = iv.split_at(4);
            info.extend_from_slice(nonce);
            // rustls sealed its records of TLS 1.2 with this nonce xor 0, 1, 2, ...; the kernel
            // counts up from it. Begun at the same place both would use some nonce twice, which
            // gives the key away: the kernel counts in the other half.
            if way == Way::Send && self.version == Version::Tls12 {
                info[4] ^= 0x80;
            }
            info.extend_from_slice(key);
            info.extend_from_slice(salt);
        }
        info.extend_from_slice(&sequence.to_be_bytes());
        info
    }
}

/// How many bytes may be sent with one key, if records are of a quarter of their full size: the
/// kernel does not count them.
pub(super) fn bytes_of_a_key(suite: SupportedCipherSuite) -> u64 {
    let common = match suite {
        SupportedCipherSuite::Tls12(suite) => &suite.common,
        SupportedCipherSuite::Tls13(suite) => &suite.common,
    };
    common.confidentiality_limit.saturating_mul(4096)
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Where the records in a stream of ciphertext begin and end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    /// Bytes of a header that are here.
    header: usize,
    /// The length that they say so far, then bytes of the record that are missing.
    left: usize,
}

impl Framing {
    /// Bytes came.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.header == HEADER {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            } else {
                // Its last two bytes are the length.
                if self.header >= HEADER - 2 {
                    self.left = self.left << 8 | usize::from(first);
                }
                self.header += 1;
                bytes = rest;
            }
            if self.header == HEADER && self.left == 0 {
                self.header = 0;
            }
        }
    }

    /// Nothing of a record is missing.
    pub(super) fn is_between_records(self) -> bool {
        self.header == 0
    }
}

const HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IV: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn suite(version: Version, cipher: Cipher) -> Suite {
        Suite { version, cipher }
    }

    #[test]
    fn aes_gcm_is_laid_out_as_the_kernel_reads_it() {
        let info = suite(Version::Tls13, Cipher::Aes128Gcm).info(Way::Send, &[7; 16], IV, 3);
        let mut wanted = vec![4, 3, 51, 0];
        wanted.extend([5, 6, 7, 8, 9, 10, 11, 12]);
        wanted.extend([7; 16]);
        wanted.extend([1, 2, 3, 4]);
        wanted.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(*info, wanted);
    }

    #[test]
    fn every_suite_has_the_length_of_its_struct() {
        for suite in Suite::ALL {
            let length = match suite.cipher {
                Cipher::Aes128Gcm => 40,
                Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305 => 56,
            };
            let keys = suite.sample();
            assert_eq!((keys.send.len(), keys.receive.len()), (length, length));
        }
    }

    proptest! {
        // Nonces of rustls: base xor sequence number; of the kernel: where it begins plus one a record.
        #[test]
        fn no_nonce_is_used_twice_in_tls_1_2(iv: [u8; 12], sent in 0u64..1 << 24, later in 0u64..1 << 24) {
            let suite = suite(Version::Tls12, Cipher::Aes128Gcm);
            let info = suite.info(Way::Send, &[7; 16], iv, sent);
            let begin = u64::from_be_bytes(info[4..12].try_into().unwrap());
            let base = u64::from_be_bytes(iv[4..].try_into().unwrap());
            let distance = (begin.wrapping_add(later)).wrapping_sub(base ^ sent);
            prop_assert!((1 << 62..3 << 62).contains(&distance));
            // What the client sends is opened with the nonces that it writes itself.
            let info = suite.info(Way::Receive, &[7; 16], iv, sent);
            prop_assert_eq!(&info[4..12], &iv[4..]);
        }

        #[test]
        fn records_end_where_they_end_however_they_arrive(
            lengths in prop::collection::vec(0usize..600, 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            let mut ends = vec![0];
            for length in lengths {
                stream.extend([23, 3, 3]);
                stream.extend((length as u16).to_be_bytes());
                stream.extend(std::iter::repeat_n(23, length));
                ends.push(stream.len());
            }
            let cut = cut.index(stream.len() + 1);
            let mut framing = Framing::default();
            framing.pass(&stream[..cut]);
            prop_assert_eq!(framing.is_between_records(), ends.contains(&cut));
            framing.pass(&stream[cut..]);
            prop_assert!(framing.is_between_records());
        }
    }
}
