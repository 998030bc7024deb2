//! An immutable view of everything that can be served.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::kinds::nbp::BootProgram;
use crate::path::Normal;
use crate::{Entry, EntryKind, Injected, Mapping, Problem, kinds};

/// The current snapshot, shared by all threads.
#[derive(Debug, Default)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    published: AtomicU64,
}

impl Catalog {
    /// The snapshot of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces the snapshot; transfers under way keep the files that they have.
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.published.fetch_add(1, Ordering::Release);
    }

    /// How often a snapshot was published: what was found in one holds while this stays the same.
    /// Read it before the snapshot.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
}

/// A file that can be served.
#[derive(Debug)]
pub struct File {
    /// Path below the images folder, as stored, with `/`.
    pub path: Arc<str>,
    /// Content.
    pub content: Mapping,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// When the original was last changed.
    pub modified: SystemTime,
}

impl File {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.content.len() as u64
    }

    /// No bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// `false` once the server's own copy was found to be tampered with: a transfer then ends with
    /// an error, since reading on would crash. Cheap enough to ask before each window.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.content.is_intact()
    }

    /// The strong entity tag: half of the digest in hexadecimal, in quotes.
    #[must_use]
    pub fn etag(&self) -> ETag {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'"'; 34];
        for (pair, byte) in text[1..33].chunks_exact_mut(2).zip(self.sha256) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        ETag(text)
    }
}

/// A quoted entity tag, RFC 9110 section 8.8.3, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ETag([u8; 34]);

impl Deref for ETag {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Files and entries at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    files: HashMap<Box<str>, Arc<File>>,
    /// Files that nobody gets by their path.
    secret: HashMap<Box<str>, Arc<File>>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

/// Why a path leads to no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// No such file: TFTP error 1, HTTP 404.
    NotFound,
    /// A path that leaves the folder or holds a NUL, a drive letter or a control character: TFTP
    /// error 2, HTTP 403.
    Forbidden,
}

const BOOT: &str = "boot/";

impl Snapshot {
    /// Makes a snapshot of files and of entries that are known already.
    ///
    /// Of files that differ only in case the first in byte order wins; the others are reported in
    /// [`Snapshot::problems`], as are files whose names no client can ask for.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = Arc<File>>, entries: Vec<Entry>) -> Self {
        let mut sorted: Vec<Arc<File>> = files.into_iter().collect();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        let mut snapshot = Self {
            entries,
            ..Self::default()
        };
        for file in sorted {
            snapshot.insert(file);
        }
        snapshot
    }

    /// Makes a snapshot and recognises the entries among the files. `pending` are the paths of
    /// files that are still being copied: entries that need one of them cannot be booted yet.
    #[must_use]
    pub fn build(files: impl IntoIterator<Item = Arc<File>>, pending: &BTreeSet<String>) -> Self {
        let mut snapshot = Self::new(files, Vec::new());
        let mut files: Vec<Arc<File>> = snapshot.files().cloned().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let (entries, problems) = kinds::detect(&files, pending);
        snapshot.entries = entries;
        snapshot.hide_secrets();
        snapshot.with_problems(problems)
    }

    /// What entries inject as secrets nobody gets by its path.
    fn hide_secrets(&mut self) {
        for entry in &self.entries {
            let EntryKind::Wim { inject, .. } = &entry.kind else {
                continue;
            };
            let secret = inject.iter().filter(|file| file.secret);
            for path in secret.filter_map(Injected::source) {
                if let Ok(normal) = Normal::new("", path)
                    && let Some((key, file)) = self.files.remove_entry(normal.after(0))
                {
                    self.secret.insert(key, file);
                }
            }
        }
    }

    /// Adds problems that were found elsewhere; keeps the list sorted and free of repetitions.
    #[must_use]
    pub fn with_problems(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        self.problems.extend(problems);
        self.problems.sort();
        self.problems.dedup();
        self
    }

    /// Finds a file below `/images/`, in any case, `\` read as `/`, `//` as `/`.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn file(&self, path: &str) -> Result<Arc<File>, LookupError> {
        let normal = Normal::new("", path)?;
        self.get(normal.after(0)).ok_or(LookupError::NotFound)
    }

    /// The same, files that entries inject as secrets as well: they are for the machines of these
    /// entries alone.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn source(&self, path: &str) -> Result<Arc<File>, LookupError> {
        let normal = Normal::new("", path)?;
        let secret = self.secret.get(normal.after(0)).cloned();
        secret
            .or_else(|| self.get(normal.after(0)))
            .ok_or(LookupError::NotFound)
    }

    /// Finds a file by a TFTP name: looks below `boot/` first, then in the whole folder.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn tftp_file(&self, name: &str) -> Result<Arc<File>, LookupError> {
        let normal = Normal::new(BOOT, name)?;
        self.get(normal.after(0))
            .or_else(|| self.get(normal.after(BOOT.len())))
            .ok_or(LookupError::NotFound)
    }

    /// What can be booted, in the order of the menu; hidden and unbootable entries too.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with this id, or else the one that stands for the file or folder of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        let by_id = self
            .entries
            .iter()
            .find(|e| e.id.eq_ignore_ascii_case(name));
        by_id.or_else(|| {
            let name = name.trim_matches('/');
            self.entries
                .iter()
                .find(|e| e.kind.main_file().eq_ignore_ascii_case(name))
        })
    }

    /// Every file, in no particular order.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
    }

    /// The boot programs in `boot/`, sorted by path.
    #[must_use]
    pub fn boot_programs(&self) -> Vec<BootProgram> {
        let mut programs: Vec<_> = self.files().filter_map(|f| BootProgram::of(f)).collect();
        programs.sort_by(|a, b| a.path.cmp(&b.path));
        programs
    }

    /// What is wrong in the images folder, sorted by path.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn get(&self, normal: &str) -> Option<Arc<File>> {
        self.files.get(normal).cloned()
    }

    fn insert(&mut self, file: Arc<File>) {
        let Ok(normal) = Normal::new("", &file.path) else {
            self.problems.push(Problem::new(
                &*file.path,
                "catalog.unreachable-name",
                "no client can ask for this name; take control characters, backslashes and drive letters out of it",
            ));
            return;
        };
        if let Some(first) = self.files.get(normal.after(0)) {
            let text = format!(
                "differs from {} only in case, and that file is served",
                first.path
            );
            self.problems
                .push(Problem::new(&*file.path, "catalog.same-name", text));
        } else {
            self.files.insert(normal.after(0).into(), file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn snapshot(paths: &[&str]) -> Snapshot {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &&str| {
            let blob = dir.path().join("blob");
            fs::write(&blob, path.as_bytes()).unwrap();
            let content = Mapping::open(&blob).unwrap();
            fs::remove_file(&blob).unwrap();
            Arc::new(File {
                path: (*path).into(),
                content,
                sha256: [0xab; 32],
                modified: SystemTime::UNIX_EPOCH,
            })
        };
        Snapshot::new(paths.iter().map(file), Vec::new())
    }

    fn found(result: Result<Arc<File>, LookupError>) -> String {
        result.map_or_else(|e| format!("{e:?}"), |file| file.path.to_string())
    }

    #[test]
    fn line_21_every_spelling_of_a_path_gives_the_same_file() {
        let snapshot = snapshot(&["boot/x64/WDSMGFW.efi", "Straße/Ä.bin"]);
        for name in [
            "\\Boot\\x64\\WDSMGFW.efi",
            "/boot//x64/wdsmgfw.EFI",
            "boot/x64/wdsmgfw.efi",
            "./boot/./x64/wdsmgfw.efi/",
            "\\\\boot\\/x64\\wdsmgfw.efi",
        ] {
            assert_eq!(found(snapshot.file(name)), "boot/x64/WDSMGFW.efi", "{name}");
            assert_eq!(
                found(snapshot.tftp_file(name)),
                "boot/x64/WDSMGFW.efi",
                "{name}"
            );
        }
        assert_eq!(
            found(snapshot.tftp_file("X64\\wdsmgfw.efi")),
            "boot/x64/WDSMGFW.efi"
        );
        assert_eq!(found(snapshot.file("straße/ä.BIN")), "Straße/Ä.bin");
    }

    #[test]
    fn line_21_paths_that_leave_the_folder_are_forbidden() {
        let snapshot = snapshot(&["a", "boot/a"]);
        for name in [
            "..",
            "../a",
            "a/..",
            "boot/../a",
            "..\\a",
            "\\..\\a",
            "/boot/..",
            "C:\\a",
            "c:/a",
            "/C:a",
            "a\0",
            "\0",
            "a\nb",
            "a\x7f",
            "b\u{85}",
        ] {
            assert_eq!(found(snapshot.file(name)), "Forbidden", "{name:?}");
            assert_eq!(found(snapshot.tftp_file(name)), "Forbidden", "{name:?}");
        }
        for name in [
            "",
            "/",
            "\\",
            ".",
            "b",
            "a/b",
            "...",
            "a..b",
            &"x".repeat(5000),
        ] {
            assert_eq!(found(snapshot.file(name)), "NotFound", "{name:?}");
            assert_eq!(found(snapshot.tftp_file(name)), "NotFound", "{name:?}");
        }
    }

    #[test]
    fn tftp_looks_into_boot_first() {
        let snapshot = snapshot(&["ipxe.efi", "boot/ipxe.efi", "boot.wim"]);
        assert_eq!(found(snapshot.tftp_file("ipxe.efi")), "boot/ipxe.efi");
        assert_eq!(found(snapshot.file("ipxe.efi")), "ipxe.efi");
        assert_eq!(found(snapshot.tftp_file("boot.wim")), "boot.wim");
    }

    #[test]
    fn of_two_files_that_differ_in_case_the_first_wins_and_the_other_is_named() {
        for order in [["a/File", "a/file"], ["a/file", "a/File"]] {
            let snapshot = snapshot(&order);
            assert_eq!(found(snapshot.file("A/FILE")), "a/File");
            let problem = &snapshot.problems()[0];
            assert_eq!(
                (problem.path.as_str(), problem.code),
                ("a/file", "catalog.same-name")
            );
        }
    }

    #[test]
    fn names_that_no_client_can_ask_for_are_reported() {
        let snapshot = snapshot(&["c:evil", "a\nb", "fine"]);
        assert_eq!(snapshot.files().count(), 1);
        assert_eq!(snapshot.problems().len(), 2);
        assert!(
            snapshot
                .problems()
                .iter()
                .all(|p| p.code == "catalog.unreachable-name")
        );
        assert!(!snapshot.problems()[0].to_string().contains('\n'));
    }

    #[test]
    fn etag_is_quoted_half_digest() {
        let file = snapshot(&["a"]).file("a").unwrap();
        assert_eq!(&*file.etag(), format!("\"{}\"", "ab".repeat(16)));
    }

    proptest! {
        #[test]
        fn no_spelling_ever_finds_what_is_not_there(
            name in "([/\\\\]|\\.{1,3}|[aAbB]|boot|C:|\\PC|\u{0}){0,12}",
        ) {
            let snapshot = snapshot(&["a/b", "boot/a", "Ab"]);
            for found in [snapshot.file(&name), snapshot.tftp_file(&name)] {
                let climbs = name.split(['/', '\\']).any(|part| part == "..");
                match found {
                    Ok(file) => {
                        prop_assert!(!climbs && !name.contains('\0'));
                        let last = name.to_lowercase().replace('\\', "/");
                        let last = last.trim_end_matches(['/', '.']).rsplit('/').next().unwrap_or("").to_owned();
                        prop_assert!(file.path.to_lowercase().ends_with(&last));
                    }
                    Err(e) => prop_assert!(!climbs || e == LookupError::Forbidden),
                }
            }
        }
    }
}
