//! An immutable view of everything that can be served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::{Entry, Mapping};

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

/// Files and entries at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    files: HashMap<String, Arc<File>>,
    entries: Vec<Entry>,
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

impl Snapshot {
    /// Makes a snapshot.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = Arc<File>>, entries: Vec<Entry>) -> Self {
        let files = files
            .into_iter()
            .map(|f| (f.path.to_lowercase(), f))
            .collect();
        Self { files, entries }
    }

    /// Finds a file below `/images/`, in any case, `\` read as `/`, `//` as `/`.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn file(&self, path: &str) -> Result<Arc<File>, LookupError> {
        self.files
            .get(&path.to_lowercase())
            .cloned()
            .ok_or(LookupError::NotFound)
    }

    /// The same for TFTP names: looks below `boot/` first, then in the whole folder.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn tftp_file(&self, name: &str) -> Result<Arc<File>, LookupError> {
        self.file(&format!("boot/{name}"))
            .or_else(|_| self.file(name))
    }

    /// What can be booted, in the order of the menu.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every file, in no particular order.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
    }
}
