//! The server's own copies: `DATA/blobs/<sha256>`, read-only, written once.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, syncfs};

use crate::limits::SYNC_ALONE;

/// The folder of copies, locked against a second server.
#[derive(Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
    halves: PathBuf,
    lock: File,
}

/// A copy that is being written. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Half {
    path: PathBuf,
    pub(crate) file: File,
}

impl Blobs {
    /// Makes the folder, locks it and removes what a crash left half-written.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        let folder = data.join("blobs");
        let halves = folder.join("tmp");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&halves)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        for half in fs::read_dir(&halves)? {
            fs::remove_file(half?.path())?;
        }
        Ok(Self {
            folder,
            halves,
            lock,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the copy with this digest is, or would be.
    pub(crate) fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.folder.join(hex(sha256))
    }

    /// A new, empty copy.
    pub(crate) fn begin(&self) -> io::Result<Half> {
        // The thread writes one at a time, and the folder is locked and was emptied.
        let path = self.halves.join("half");
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        Ok(Half { path, file })
    }

    /// Gives a whole copy its name, in the place of any copy that has it.
    ///
    /// A large copy is on the disk before it has its name. Small ones may come by the thousand, and
    /// are on the disk after [`Blobs::sync`]: until then the index must not know them.
    pub(crate) fn commit(&self, half: Half, sha256: &[u8; 32]) -> io::Result<()> {
        half.file.set_permissions(Permissions::from_mode(0o444))?;
        if half.file.metadata()?.len() >= SYNC_ALONE {
            half.file.sync_all()?;
        }
        fs::rename(&half.path, self.path(sha256))
    }

    /// Brings all copies to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(syncfs(File::open(&self.folder)?)?)
    }

    /// When the copy was written, for the index; `None` when it is not there in this length.
    pub(crate) fn written(&self, sha256: &[u8; 32], len: u64) -> Option<i64> {
        let meta = fs::metadata(self.path(sha256)).ok()?;
        (meta.len() == len).then(|| {
            meta.mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(meta.mtime_nsec())
        })
    }

    /// Removes the copies that nobody uses. Transfers under way keep what they have mapped.
    pub(crate) fn sweep(&self, used: &HashSet<[u8; 32]>) {
        for child in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = child.file_name();
            if let Some(sha256) = name.to_str().and_then(unhex)
                && !used.contains(&sha256)
                && let Err(e) = fs::remove_file(child.path())
            {
                tracing::warn!(copy = ?child.path(), error = %e, "cannot remove an unused copy");
            }
        }
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Closing is not enough: a process that was just forked off has the file open until it
        // runs its program.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // After a commit the name is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) fn hex(sha256: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    sha256
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

pub(crate) fn unhex(name: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = name
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    Some(std::array::from_fn(|i| {
        digits[2 * i] << 4 | digits[2 * i + 1]
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_copy_gets_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let half = blobs.begin().unwrap();
        half.file.write_all_at(b"abc", 0).unwrap();
        assert_eq!(blobs.written(&[1; 32], 3), None);
        blobs.commit(half, &[1; 32]).unwrap();
        assert!(blobs.written(&[1; 32], 3).is_some());
        assert_eq!(blobs.written(&[1; 32], 4), None);
        drop(blobs.begin().unwrap());
        assert_eq!(
            fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count(),
            0
        );
    }

    #[test]
    fn sweeping_removes_unused_copies_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        for n in [1, 2] {
            blobs.commit(blobs.begin().unwrap(), &[n; 32]).unwrap();
        }
        fs::write(blobs.folder().join("README"), "mine").unwrap();
        blobs.sweep(&HashSet::from([[1; 32]]));
        assert!(blobs.path(&[1; 32]).exists() && !blobs.path(&[2; 32]).exists());
        assert!(blobs.folder().join("README").exists() && blobs.folder().join("lock").exists());
    }

    #[test]
    fn digests_are_written_and_read_alike() {
        let digest: [u8; 32] = std::array::from_fn(|i| (i * 8) as u8);
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        for bad in [
            "",
            "00",
            &"g".repeat(64),
            &"0".repeat(65),
            "../../../etc/passwd",
        ] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
