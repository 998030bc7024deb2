//! Copies and hashes one file: through io_uring, or plainly where that is forbidden.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, ioctl_ficlone};
use sha2::{Digest, Sha256};
use tokio_uring::buf::BoundedBuf;

use crate::limits::CHUNK;

/// Copies files, one at a time.
pub(crate) struct Copier {
    ring: Option<tokio_uring::Runtime>,
}

/// What copying gave.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) sha256: [u8; 32],
    /// The file system shares the blocks of source and copy.
    pub(crate) shared: bool,
}

/// Why a file was not copied.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// It is shorter than it was.
    Changed,
    /// The server stops.
    Stopped,
    /// The source failed.
    Read(io::Error),
    /// The copy failed.
    Write(io::Error),
}

impl Copier {
    /// A copier on io_uring; `Err` holds one that works without, and why.
    pub(crate) fn new() -> Result<Self, (Self, io::Error)> {
        match tokio_uring::Runtime::new(tokio_uring::builder().entries(8)) {
            Ok(ring) => Ok(Self { ring: Some(ring) }),
            Err(e) => Err((Self::plain(), e)),
        }
    }

    /// A copier on plain file calls.
    pub(crate) fn plain() -> Self {
        Self { ring: None }
    }

    /// Copies `len` bytes of `source` into the empty `target`. `stop` is asked between chunks.
    pub(crate) fn copy(
        &self,
        source: File,
        target: File,
        len: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Copied, CopyError> {
        let shared = ioctl_ficlone(&target, &source).is_ok();
        if !shared {
            reserve(&target, len)?;
            // Only a hint: the copy is right without it.
            let _ = fadvise(&source, 0, None, Advice::Sequential);
        }
        let (from, to) = if shared {
            (target, None)
        } else {
            (source, Some(target))
        };
        let sha256 = match &self.ring {
            Some(ring) => {
                let from = tokio_uring::fs::File::from_std(from);
                let to = to.map(tokio_uring::fs::File::from_std);
                ring.block_on(by_ring(from, to, len, stop))?
            }
            None => plainly(&from, to.as_ref(), len, stop)?,
        };
        Ok(Copied { sha256, shared })
    }
}

/// Claims the room now, so that a full disk shows before gigabytes were written.
fn reserve(target: &File, len: u64) -> Result<(), CopyError> {
    match fallocate(target, FallocateFlags::empty(), 0, len) {
        Err(
            e @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG),
        ) => Err(CopyError::Write(e.into())),
        // Not every file system can; an empty file cannot either.
        _ => Ok(()),
    }
}

fn plainly(
    from: &File,
    to: Option<&File>,
    len: u64,
    stop: &dyn Fn() -> bool,
) -> Result<[u8; 32], CopyError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < len {
        if stop() {
            return Err(CopyError::Stopped);
        }
        let wanted = chunk_len(len - at);
        let read = match from.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(CopyError::Changed),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(CopyError::Read(e)),
        };
        hash.update(&buffer[..read]);
        if let Some(to) = to {
            to.write_all_at(&buffer[..read], at)
                .map_err(CopyError::Write)?;
        }
        at += read as u64;
    }
    Ok(hash.finalize().into())
}

async fn by_ring(
    from: tokio_uring::fs::File,
    to: Option<tokio_uring::fs::File>,
    len: u64,
    stop: &dyn Fn() -> bool,
) -> Result<[u8; 32], CopyError> {
    let from = Rc::new(from);
    let mut hash = Sha256::new();
    let mut ahead = (len > 0).then(|| read_ahead(&from, Vec::new(), 0, len));
    let mut spare = Vec::new();
    let mut at = 0;
    let mut result = Ok(());
    while let Some(reading) = ahead.take() {
        let mut chunk = match reading.await {
            Ok(_) if stop() => {
                result = Err(CopyError::Stopped);
                break;
            }
            Ok(chunk) => chunk,
            Err(e) => {
                result = Err(e);
                break;
            }
        };
        let next = at + chunk.len() as u64;
        if next < len {
            ahead = Some(read_ahead(&from, std::mem::take(&mut spare), next, len));
        }
        if let Some(to) = &to {
            let (written, buffer) = to.write_all_at(chunk, at).await;
            chunk = buffer;
            if let Err(e) = written {
                result = Err(CopyError::Write(e));
                break;
            }
        }
        hash.update(&chunk);
        spare = chunk;
        at = next;
    }
    close(from, to, ahead).await;
    result.map(|()| hash.finalize().into())
}

/// Closes at once: a file that is dropped inside the ring stays open, and keeps its room on a full
/// disk, until the ring runs again.
async fn close<T>(
    from: Rc<tokio_uring::fs::File>,
    to: Option<tokio_uring::fs::File>,
    ahead: Option<impl Future<Output = T>>,
) {
    if let Some(reading) = ahead {
        reading.await;
    }
    if let Ok(from) = Rc::try_unwrap(from)
        && let Err(e) = from.close().await
    {
        tracing::debug!(error = %e, "closing an image");
    }
    if let Some(to) = to
        && let Err(e) = to.close().await
    {
        tracing::debug!(error = %e, "closing a copy");
    }
}

/// Begins to read the chunk at `at`, so that it overlaps with writing the one before.
fn read_ahead(
    from: &Rc<tokio_uring::fs::File>,
    mut buffer: Vec<u8>,
    at: u64,
    len: u64,
) -> impl Future<Output = Result<Vec<u8>, CopyError>> + use<> {
    let from = Rc::clone(from);
    let reading = tokio_uring::spawn(async move {
        buffer.clear();
        buffer.reserve_exact(CHUNK);
        let (result, slice) = from.read_at(buffer.slice(..chunk_len(len - at)), at).await;
        match result {
            Ok(0) => Err(CopyError::Changed),
            Ok(_) => Ok(slice.into_inner()),
            Err(e) => Err(CopyError::Read(e)),
        }
    });
    async move {
        reading
            .await
            .map_err(|e| CopyError::Read(io::Error::other(e)))?
    }
}

fn chunk_len(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    fn copiers() -> Vec<Copier> {
        let ring = Copier::new().unwrap_or_else(|(plain, why)| {
            eprintln!("no io_uring here ({why}): only plain calls are tested");
            plain
        });
        vec![ring, Copier::plain()]
    }

    fn temporary() -> File {
        tempfile::tempfile().unwrap()
    }

    fn holding(content: &[u8]) -> File {
        let file = temporary();
        file.write_all_at(content, 0).unwrap();
        file
    }

    #[test]
    fn both_ways_copy_every_length_exactly_and_hash_it() {
        let all: Vec<u8> = (0..3 * CHUNK + 5).map(|n| (n % 253) as u8).collect();
        for copier in copiers() {
            for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
                let target = temporary();
                let copied = copier
                    .copy(
                        holding(&all[..len]),
                        target.try_clone().unwrap(),
                        len as u64,
                        &|| false,
                    )
                    .unwrap();
                let expected: [u8; 32] = Sha256::digest(&all[..len]).into();
                assert_eq!(copied.sha256, expected, "{len}");
                assert_eq!(target.metadata().unwrap().len(), len as u64);
                let mut content = vec![0; len];
                target.read_exact_at(&mut content, 0).unwrap();
                assert!(content == all[..len], "{len}");
            }
        }
    }

    #[test]
    fn a_source_that_became_shorter_is_noticed() {
        for copier in copiers() {
            let result = copier.copy(holding(&[1; 100]), temporary(), 200, &|| false);
            assert!(matches!(result, Err(CopyError::Changed)), "{result:?}");
        }
    }

    #[test]
    fn a_full_disk_is_a_write_error_and_leaves_no_file_open() {
        let links = || fs::read_dir("/proc/self/fd").unwrap().flatten();
        let is_full = |at: io::Result<std::path::PathBuf>| at.is_ok_and(|at| at.ends_with("full"));
        for copier in copiers() {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let result = copier.copy(
                holding(&vec![1; 3 * CHUNK]),
                full,
                3 * CHUNK as u64,
                &|| false,
            );
            let Err(CopyError::Write(e)) = result else {
                panic!("{result:?}")
            };
            assert_eq!(e.kind(), io::ErrorKind::StorageFull);
            assert!(
                !links().any(|link| is_full(fs::read_link(link.path()))),
                "it stays open"
            );
        }
    }

    #[test]
    fn a_stop_ends_a_copy_between_chunks() {
        for copier in copiers() {
            let result = copier.copy(
                holding(&vec![1; 2 * CHUNK]),
                temporary(),
                2 * CHUNK as u64,
                &|| true,
            );
            assert!(matches!(result, Err(CopyError::Stopped)), "{result:?}");
        }
    }
}
