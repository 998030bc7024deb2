//! Where small copies that are made in memory are put.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bootstorm_catalog::Mapping;
use sha2::{Digest, Sha256};

use crate::blobs::{Blobs, hex, unhex};
use crate::index::Copy;
use crate::watch::Control;

/// Keeps copies.
pub(crate) trait Shelf {
    /// Keeps this content.
    fn keep(&self, content: &[u8]) -> io::Result<Copy>;

    /// The copy is there as it was written.
    fn has(&self, copy: &Copy) -> bool;

    /// Maps the copy with this digest.
    fn map(&self, sha256: &[u8; 32]) -> io::Result<Mapping>;
}

/// The copies of a server that runs.
pub(crate) struct Running<'a> {
    pub(crate) blobs: &'a Blobs,
    pub(crate) control: &'a Control,
}

impl Shelf for Running<'_> {
    fn keep(&self, content: &[u8]) -> io::Result<Copy> {
        let mut copy = unwritten(content);
        let sha256 = Sha256::digest(content).into();
        if !self.control.is_mapped(&self.blobs.path(&sha256)) {
            let half = self.blobs.begin()?;
            half.file.write_all_at(content, 0)?;
            self.blobs.commit(half, &sha256)?;
        }
        copy.copied_ns = self.blobs.written(&sha256, copy.size).unwrap_or_default();
        Ok(copy)
    }

    fn has(&self, copy: &Copy) -> bool {
        let written = unhex(&copy.sha256).and_then(|sha| self.blobs.written(&sha, copy.size));
        written == Some(copy.copied_ns)
    }

    fn map(&self, sha256: &[u8; 32]) -> io::Result<Mapping> {
        self.control.map(&self.blobs.path(sha256))
    }
}

/// The copies that the last server left: nothing is written.
pub(crate) struct Left {
    /// The folder of the copies.
    pub(crate) folder: PathBuf,
}

impl Shelf for Left {
    fn keep(&self, content: &[u8]) -> io::Result<Copy> {
        Ok(unwritten(content))
    }

    fn has(&self, _: &Copy) -> bool {
        true
    }

    fn map(&self, sha256: &[u8; 32]) -> io::Result<Mapping> {
        Mapping::open(&self.folder.join(hex(sha256)))
    }
}

fn unwritten(content: &[u8]) -> Copy {
    Copy {
        size: content.len() as u64,
        sha256: hex(&Sha256::digest(content).into()),
        copied_ns: 0,
    }
}
