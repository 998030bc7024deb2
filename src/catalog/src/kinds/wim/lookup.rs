//! The lookup table: where the content of each digest lies, and the folder trees of the images.

use sha1::{Digest, Sha1};

use super::WimError;
use super::header::{Header, LOOKUP_ENTRY, Resource, u16_at};
use super::resource;

/// Longest table that is read: five million contents.
const MAX_TABLE: u64 = 256 << 20;

/// What names a content: its SHA-1. All zero for an empty one.
pub(super) type Sha1Digest = [u8; 20];

#[derive(Debug)]
pub(super) struct Lookup {
    /// Sorted by digest.
    contents: Vec<Content>,
    /// The trees, in the order of the images.
    metadata: Vec<Content>,
}

/// Where one content lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) sha1: Sha1Digest,
    pub(super) resource: Resource,
    pub(super) part: u16,
}

impl Lookup {
    pub(super) fn read(file: &[u8], header: &Header) -> Result<Self, WimError> {
        let table = resource::read(file, header, &header.lookup, "lookup table", MAX_TABLE)?;
        let entry = LOOKUP_ENTRY as usize;
        if !table.len().is_multiple_of(entry) {
            return Err(WimError::BadLookup("its length"));
        }
        let (metadata, mut contents): (Vec<_>, Vec<_>) = table
            .chunks_exact(entry)
            .map(|entry| Content {
                resource: Resource::at(entry, 0),
                part: u16_at(entry, 24),
                sha1: std::array::from_fn(|i| entry[30 + i]),
            })
            .partition(|content| content.resource.is_metadata());
        // Stable: of two that claim the same digest the first one counts.
        contents.sort_by_key(|content| content.sha1);
        Ok(Self { contents, metadata })
    }

    pub(super) fn find(&self, sha1: &Sha1Digest) -> Option<&Content> {
        let at = self
            .contents
            .partition_point(|content| content.sha1 < *sha1);
        self.contents
            .get(at)
            .filter(|content| content.sha1 == *sha1)
    }

    /// The tree of the image with this number, from 1.
    pub(super) fn metadata(&self, index: u32) -> Option<&Content> {
        self.metadata
            .get(usize::try_from(index).ok()?.checked_sub(1)?)
    }

    pub(super) fn trees(&self) -> usize {
        self.metadata.len()
    }
}

/// The digest is that of these bytes.
pub(super) fn is_digest_of(sha1: &Sha1Digest, bytes: &[u8]) -> bool {
    <[u8; 20]>::from(Sha1::digest(bytes)) == *sha1
}
