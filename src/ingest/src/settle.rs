//! When a file is whole: nobody writes to it any more.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::limits::{QUIET, QUIET_OPEN};
use crate::scan::{Found, Stamp};

/// What was noticed about the files that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    seen: HashMap<PathBuf, (Stamp, Instant)>,
    notices: HashMap<PathBuf, Notice>,
    /// The file system tells about changes late or never.
    pub(crate) remote: bool,
}

/// The last thing that the system said about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// It was made, perhaps as a link to a file that is whole already, or got a new mode or owner.
    Made,
    /// Somebody wrote to it.
    Written,
    /// It was closed after writing, or moved here.
    Closed,
}

impl Settling {
    /// Takes what the watcher noticed.
    pub(crate) fn note(&mut self, notices: impl IntoIterator<Item = (PathBuf, Notice)>) {
        for (path, notice) in notices {
            let last = self.notices.entry(path).or_insert(notice);
            if notice != Notice::Made {
                *last = notice;
            }
        }
    }

    /// Nothing when the file can be taken, or else when to look again.
    pub(crate) fn wait(&mut self, found: &Found, now: Instant) -> Option<Instant> {
        let (stamp, since) = *self
            .seen
            .entry(found.source.clone())
            .or_insert((found.stamp, now));
        let since = if stamp == found.stamp {
            since
        } else {
            self.seen.insert(found.source.clone(), (found.stamp, now));
            now
        };
        let notice = self.notices.get(&found.source);
        if notice == Some(&Notice::Closed) {
            return None;
        }
        let quiet = if notice.is_some() || self.remote {
            QUIET_OPEN
        } else {
            QUIET
        };
        // A file that was complete long before it was seen need not be watched first.
        if notice != Some(&Notice::Written) && is_older(found.modified, 2 * quiet) {
            return None;
        }
        let due = since + quiet;
        (due > now).then_some(due)
    }

    /// Forgets every file that is not in `sources`.
    pub(crate) fn keep(&mut self, sources: &HashSet<&Path>) {
        self.seen.retain(|path, _| sources.contains(path.as_path()));
        self.notices
            .retain(|path, _| sources.contains(path.as_path()));
    }

    /// Forgets a file that was taken.
    pub(crate) fn taken(&mut self, source: &Path) {
        self.seen.remove(source);
        self.notices.remove(source);
    }
}

fn is_older(modified: SystemTime, age: Duration) -> bool {
    modified.elapsed().is_ok_and(|elapsed| elapsed >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(size: u64, modified: SystemTime) -> Found {
        let stamp = Stamp {
            size,
            mtime_ns: 0,
            inode: 1,
        };
        Found {
            source: "/i/a".into(),
            stamp,
            modified,
            fallback: false,
        }
    }

    fn old() -> SystemTime {
        SystemTime::now() - Duration::from_secs(3600)
    }

    #[test]
    fn an_old_file_is_taken_at_once_and_a_fresh_one_after_half_a_second_of_quiet() {
        let mut settling = Settling::default();
        let now = Instant::now();
        assert_eq!(settling.wait(&found(1, old()), now), None);
        let fresh = found(2, SystemTime::now() + Duration::from_secs(60));
        assert_eq!(settling.wait(&fresh, now), Some(now + QUIET));
        let grown = found(3, fresh.modified);
        let later = now + Duration::from_millis(400);
        assert_eq!(settling.wait(&grown, later), Some(later + QUIET));
        assert_eq!(settling.wait(&grown, later + QUIET), None);
    }

    #[test]
    fn a_file_that_somebody_still_writes_to_waits_for_its_end() {
        let mut settling = Settling::default();
        let now = Instant::now();
        settling.note([("/i/a".into(), Notice::Written)]);
        let file = found(1, old());
        assert_eq!(settling.wait(&file, now), Some(now + QUIET_OPEN));
        assert_eq!(settling.wait(&file, now + QUIET), Some(now + QUIET_OPEN));
        settling.note([("/i/a".into(), Notice::Closed)]);
        assert_eq!(settling.wait(&file, now + QUIET), None);
        settling.note([("/i/a".into(), Notice::Written)]);
        assert_eq!(settling.wait(&file, now + QUIET), Some(now + QUIET_OPEN));
        assert_eq!(settling.wait(&file, now + QUIET_OPEN), None);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut settling = Settling::default();
        settling.note([
            ("/i/a".into(), Notice::Written),
            ("/i/b".into(), Notice::Written),
        ]);
        settling.wait(&found(1, old()), Instant::now());
        settling.keep(&HashSet::from([Path::new("/i/b")]));
        assert!(settling.seen.is_empty());
        assert_eq!(settling.notices.len(), 1);
    }
}
