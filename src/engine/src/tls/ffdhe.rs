//! Ephemeral Diffie-Hellman over the groups of RFC 7919, for TLS 1.2 alone.
//!
//! Exponentiation is constant-time in the exponent. The public value of the peer is public: it is
//! checked with ordinary comparisons.

use std::fmt;
use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::zeroize::Zeroize;
use crypto_bigint::{Odd, U2048, U3072, Uint};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, SecureRandom, SharedSecret, SupportedKxGroup, aws_lc_rs,
};
use rustls::ffdhe_groups::{self, FfdheGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// 2048 bits, with exponents of 256 bits (RFC 7919 A.1 asks for 225 at least).
pub(super) static FFDHE2048: &Group<{ U2048::LIMBS }, { 256 / WORD_BITS }> = &GROUP_2048;

/// 3072 bits, with exponents of 320 bits (RFC 7919 A.2 asks for 275 at least).
pub(super) static FFDHE3072: &Group<{ U3072::LIMBS }, { 320 / WORD_BITS }> = &GROUP_3072;

/// A group whose prime takes `P` words and whose secret exponents take `X`.
pub(super) struct Group<const P: usize, const X: usize> {
    name: NamedGroup,
    wire: FfdheGroup<'static>,
    params: LazyLock<FixedMontyParams<P>>,
}

impl<const P: usize, const X: usize> Group<P, X> {
    fn power(&self, base: &Uint<P>, exponent: &Uint<X>) -> Uint<P> {
        let mut raised =
            FixedMontyForm::new(base, &self.params).pow_bounded_exp(exponent, Uint::<X>::BITS);
        let result = raised.retrieve();
        raised.zeroize();
        result
    }

    // In 2..=p-2: everything else makes a secret that anyone can guess.
    fn public_value(&self, wire: &[u8]) -> Option<Uint<P>> {
        let significant = wire.iter().position(|&b| b != 0)?;
        let wire = &wire[significant..];
        if wire.len() > self.wire.p.len() {
            return None;
        }
        let value = Uint::from_be_slice(&padded::<P>(wire));
        let largest = self.params.modulus().get().wrapping_sub(&Uint::from_u8(2));
        (value >= Uint::from_u8(2) && value <= largest).then_some(value)
    }
}

impl<const P: usize, const X: usize> fmt::Debug for Group<P, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.name).finish()
    }
}

impl<const P: usize, const X: usize> SupportedKxGroup for &'static Group<P, X> {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut exponent = secret_exponent::<X>(PROVIDER.secure_random)?;
        let generator = Uint::from_be_slice(&padded::<P>(self.wire.g));
        let public = bytes(&self.power(&generator, &exponent));
        let exchange = Exchange {
            group: self,
            exponent,
            public,
        };
        exponent.zeroize();
        Ok(Box::new(exchange))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(self.wire)
    }

    fn name(&self) -> NamedGroup {
        self.name
    }

    // TLS 1.3 has better ones, and there a server may only pick what the client sent a share for.
    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_2
    }
}

struct Exchange<const P: usize, const X: usize> {
    group: &'static Group<P, X>,
    exponent: Uint<X>,
    public: Vec<u8>,
}

impl<const P: usize, const X: usize> ActiveKeyExchange for Exchange<P, X> {
    // Padded to the length of the prime; rustls strips the leading zeros for TLS 1.2
    // (RFC 5246 section 8.1.2) in `complete_for_tls_version`.
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = self
            .group
            .public_value(peer)
            .ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let mut shared = self.group.power(&peer, &self.exponent);
        let secret = bytes(&shared);
        shared.zeroize();
        Ok(SharedSecret::from(secret))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        Some(self.group.wire)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.group.name
    }
}

impl<const P: usize, const X: usize> Drop for Exchange<P, X> {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

const WORD_BITS: usize = crypto_bigint::Word::BITS as usize;
const WORD_BYTES: usize = WORD_BITS / 8;

const PRIME_2048: Odd<U2048> = odd(U2048::from_be_slice(ffdhe_groups::FFDHE2048.p));
const PRIME_3072: Odd<U3072> = odd(U3072::from_be_slice(ffdhe_groups::FFDHE3072.p));

static GROUP_2048: Group<{ U2048::LIMBS }, { 256 / WORD_BITS }> = Group {
    name: NamedGroup::FFDHE2048,
    wire: ffdhe_groups::FFDHE2048,
    params: LazyLock::new(|| FixedMontyParams::new_vartime(PRIME_2048)),
};

static GROUP_3072: Group<{ U3072::LIMBS }, { 320 / WORD_BITS }> = Group {
    name: NamedGroup::FFDHE3072,
    wire: ffdhe_groups::FFDHE3072,
    params: LazyLock::new(|| FixedMontyParams::new_vartime(PRIME_3072)),
};

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);

const fn odd<const P: usize>(prime: Uint<P>) -> Odd<Uint<P>> {
    prime
        .to_odd()
        .expect_copied("evaluated by the compiler: a prime above two is odd")
}

fn secret_exponent<const X: usize>(random: &dyn SecureRandom) -> Result<Uint<X>, Error> {
    let mut drawn = vec![0; X * WORD_BYTES];
    random.fill(&mut drawn)?;
    let exponent = Uint::from_be_slice(&drawn);
    drawn.zeroize();
    Ok(exponent)
}

fn padded<const P: usize>(value: &[u8]) -> Vec<u8> {
    let mut padded = vec![0; (P * WORD_BYTES).saturating_sub(value.len())];
    padded.extend_from_slice(value);
    padded
}

fn bytes<const P: usize>(value: &Uint<P>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(P * WORD_BYTES);
    for word in value.as_words().iter().rev() {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange<const P: usize, const X: usize>(group: &&'static Group<P, X>) {
        let (ours, theirs) = (group.start().unwrap(), group.start().unwrap());
        let (our_public, their_public) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        assert_ne!(our_public, their_public);
        let a = ours.complete(&their_public).unwrap();
        let b = theirs.complete(&our_public).unwrap();
        assert_eq!(a.secret_bytes(), b.secret_bytes());
        assert_eq!(a.secret_bytes().len(), group.wire.p.len());
    }

    #[test]
    fn both_sides_of_an_exchange_agree() {
        exchange(&FFDHE2048);
        exchange(&FFDHE3072);
    }

    #[test]
    fn power_is_that_of_plain_arithmetic() {
        // 2^2047 mod p = 2^2047, as p > 2^2047; its square is 4^2047 mod p either way.
        let two = Uint::from_u8(2);
        let small = FFDHE2048.power(&two, &Uint::from_u16(2047));
        assert_eq!(bytes(&small)[0], 0x80);
        assert!(bytes(&small)[1..].iter().all(|&b| b == 0));
        let squared = FFDHE2048.power(&small, &Uint::from_u8(2));
        assert_eq!(
            squared,
            FFDHE2048.power(&Uint::from_u8(4), &Uint::from_u16(2047))
        );
    }

    #[test]
    fn public_values_that_make_a_known_secret_are_refused() {
        let prime = ffdhe_groups::FFDHE2048.p;
        let near = |last: u8| {
            let mut value = prime.to_vec();
            *value.last_mut().unwrap() = last;
            value
        };
        let minus_one = near(prime[prime.len() - 1] - 1);
        let minus_two = near(prime[prime.len() - 1] - 2);
        let longer = [&[1], prime].concat();
        for bad in [
            &[][..],
            &[0],
            &[1],
            &[0, 0, 1],
            prime,
            &minus_one,
            &longer,
            &[0xff; 256],
        ] {
            let error = FFDHE2048.start().unwrap().complete(bad).err();
            assert_eq!(
                error,
                Some(PeerMisbehaved::InvalidKeyShare.into()),
                "{bad:02x?}"
            );
        }
        for good in [
            &[2][..],
            &[0, 0, 0, 2],
            &minus_two,
            &[&[0], &minus_two[..]].concat(),
        ] {
            assert!(
                FFDHE2048.start().unwrap().complete(good).is_ok(),
                "{good:02x?}"
            );
        }
    }

    #[test]
    fn tls12_gets_the_secret_without_leading_zeros() {
        // With the peer's value 2 and an exponent of k, the secret is 2^k.
        let exchange = Exchange {
            group: FFDHE2048,
            exponent: Uint::from_u8(15),
            public: vec![],
        };
        let secret = Box::new(exchange)
            .complete_for_tls_version(&[2], &rustls::version::TLS12)
            .unwrap();
        assert_eq!(secret.secret_bytes(), [0x80, 0]);
    }
}
