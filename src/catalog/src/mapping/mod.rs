//! The only place that maps files into memory.

mod guard;
mod residency;

use std::fs::{File, Metadata};
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use memmap2::{Advice, Mmap, MmapMut};

use guard::Guard;
pub use residency::CHUNK;
use residency::Residency;

/// A whole file, read-only, in memory. Clones share the map.
#[derive(Clone, Debug)]
pub struct Mapping {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // Before the map: what is unmapped is no longer guarded.
    guard: Guard,
    // An empty file cannot be mapped.
    map: Option<Mmap>,
    file: Option<File>,
    origin: PathBuf,
    device: u64,
    inode: u64,
    written: (i64, i64),
    residency: Residency,
    uses: AtomicU64,
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
            // same, the guard turns a read past its end into zeros and condemns the mapping.
            Some(unsafe { Mmap::map(&file)? })
        };
        Ok(Self {
            shared: Arc::new(Shared {
                guard: Guard::new(map.as_deref().unwrap_or_default()),
                residency: Residency::new(meta.len()),
                uses: AtomicU64::new(0),
                map,
                file: (meta.len() >= OPEN).then_some(file),
                origin: path.to_owned(),
                device: meta.dev(),
                inode: meta.ino(),
                written: (meta.mtime(), meta.mtime_nsec()),
            }),
        })
    }

    /// Bytes that were made in memory, to be served as a file is. They have no copy on a disk.
    ///
    /// # Errors
    /// The system has no memory for them.
    pub fn of_bytes(bytes: &[u8]) -> io::Result<Self> {
        let map = if bytes.is_empty() {
            None
        } else {
            let mut map = MmapMut::map_anon(bytes.len())?;
            map.copy_from_slice(bytes);
            Some(map.make_read_only()?)
        };
        Ok(Self {
            shared: Arc::new(Shared {
                guard: Guard::new(map.as_deref().unwrap_or_default()),
                residency: Residency::new(bytes.len() as u64),
                uses: AtomicU64::new(0),
                map,
                file: None,
                origin: PathBuf::new(),
                device: 0,
                inode: 0,
                written: (0, 0),
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

    /// The copy has not changed below the map and can be read, as far as is known. Costs one
    /// relaxed load, so it can be asked before each window. Bytes that were read by this program
    /// itself, not by the kernel, are good only if this still holds afterwards.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.shared.guard.is_intact()
    }

    /// The copy cannot be read or is no longer what it was: nobody shall read it any more.
    pub fn condemn(&self) {
        self.shared.guard.condemn();
    }

    /// Looks at the copy on the disk and condemns the mapping, for good, when somebody wrote to
    /// it. Costs one `stat`. An unlinked or replaced copy is no harm: the map keeps the old one.
    pub fn verify(&self) -> bool {
        if let Ok(meta) = std::fs::metadata(&self.shared.origin)
            && self.is_of(&meta)
            && (meta.len() != self.len() as u64
                || (meta.mtime(), meta.mtime_nsec()) != self.shared.written)
        {
            self.condemn();
        }
        self.is_intact()
    }

    /// The first part of `range` that would have to be read from the disk, in whole chunks of
    /// [`CHUNK`] bytes but for the file's end. What was found in memory is not looked at again for
    /// a second: pages that were just used are the last that the kernel takes away.
    #[must_use]
    pub fn first_cold(&self, range: Range<u64>, now: Instant) -> Option<Range<u64>> {
        let map = self.shared.map.as_ref()?;
        self.shared.residency.first_cold(map, range, now)
    }

    /// Reads `range` from the disk; returns when it is in memory. [`Mapping::was_read_in`] takes
    /// the result.
    ///
    /// # Errors
    /// The disk failed, or the copy ends before the range does.
    pub fn read_in(&self, range: Range<u64>) -> io::Result<()> {
        self.with_part(range, |map, start, length| {
            match map.advise_range(Advice::PopulateRead, start, length) {
                // Linux before 5.14 has no populate; reading ahead is next best, and only a hint.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    map.advise_range(Advice::WillNeed, start, length)
                }
                other => other,
            }
        })
    }

    /// Takes note of how reading `range` in came out: it is in memory now, or the mapping is
    /// condemned because it cannot be read.
    pub fn was_read_in(&self, range: &Range<u64>, result: &io::Result<()>, now: Instant) {
        match result.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(libc::EFAULT | libc::EHWPOISON)) => self.condemn(),
            // Out of memory or interrupted: whoever sends reads it as far as it must be.
            _ => self.shared.residency.note(range, now),
        }
    }

    /// Locks `range` in memory, reading it first if need be.
    ///
    /// # Errors
    /// `PermissionDenied` or `OutOfMemory` where the limit of locked memory is reached.
    pub fn lock(&self, range: Range<u64>) -> io::Result<()> {
        self.with_part(range, |map, start, length| {
            // SAFETY: `start` and `length` were clamped to the map.
            let result = unsafe { libc::mlock(map.as_ptr().add(start).cast(), length) };
            match result {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }

    /// Everything was locked: no part is cold until [`Mapping::unlock`].
    pub fn set_pinned(&self) {
        self.shared.residency.set_pinned(true);
    }

    /// Everything is locked.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.shared.residency.is_pinned()
    }

    /// Lets the kernel take the pages away again.
    pub fn unlock(&self) {
        self.shared.residency.set_pinned(false);
        if let Some(map) = &self.shared.map {
            // Unlocking what is not locked does nothing.
            let _ = map.unlock();
        }
    }

    /// Counts a transfer of this file.
    pub fn count_use(&self) {
        self.shared.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Transfers so far.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.shared.uses.load(Ordering::Relaxed)
    }

    /// The copy itself, to be sent without a look at its bytes. Small files are not kept open:
    /// a library has more of them than a process may have open files.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.shared.file.as_ref().map(AsFd::as_fd)
    }

    /// The copy that is mapped; an empty path for bytes that were made in memory.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.shared.origin
    }

    fn with_part(
        &self,
        range: Range<u64>,
        act: impl FnOnce(&Mmap, usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(map) = &self.shared.map else {
            return Ok(());
        };
        let clamp = |at: u64| usize::try_from(at).map_or(map.len(), |at| at.min(map.len()));
        let (start, end) = (clamp(range.start), clamp(range.end));
        if start < end {
            act(map, start, end - start)
        } else {
            Ok(())
        }
    }

    fn is_of(&self, meta: &Metadata) -> bool {
        meta.dev() == self.shared.device && meta.ino() == self.shared.inode
    }
}

/// Bytes from which on a file is kept open.
const OPEN: u64 = 1 << 20;

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.shared.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

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
        assert!(mapping.read_in(0..3).is_ok());
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

    #[test]
    fn what_is_cold_is_told_in_chunks_and_read_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let length = 3 * CHUNK + 5;
        fs::write(&path, vec![7; length as usize]).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        let now = Instant::now();
        assert_eq!(mapping.first_cold(0..length, now), None, "just written");
        if !evict(&path) {
            return;
        }
        let half_trusted = now + Duration::from_millis(500);
        assert_eq!(mapping.first_cold(0..length, half_trusted), None);
        let later = now + Duration::from_secs(2);
        assert_eq!(mapping.first_cold(5..6, later), Some(0..CHUNK));
        let last = 3 * CHUNK..length;
        assert_eq!(
            mapping.first_cold(length - 1..u64::MAX, later),
            Some(last.clone())
        );
        assert_eq!(mapping.first_cold(length..u64::MAX, later), None);
        let read = mapping.read_in(last.clone());
        assert!(read.is_ok());
        mapping.was_read_in(&last, &read, later);
        assert_eq!(mapping.first_cold(last, later), None);
        // Locked, nothing is cold; the usual limit of locked memory is 8 MiB.
        if mapping.lock(0..length).is_ok() {
            mapping.set_pinned();
            assert_eq!(mapping.first_cold(0..length, later), None);
            mapping.unlock();
            assert!(!mapping.is_pinned());
        }
    }

    #[test]
    fn bytes_made_in_memory_are_read_like_a_file_and_never_condemned() {
        let bytes: Vec<u8> = (0..3 << 20).map(|n| (n / 7) as u8).collect();
        let mapping = Mapping::of_bytes(&bytes).unwrap();
        assert!(*mapping == *bytes && mapping.verify());
        assert_eq!(mapping.range(7..14), Some(&[1; 7][..]));
        assert_eq!(mapping.first_cold(0..u64::MAX, Instant::now()), None);
        assert!(mapping.read_in(0..bytes.len() as u64).is_ok());
        assert!(mapping.file().is_none());
        assert!(Mapping::of_bytes(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_range_that_cannot_be_read_in_condemns_the_mapping() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs::write(&path, vec![7; 100_000]).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(10)
            .unwrap();
        let read = mapping.read_in(0..100_000);
        mapping.was_read_in(&(0..100_000), &read, Instant::now());
        // Before Linux 5.14 nobody tells.
        assert!(read.is_ok() || !mapping.is_intact());
    }

    /// Takes a file's pages out of memory; `false` where the file system keeps everything there.
    fn evict(path: &Path) -> bool {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        // SAFETY: a plain call on our own descriptor.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        let fresh = Mapping::open(path).unwrap();
        let told = fresh.first_cold(0..1, Instant::now()).is_some();
        if !told {
            eprintln!("nothing can be taken out of memory here: only warm maps are tested");
        }
        told
    }
}
