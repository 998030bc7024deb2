//! Names of files that one machine alone is told.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use subtle::ConstantTimeEq as _;

use crate::{Identity, Tokens};

/// How long a name is good.
pub const VALID: Duration = Duration::from_secs(3600);

/// What such a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealedKind {
    /// Boot configuration data.
    Store,
    /// Variables for Configuration Manager.
    Variables,
}

/// A name such as `\SMSTemp\1763769600.{6F1A...}.boot.bcd`: when it ends, in seconds since 1970,
/// and a seal over that, the kind and the machine in the form of a GUID. The server keeps nothing of
/// it but its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedName {
    /// What it names.
    pub kind: SealedKind,
    until: u64,
    seal: [u8; SEAL],
}

const SEAL: usize = 16;

impl SealedKind {
    const ALL: [Self; 2] = [Self::Store, Self::Variables];

    const fn ending(self) -> &'static str {
        match self {
            Self::Store => ".boot.bcd",
            Self::Variables => ".boot.var",
        }
    }

    /// What is sealed first, so that one kind never stands for another; tokens use lower numbers.
    const fn number(self) -> u8 {
        match self {
            Self::Store => 16,
            Self::Variables => 17,
        }
    }
}

impl SealedName {
    /// Reads the last part of a path, in any case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut kinds = SealedKind::ALL.into_iter();
        let (kind, rest) = kinds.find_map(|kind| {
            let at = name.len().checked_sub(kind.ending().len())?;
            let (rest, ending) = name.split_at_checked(at)?;
            let fits = ending.eq_ignore_ascii_case(kind.ending());
            fits.then_some((kind, rest))
        })?;
        let (until, guid) = rest.split_once('.')?;
        let digits = until.bytes().all(|b| b.is_ascii_digit());
        let guid = guid.strip_prefix('{')?.strip_suffix('}')?;
        let mut plain = [0; 2 * SEAL];
        let mut groups = guid.split('-');
        let mut at = 0;
        for length in [8, 4, 4, 4, 12] {
            let group = groups.next().filter(|group| group.len() == length)?;
            plain
                .get_mut(at..at + length)?
                .copy_from_slice(group.as_bytes());
            at += length;
        }
        let mut seal = [0; SEAL];
        hex::decode_to_slice(plain, &mut seal).ok()?;
        (digits && groups.next().is_none()).then_some(())?;
        Some(Self {
            kind,
            until: until.parse().ok()?,
            seal,
        })
    }

    /// When it was told.
    #[must_use]
    pub fn told(&self) -> SystemTime {
        let until = Duration::from_secs(self.until);
        UNIX_EPOCH + until.saturating_sub(VALID)
    }
}

impl fmt::Display for SealedName {
    /// The path, as boot managers ask for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, last @ ..] = self.seal;
        let groups = [&[a, b, c, d][..], &[e, g], &[h, i], &last[..2], &last[2..]];
        let guid = groups.map(hex::encode_upper).join("-");
        let (until, ending) = (self.until, self.kind.ending());
        write!(f, "\\SMSTemp\\{until}.{{{guid}}}{ending}")
    }
}

impl Tokens {
    /// A name for a machine, good for an hour from `now` on. A machine is its MAC address or, where
    /// it has none, its GUID.
    #[must_use]
    pub fn name(&self, kind: SealedKind, machine: &Identity, now: SystemTime) -> SealedName {
        let until = (now + VALID).duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = until.as_secs();
        SealedName {
            kind,
            until,
            seal: self.sealed(kind, until, machine),
        }
    }

    /// Whether the name was told to this machine and is still good.
    #[must_use]
    pub fn is_named(&self, name: &SealedName, machine: &Identity, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // One second is what the name leaves out.
        let is_good = now <= name.until && name.until <= now + VALID.as_secs() + 1;
        let seal = self.sealed(name.kind, name.until, machine);
        bool::from(seal.ct_eq(&name.seal)) && is_good && !machine.is_unknown()
    }

    fn sealed(&self, kind: SealedKind, until: u64, machine: &Identity) -> [u8; SEAL] {
        let mut said = until.to_be_bytes().to_vec();
        match (machine.mac, machine.guid) {
            (Some(mac), _) => said.extend(mac.bytes()),
            (None, Some(guid)) => said.extend(guid.wire()),
            (None, None) => {}
        }
        let whole = self.seal(kind.number(), &said);
        whole.first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine(last: u8) -> Identity {
        Identity {
            mac: Some(bootstorm_proto::types::MacAddress::new([
                2, 0, 0, 0, 0, last,
            ])),
            ..Identity::default()
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_763_766_000 + seconds)
    }

    fn parsed(path: &str) -> Option<SealedName> {
        SealedName::parse(path.strip_prefix("\\SMSTemp\\")?)
    }

    #[test]
    fn wds_17_a_name_is_good_for_its_machine_and_an_hour() {
        let tokens = Tokens::new(&[7; 32]);
        let name = tokens.name(SealedKind::Store, &machine(1), at(0));
        let text = name.to_string();
        assert!(text.starts_with("\\SMSTemp\\1763769600.{") && text.ends_with("}.boot.bcd"));
        assert_eq!(parsed(&text), Some(name));
        assert_eq!(
            parsed(&text.to_lowercase().replace("smstemp", "SMSTemp")),
            Some(name)
        );
        assert_eq!(name.told(), at(0));
        for seconds in [0, 3600] {
            assert!(tokens.is_named(&name, &machine(1), at(seconds)));
        }
        assert!(!tokens.is_named(&name, &machine(1), at(3601)));
        assert!(!tokens.is_named(&name, &machine(2), at(1)));
        assert!(!tokens.is_named(&name, &Identity::default(), at(1)));
        assert!(!Tokens::new(&[8; 32]).is_named(&name, &machine(1), at(1)));
    }

    #[test]
    fn wds_17_nobody_guesses_or_stretches_a_name() {
        let tokens = Tokens::new(&[7; 32]);
        let name = tokens.name(SealedKind::Store, &machine(1), at(0));
        let others = [
            SealedName {
                until: name.until + 1,
                ..name
            },
            SealedName {
                until: u64::MAX,
                ..name
            },
            SealedName {
                kind: SealedKind::Variables,
                ..name
            },
            SealedName {
                seal: [0; SEAL],
                ..name
            },
        ];
        for other in others {
            assert!(!tokens.is_named(&other, &machine(1), at(1)), "{other}");
        }
        let nobody = Identity::default();
        let name = tokens.name(SealedKind::Store, &nobody, at(0));
        assert!(!tokens.is_named(&name, &nobody, at(1)));
    }

    #[test]
    fn a_guid_stands_for_a_machine_without_a_mac() {
        let tokens = Tokens::new(&[7; 32]);
        let machine = |byte| Identity {
            guid: Some(bootstorm_proto::types::MachineGuid::from_wire([byte; 16])),
            ..Identity::default()
        };
        let name = tokens.name(SealedKind::Variables, &machine(1), at(0));
        assert!(tokens.is_named(&name, &machine(1), at(1)));
        assert!(!tokens.is_named(&name, &machine(2), at(1)));
    }

    proptest! {
        #[test]
        fn no_text_stops_the_reader(text in "[0-9]{0,24}\\.\\{[0-9a-fA-F\u{e4}-]{0,40}\\}?\\.boot\\.(bcd|var|ini)") {
            if let Some(name) = SealedName::parse(&text) {
                prop_assert_eq!(parsed(&name.to_string()), Some(name));
            }
        }
    }
}
