//! The integrity table: a SHA-1 of each 10 MiB from behind the header to the end of the lookup
//! table. The XML is not covered.

use sha1::{Digest, Sha1};

use super::WimError;
use super::header::{HEADER, Header, u32_at};

const FIXED: usize = 12;

/// The check sums that a file has of itself.
#[derive(Clone, Copy, Debug)]
pub struct Integrity<'a> {
    covered: &'a [u8],
    chunk: usize,
    sums: &'a [[u8; 20]],
}

impl<'a> Integrity<'a> {
    pub(super) fn read(file: &'a [u8], header: &Header) -> Result<Option<Self>, WimError> {
        let table = header.integrity.bytes(file, "integrity table")?;
        if table.is_empty() {
            return Ok(None);
        }
        let bad = || WimError::BadResource {
            what: "integrity table",
            offset: header.integrity.offset,
            why: "its numbers do not fit the file",
        };
        let (fixed, sums) = table.split_at_checked(FIXED).ok_or_else(bad)?;
        let end = header.lookup.offset.saturating_add(header.lookup.size);
        let end = usize::try_from(end).ok();
        let covered = end.and_then(|end| file.get(HEADER..end)).ok_or_else(bad)?;
        let chunk = u32_at(fixed, 8) as usize;
        let (sums, rest) = sums.as_chunks::<20>();
        let fits = u32_at(fixed, 0) as usize == table.len()
            && u32_at(fixed, 4) as usize == sums.len()
            && rest.is_empty()
            && chunk != 0
            && covered.len().div_ceil(chunk) == sums.len();
        if !fits {
            return Err(bad());
        }
        Ok(Some(Self {
            covered,
            chunk,
            sums,
        }))
    }

    /// How many parts of the file have a sum.
    #[must_use]
    pub const fn parts(&self) -> usize {
        self.sums.len()
    }

    /// Compares the sums; reads nearly the whole file.
    ///
    /// # Errors
    /// [`WimError::BadDigest`] for the first part that is not what it was.
    pub fn verify(&self) -> Result<(), WimError> {
        for (n, (part, sum)) in self.covered.chunks(self.chunk).zip(self.sums).enumerate() {
            if <[u8; 20]>::from(Sha1::digest(part)) != *sum {
                return Err(WimError::BadDigest {
                    what: "part of the file",
                    offset: (HEADER + n * self.chunk) as u64,
                });
            }
        }
        Ok(())
    }
}
