//! Which files were fetched, and whether everybody got the same.

use std::collections::HashMap;
use std::fmt;

use super::super::{Files, Named};
use crate::finding::{Code, Finding};
use crate::machine::event::File;

/// Names that are kept apart; more are only counted.
const NAMES_MAX: usize = 1_024;
/// The longest name that is kept, in bytes.
const NAME_MAX: usize = 300;
/// Files that a report names.
const LISTED: usize = 20;
/// Below this many bytes a file may be made for the machine that asks: a script, a store of
/// Windows' boot configuration.
const COMMON_MIN: u64 = 64 << 10;

/// The files that were fetched.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    total: Files,
    names: HashMap<Box<str>, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    count: u64,
    bytes: u64,
    first: Option<Copy>,
}

/// A copy that others are to be like.
#[derive(Clone, Copy, Debug)]
struct Copy {
    bytes: u64,
    xxh3: u128,
    sha256: Option<[u8; 32]>,
}

impl Ledger {
    /// Adds a file; a finding if another machine got something else by its name.
    pub(super) fn add(&mut self, file: File) -> Option<Finding> {
        self.total.count += 1;
        self.total.bytes += file.bytes;
        if file.verified {
            self.total.verified += 1;
        } else {
            self.total.unverified += 1;
        }
        let full = self.names.len() >= NAMES_MAX || file.name.len() > NAME_MAX;
        if full && !self.names.contains_key(file.name.as_str()) {
            return None;
        }
        let entry = self.names.entry(file.name.as_str().into()).or_default();
        entry.count += 1;
        entry.bytes += file.bytes;
        let copy = Copy {
            bytes: file.bytes,
            xxh3: file.xxh3?,
            sha256: file.sha256,
        };
        let first = entry.first.get_or_insert(copy);
        if first.is_like(&copy) {
            first.sha256 = first.sha256.or(copy.sha256);
            return None;
        }
        (file.bytes >= COMMON_MIN).then(|| {
            let evidence = match (first.sha256, copy.sha256) {
                (Some(before), Some(now)) => {
                    let [before, now] = [before, now].map(hex::encode);
                    let bytes = file.bytes;
                    format!("SHA-256 {before} at first, now {now} ({bytes} bytes)")
                }
                _ => format!("{first} at first, now {copy}"),
            };
            Finding::new(Code::BodyDiffers, format!("{}: {evidence}", file.name))
        })
    }

    /// A file that was added unverified is verified now.
    pub(super) const fn verified(&mut self) {
        self.total.verified += 1;
        self.total.unverified -= 1;
    }

    pub(super) fn close(self) -> Files {
        let named = self.names.into_iter().map(|(name, entry)| Named {
            name: name.into(),
            count: entry.count,
            bytes: entry.bytes,
            sha256: entry.first.and_then(|first| first.sha256).map(hex::encode),
        });
        let mut largest: Vec<Named> = named.collect();
        largest.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
        largest.truncate(LISTED);
        Files {
            largest,
            ..self.total
        }
    }
}

impl Copy {
    fn is_like(&self, other: &Self) -> bool {
        (self.bytes, self.xxh3) == (other.bytes, other.xxh3)
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            xxh3,
            sha256,
        } = self;
        write!(f, "XXH3-128 {xxh3:032x} ({bytes} bytes")?;
        match sha256 {
            Some(sha256) => write!(f, ", SHA-256 {})", hex::encode(sha256)),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, sha256: u8) -> File {
        File {
            name: name.to_owned(),
            bytes,
            xxh3: Some(sha256.into()),
            sha256: Some([sha256; 32]),
            verified: sha256 == 1,
        }
    }

    #[test]
    fn another_body_by_the_same_name_is_found() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.add(file("http://a/initrd", COMMON_MIN, 1)), None);
        assert_eq!(ledger.add(file("http://a/initrd", COMMON_MIN, 1)), None);
        let found = ledger.add(file("http://a/initrd", COMMON_MIN, 2)).unwrap();
        assert_eq!(found.code, Code::BodyDiffers);
        assert!(found.evidence.contains("http://a/initrd: SHA-256 0101"));
        let files = ledger.close();
        assert_eq!((files.count, files.verified, files.unverified), (3, 2, 1));
        assert_eq!(files.largest[0].count, 3);
    }

    #[test]
    fn copies_without_a_sha_256_are_compared_too() {
        let mut ledger = Ledger::default();
        let copy = |xxh3: u8| File {
            sha256: None,
            ..file("http://a/initrd", COMMON_MIN, xxh3)
        };
        assert_eq!(ledger.add(copy(1)), None);
        assert_eq!(ledger.add(file("http://a/initrd", COMMON_MIN, 1)), None);
        let found = ledger.add(copy(2)).unwrap();
        assert_eq!(found.code, Code::BodyDiffers);
        let [first, now] = ["01 (65536 bytes, SHA-256 0101", "02 (65536 bytes)"];
        assert!(found.evidence.contains(first) && found.evidence.ends_with(now));
        let files = ledger.close();
        assert_eq!(files.largest[0].sha256, Some(hex::encode([1; 32])));
    }

    #[test]
    fn what_was_booked_unverified_may_be_verified_later() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.add(file("http://a/initrd", COMMON_MIN, 2)), None);
        ledger.verified();
        let files = ledger.close();
        assert_eq!((files.count, files.verified, files.unverified), (1, 1, 0));
    }

    #[test]
    fn a_script_may_be_another_one_for_each_machine() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.add(file("http://a/boot", 900, 1)), None);
        assert_eq!(ledger.add(file("http://a/boot", 901, 2)), None);
    }

    #[test]
    fn names_without_end_take_no_room() {
        let mut ledger = Ledger::default();
        for number in 0..3 * NAMES_MAX {
            ledger.add(file(&format!("/{number}"), 10, 1));
        }
        ledger.add(file(&"x".repeat(NAME_MAX + 1), 10, 1));
        assert_eq!(ledger.names.len(), NAMES_MAX);
        let files = ledger.close();
        assert_eq!(files.count, 3 * NAMES_MAX as u64 + 1);
        assert_eq!(files.largest.len(), LISTED);
        assert_eq!(files.largest[0].name, "/0");
    }
}
