//! Which files were fetched, and whether everybody got the same.

use std::collections::HashMap;

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
        let sha256 = file.sha256?;
        let before = *entry.sha256.get_or_insert(sha256);
        (before != sha256 && file.bytes >= COMMON_MIN).then(|| {
            let [before, sha256] = [before, sha256].map(hex::encode);
            let evidence = format!(
                "{}: SHA-256 {before} at first, now {sha256} ({} bytes)",
                file.name, file.bytes
            );
            Finding::new(Code::BodyDiffers, evidence)
        })
    }

    pub(super) fn close(self) -> Files {
        let named = self.names.into_iter().map(|(name, entry)| Named {
            name: name.into(),
            count: entry.count,
            bytes: entry.bytes,
            sha256: entry.sha256.map(hex::encode),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, sha256: u8) -> File {
        File {
            name: name.to_owned(),
            bytes,
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
