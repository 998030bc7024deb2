//! What makes a URL good for one boot of one machine.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bootstorm_telemetry::event::Reason;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use crate::Identity;

/// Number of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u64);

/// Issues and checks tokens: 88 hexadecimal digits that name a boot, the machine that it belongs to
/// and when they end, sealed with HMAC-SHA256 cut to 128 bits (RFC 2104). The server keeps nothing
/// of them but its secret, so they outlive a restart. The machine stands in them as sealed
/// fingerprints: nobody learns its GUID from a URL.
#[derive(Clone)]
pub struct Tokens {
    sealer: Hmac<Sha256>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("this page is for one boot of one machine, and the URL has no token of it")]
    Missing,
    /// It was good once.
    #[error("the token of this URL ended {} seconds ago: boot again", .ago.as_secs())]
    Expired {
        /// Since when it is not.
        ago: Duration,
    },
    /// It is another machine's.
    #[error("the token of this URL belongs to another machine")]
    Foreign,
    /// Nobody issued it, or not under this secret.
    #[error("the token of this URL was cut, changed, or issued by another server")]
    Damaged,
}

impl TokenError {
    /// The stable code, documented in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token.missing",
            Self::Expired { .. } => "token.expired",
            Self::Foreign => "token.foreign",
            Self::Damaged => "token.damaged",
        }
    }
}

impl From<&TokenError> for Reason {
    fn from(error: &TokenError) -> Self {
        Self {
            code: error.code(),
            text: Cow::from(error.to_string()),
        }
    }
}

impl Tokens {
    /// Tokens under a secret of random bytes. Servers that share it take each other's.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        // HMAC fills up short keys with noughts to the block of its hash.
        let mut block = [0; 64];
        for (slot, byte) in block.iter_mut().zip(secret) {
            *slot = *byte;
        }
        Self {
            sealer: Hmac::new(&block.into()),
        }
    }

    /// A token of one boot of `machine`, good until `until`, to the second.
    #[must_use]
    pub fn issue(&self, boot: BootId, machine: &Identity, until: SystemTime) -> String {
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claim = Claim {
            boot: boot.0,
            until: u32::try_from(until.as_secs()).unwrap_or(u32::MAX),
            machine: self.prints(machine),
        };
        let claim = claim.to_bytes();
        let seal = self.seal(SEAL, &claim);
        let mut token = hex::encode(claim);
        token.push_str(&hex::encode(seal.get(..SEAL_LENGTH).unwrap_or_default()));
        token
    }

    /// The boot that a token is of. Of two ids that a machine has, its GUID decides, as everywhere;
    /// one that shows neither is not the machine.
    ///
    /// # Errors
    /// [`TokenError`]; of several the first in the order missing, damaged, foreign, expired.
    pub fn check(
        &self,
        token: Option<&str>,
        machine: &Identity,
        now: SystemTime,
    ) -> Result<BootId, TokenError> {
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or(TokenError::Missing)?;
        let mut bytes = [0; CLAIM_LENGTH + SEAL_LENGTH];
        hex::decode_to_slice(token, &mut bytes).map_err(|_| TokenError::Damaged)?;
        let (claim, seal) = bytes.split_at(CLAIM_LENGTH);
        let mut sealer = self.sealer.clone();
        sealer.update(&[SEAL]);
        sealer.update(claim);
        sealer
            .verify_truncated_left(seal)
            .map_err(|_| TokenError::Damaged)?;
        let claim = Claim::from_bytes(claim).ok_or(TokenError::Damaged)?;
        if !claim.machine.is(&self.prints(machine)) {
            return Err(TokenError::Foreign);
        }
        let until = UNIX_EPOCH + Duration::from_secs(claim.until.into());
        match now.duration_since(until) {
            Ok(ago) if !ago.is_zero() => Err(TokenError::Expired { ago }),
            _ => Ok(BootId(claim.boot)),
        }
    }

    fn prints(&self, machine: &Identity) -> Prints {
        let print = |kind, id: &[u8]| first_eight(&self.seal(kind, id));
        Prints {
            guid: machine.guid.map(|guid| print(GUID, &guid.wire())),
            mac: machine.mac.map(|mac| print(MAC, &mac.bytes())),
        }
    }

    pub(crate) fn seal(&self, kind: u8, bytes: &[u8]) -> [u8; 32] {
        let mut sealer = self.sealer.clone();
        sealer.update(&[kind]);
        sealer.update(bytes);
        sealer.finalize().into_bytes().into()
    }
}

/// What is sealed, so that one kind never stands for another.
const SEAL: u8 = 1;
const GUID: u8 = 2;
const MAC: u8 = 3;

const SEAL_LENGTH: usize = 16;
const CLAIM_LENGTH: usize = 28;

/// What a token says.
struct Claim {
    boot: u64,
    /// Seconds since 1970.
    until: u32,
    machine: Prints,
}

impl Claim {
    fn to_bytes(&self) -> [u8; CLAIM_LENGTH] {
        let none = [0; 8];
        let fields = [
            &self.boot.to_be_bytes()[..],
            &self.until.to_be_bytes(),
            &self.machine.guid.unwrap_or(none),
            &self.machine.mac.unwrap_or(none),
        ];
        let mut bytes = [0; CLAIM_LENGTH];
        for (slot, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *slot = *byte;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (boot, bytes) = bytes.split_first_chunk()?;
        let (until, bytes) = bytes.split_first_chunk()?;
        let (guid, bytes) = bytes.split_first_chunk()?;
        let mac = bytes.first_chunk()?;
        let present = |print: &[u8; 8]| (*print != [0; 8]).then_some(*print);
        Some(Self {
            boot: u64::from_be_bytes(*boot),
            until: u32::from_be_bytes(*until),
            machine: Prints {
                guid: present(guid),
                mac: present(mac),
            },
        })
    }
}

/// A machine's ids, sealed and cut.
#[derive(Clone, Copy, Debug)]
struct Prints {
    guid: Option<[u8; 8]>,
    mac: Option<[u8; 8]>,
}

impl Prints {
    fn is(&self, other: &Self) -> bool {
        match (self.guid, other.guid) {
            (Some(own), Some(other)) => own == other,
            _ => self.mac.is_some() && self.mac == other.mac,
        }
    }
}

fn first_eight(bytes: &[u8; 32]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bootstorm_proto::types::{MacAddress, MachineGuid};
    use proptest::prelude::*;

    use super::*;

    fn machine(guid: u8, mac: u8) -> Identity {
        Identity {
            guid: (guid > 0).then(|| MachineGuid::from_wire([guid; 16])),
            mac: (mac > 0).then(|| MacAddress::new([2, 0, 0, 0, 0, mac])),
            ..Identity::default()
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn tokens() -> Tokens {
        Tokens::new(&[7; 32])
    }

    #[test]
    fn twopxe_07_a_token_is_good_for_its_boot_and_machine_until_it_ends() {
        let tokens = tokens();
        let token = tokens.issue(BootId(42), &machine(1, 1), at(1000));
        assert_eq!(token.len(), 88);
        assert!(token.bytes().all(|b| b.is_ascii_hexdigit()));
        let check = |token, machine: &Identity, now| tokens.check(token, machine, at(now));
        let own = Some(token.as_str());
        assert_eq!(check(own, &machine(1, 1), 1000), Ok(BootId(42)));
        assert_eq!(
            check(own, &machine(1, 1), 1003),
            Err(TokenError::Expired {
                ago: Duration::from_secs(3)
            })
        );
        assert_eq!(check(None, &machine(1, 1), 0), Err(TokenError::Missing));
        assert_eq!(check(Some(""), &machine(1, 1), 0), Err(TokenError::Missing));
        // The GUID decides where both have one, the MAC where one has none.
        assert_eq!(check(own, &machine(1, 2), 0), Ok(BootId(42)));
        assert_eq!(check(own, &machine(0, 1), 0), Ok(BootId(42)));
        for other in [machine(2, 1), machine(2, 2), machine(0, 2), machine(0, 0)] {
            assert_eq!(check(own, &other, 0), Err(TokenError::Foreign));
        }
        let nameless = tokens.issue(BootId(1), &machine(0, 0), at(1000));
        assert_eq!(
            check(Some(&nameless), &machine(0, 0), 0),
            Err(TokenError::Foreign)
        );
    }

    #[test]
    fn twopxe_07_a_token_of_another_secret_is_none() {
        let foreign = Tokens::new(&[8; 32]).issue(BootId(42), &machine(1, 1), at(1000));
        let checked = tokens().check(Some(&foreign), &machine(1, 1), at(0));
        assert_eq!(checked, Err(TokenError::Damaged));
        assert_eq!(format!("{:?}", tokens()), "Tokens");
    }

    #[test]
    fn every_code_is_documented() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/reasons.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let listed: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|code| code.starts_with("token."))
            .collect();
        let ago = Duration::ZERO;
        let mut codes = [
            TokenError::Missing,
            TokenError::Expired { ago },
            TokenError::Foreign,
            TokenError::Damaged,
        ]
        .map(|error| error.code());
        codes.sort_unstable();
        assert_eq!(codes[..], listed);
    }

    #[test]
    fn neither_id_of_a_machine_stands_in_its_token() {
        let token = tokens().issue(BootId(42), &machine(0xab, 0xcd), at(1000));
        assert!(!token.contains("abababab") && !token.contains("0200000000cd"));
    }

    proptest! {
        #[test]
        fn twopxe_07_any_change_damages_a_token(boot: u64, place in 0..88_usize, digit in 0..16_u32) {
            let token = tokens().issue(BootId(boot), &machine(1, 1), at(1000));
            prop_assert_eq!(tokens().check(Some(&token), &machine(1, 1), at(1)), Ok(BootId(boot)));
            let mut changed: Vec<char> = token.chars().collect();
            changed[place] = char::from_digit(digit, 16).unwrap();
            let changed: String = changed.into_iter().collect();
            prop_assume!(changed != token);
            let checked = tokens().check(Some(&changed), &machine(1, 1), at(1));
            prop_assert_eq!(checked, Err(TokenError::Damaged));
        }

        #[test]
        fn no_text_is_taken_for_a_token(text in "\\PC{0,200}|[0-9a-f]{88}") {
            let checked = tokens().check(Some(&text), &machine(1, 1), at(1));
            prop_assert!(matches!(checked, Err(TokenError::Damaged | TokenError::Missing)));
        }
    }
}
