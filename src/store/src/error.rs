//! What can go wrong with the database, and what to do about it.

use std::path::{Path, PathBuf};

/// The database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is no database or is damaged. It is never deleted or repaired unasked.
    #[error(
        "{} is not a sound database: {evidence}; stop the server, move the file (and its -wal and \
         -shm) away and restore a copy, or start without: machines are then found again, \
         assignments are not",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        evidence: String,
    },
    /// A later version of the server has written it.
    #[error(
        "{} was written by a later version (its schema has step {step}); run that version, or \
         restore the copy from before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first step that this version does not know.
        step: i64,
    },
    /// Somebody else holds it.
    #[error(
        "{} is locked by another process for longer than {seconds} s; is a second server running \
         on the same --data?",
        path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The file or its folder cannot be written.
    #[error(
        "{} cannot be opened for writing: {evidence}; the folder must exist and belong to the \
         user that runs the server",
        path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        evidence: String,
    },
    /// No space left.
    #[error("the disk that holds {} is full", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A text that is too long or holds control characters.
    #[error("`{text}` cannot be stored as {what}: {why}")]
    BadText {
        /// What it was to be.
        what: &'static str,
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Anything else.
    #[error("the database {} failed: {source}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Stable code, listed in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "store.corrupt",
            Self::Newer { .. } => "store.newer",
            Self::Locked { .. } => "store.locked",
            Self::Unwritable { .. } => "store.unwritable",
            Self::Full { .. } => "store.full",
            Self::BadText { .. } => "store.bad-text",
            Self::Failed { .. } => "store.failed",
        }
    }

    /// Sorts what SQLite says by its primary result code.
    pub(crate) fn of(path: &Path, waited: std::time::Duration, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        let evidence = source.to_string();
        match primary_code(&source) {
            Some(5 | 6) => Self::Locked {
                path,
                seconds: waited.as_secs(),
            },
            Some(3 | 8 | 14 | 23) => Self::Unwritable { path, evidence },
            Some(11 | 26) => Self::Corrupt { path, evidence },
            Some(13) => Self::Full { path },
            _ => Self::Failed { path, source },
        }
    }
}

/// The low byte of SQLite's extended result code (sqlite3.h: SQLITE_BUSY 5, LOCKED 6, PERM 3,
/// READONLY 8, CANTOPEN 14, AUTH 23, CORRUPT 11, NOTADB 26, FULL 13).
fn primary_code(error: &sqlx::Error) -> Option<u8> {
    let code = error.as_database_error()?.code()?;
    let code: u32 = code.parse().ok()?;
    u8::try_from(code & 0xff).ok()
}
