//! The only place that maps files into memory.

use std::fs::{File, Metadata};
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::{Advice, Mmap};

/// A whole file, read-only, in memory. Clones share the map.
#[derive(Clone, Debug)]
pub struct Mapping {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // An empty file cannot be mapped.
    map: Option<Mmap>,
    origin: PathBuf,
    device: u64,
    inode: u64,
    written: (i64, i64),
    intact: AtomicBool,
}

impl Mapping {
    /// Maps `path`, which must be a copy that only this server writes to.
    ///
    /// # Errors
    /// What opening or mapping the file answered.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let map = if meta.len() == 0 {
            None
        } else {
            // SAFETY: the file is a read-only, digest-named copy in the server's own data folder,
            // which is only ever unlinked or renamed over. Should somebody truncate it all the
            // same, the watcher condemns the mapping and nobody reads it any more.
            Some(unsafe { Mmap::map(&file)? })
        };
        Ok(Self {
            shared: Arc::new(Shared {
                map,
                origin: path.to_owned(),
                device: meta.dev(),
                inode: meta.ino(),
                written: (meta.mtime(), meta.mtime_nsec()),
                intact: AtomicBool::new(true),
            }),
        })
    }

    /// The bytes at `range`; `None` when they are not all there, or when the copy was tampered
    /// with and must not be read any more.
    #[must_use]
    pub fn range(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.is_intact().then(|| self.get(start..end)).flatten()
    }

    /// The copy has not changed below the map, as far as is known. Costs one relaxed load, so it
    /// can be asked before each window.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.shared.intact.load(Ordering::Relaxed)
    }

    /// Looks at the copy on the disk and condemns the mapping, for good, when somebody wrote to
    /// it. Costs one `stat`. An unlinked or replaced copy is no harm: the map keeps the old one.
    pub fn verify(&self) -> bool {
        if let Ok(meta) = std::fs::metadata(&self.shared.origin)
            && self.is_of(&meta)
            && (meta.len() != self.len() as u64
                || (meta.mtime(), meta.mtime_nsec()) != self.shared.written)
        {
            self.shared.intact.store(false, Ordering::Relaxed);
        }
        self.is_intact()
    }

    /// Reads all pages in, so that the first client does not wait for the disk.
    pub fn prefault(&self) {
        if let Some(map) = &self.shared.map
            && map.advise(Advice::PopulateRead).is_err()
        {
            // Linux before 5.14 has no populate; reading ahead is next best, and only a hint.
            let _ = map.advise(Advice::WillNeed);
        }
    }

    /// The copy that is mapped.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.shared.origin
    }

    fn is_of(&self, meta: &Metadata) -> bool {
        meta.dev() == self.shared.device && meta.ino() == self.shared.inode
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.shared.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn line_23_a_truncated_copy_is_condemned_before_anybody_reads_past_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs::write(&path, vec![7; 100_000]).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        assert!(mapping.verify());
        assert_eq!(mapping.range(99_990..100_000), Some(&[7; 10][..]));
        let shared = mapping.clone();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(10)
            .unwrap();
        assert!(!mapping.verify());
        assert!(!shared.is_intact());
        assert_eq!(shared.range(99_990..100_000), None);
    }

    #[test]
    fn a_replaced_or_removed_copy_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs::write(&path, "old").unwrap();
        let mapping = Mapping::open(&path).unwrap();
        fs::write(dir.path().join("new"), "longer").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(mapping.verify());
        fs::remove_file(&path).unwrap();
        assert!(mapping.verify());
        mapping.prefault();
        assert_eq!(&*mapping, b"old");
    }

    #[test]
    fn ranges_past_the_end_give_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs::write(&path, "abc").unwrap();
        let mapping = Mapping::open(&path).unwrap();
        assert_eq!(mapping.range(1..3), Some(&b"bc"[..]));
        assert_eq!(mapping.range(1..4), None);
        assert_eq!(mapping.range(u64::MAX - 1..u64::MAX), None);
        fs::write(&path, "").unwrap();
        assert!(Mapping::open(&path).unwrap().is_empty());
    }
}
