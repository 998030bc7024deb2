//! Versions of files that could not be taken, and when to try again.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bootstorm_catalog::Problem;

use crate::Size;
use crate::copy::CopyError;
use crate::limits::MAX_BACKOFF;
use crate::scan::{Found, Stamp};
use crate::settle::Notice;

/// A version of a file that could not be taken.
pub(crate) struct Failure {
    pub(crate) stamp: Stamp,
    pub(crate) problem: Problem,
    /// When to try again.
    pub(crate) retry: Instant,
    source: PathBuf,
    wait: Duration,
}

impl Failure {
    /// Waits a second at first, and twice as long as `last` when that was of the same kind.
    pub(crate) fn new(problem: Problem, found: &Found, last: Option<&Self>) -> Self {
        let again = last.filter(|last| last.problem.code == problem.code);
        let wait = again.map_or(Duration::from_secs(1), |last| {
            (last.wait * 2).min(MAX_BACKOFF)
        });
        Self {
            stamp: found.stamp,
            problem,
            retry: Instant::now() + wait,
            source: found.source.clone(),
            wait,
        }
    }

    /// Tries again at once when something happened to the file.
    pub(crate) fn hurry(&mut self, notices: &HashMap<PathBuf, Notice>) {
        if notices.contains_key(&self.source) {
            self.retry = Instant::now();
        }
    }
}

/// Code and words for people.
pub(crate) fn explain(e: &CopyError, size: u64) -> (&'static str, String) {
    let full = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    };
    match e {
        CopyError::Write(e) if full(e) => (
            "ingest.disk-full",
            format!(
                "no room for {} in the data folder ({e}); what was served stays, and it is tried \
                 again every 30 s",
                Size(size)
            ),
        ),
        CopyError::Write(e) => (
            "ingest.write-failed",
            format!("the copy cannot be written: {e}"),
        ),
        CopyError::Read(e) => ("ingest.unreadable", format!("cannot be read: {e}")),
        CopyError::Changed | CopyError::Stopped => ("ingest.changing", "it changes".to_owned()),
    }
}
