//! An immutable view of everything that can be served.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::path::Normal;
use crate::{Entry, Mapping, Problem};

/// The current snapshot, shared by all threads.
#[derive(Debug, Default)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
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

    /// The same for TFTP names: looks below `boot/` first, then in the whole folder.
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
