//! A file's bytes: counted, hashed and thrown away; only scripts and the like are kept.

pub(crate) mod copies;
mod original;
#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest as _, Sha256};
use twox_hash::xxhash3_128::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

use copies::{Content, Seat, Standing};
use original::Original;
pub(crate) use original::Told;

use super::event::{Event, File};
use super::io::World;
use super::plan::{Plan, Verify};
use super::query::without_values;
use crate::finding::Finding;

/// A script that is longer is none.
pub(crate) const SCRIPT_MAX: usize = 256 * 1024;

/// Bytes that are kept of what should be a script and is none: enough to say what it is.
const GLIMPSE: usize = 256;

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing.
    Discard,
    /// All, if it has no more bytes than this.
    Text(usize),
    /// All, if it is a script of iPXE's; else its first bytes.
    Script,
}

/// A file on its way.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: u64,
    hashes: Option<Box<Hashes>>,
    keep: Keep,
    text: Vec<u8>,
}

/// What is computed of its bytes.
struct Hashes {
    xxh3: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    sha256: Option<(Sha256, Seat)>,
}

/// A file that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Its length.
    pub(crate) bytes: u64,
    /// Its XXH3, where hashes were asked for.
    pub(crate) xxh3: Option<u128>,
    /// Its SHA-256, where it was for this machine to compute.
    pub(crate) sha256: Option<[u8; 32]>,
    /// What was to be kept; nothing where that was too long.
    pub(crate) text: Option<Vec<u8>>,
}

impl Body {
    /// An empty file from this URL, of which the server says this.
    pub(crate) fn new(keep: Keep, url: &str, told: Option<&Told>, plan: &Plan) -> Self {
        let hashes = (plan.verify == Verify::Sha256).then(|| {
            let seat = if keep == Keep::Discard && !url.contains('?') {
                plan.copies.seat(&Original::of(url, told, plan))
            } else {
                // It is small, and this machine's own.
                Some(Seat::default())
            };
            Box::new(Hashes::new(seat))
        });
        Self {
            hashes,
            ..Self::unhashed(keep)
        }
    }

    /// An empty one that nobody compares with anything.
    pub(crate) const fn unhashed(keep: Keep) -> Self {
        Self {
            bytes: 0,
            hashes: None,
            keep,
            text: Vec::new(),
        }
    }

    /// Its next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(hashes) = &mut self.hashes {
            hashes.push(bytes);
        }
        let max = match self.keep {
            Keep::Discard => return,
            Keep::Text(max) => max,
            Keep::Script if begins_as_script(&self.text, bytes) => SCRIPT_MAX,
            Keep::Script => GLIMPSE,
        };
        // One byte more than allowed tells at the end that there was more.
        let room = (max + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Bytes that came.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// That was all.
    pub(crate) fn finish(self) -> Fetched {
        let Self {
            bytes,
            hashes,
            keep,
            mut text,
        } = self;
        let text = match keep {
            Keep::Discard => None,
            Keep::Text(max) => (text.len() <= max).then_some(text),
            Keep::Script if is_script(&text) => (text.len() <= SCRIPT_MAX).then_some(text),
            Keep::Script => {
                text.truncate(GLIMPSE);
                Some(text)
            }
        };
        let xxh3 = hashes.as_ref().map(|hashes| hashes.xxh3.finish_128());
        let sha256 = hashes.and_then(|hashes| hashes.sha256);
        Fetched {
            bytes,
            xxh3,
            sha256: sha256.map(|(digest, _)| digest.finalize().into()),
            text,
        }
    }
}

impl Hashes {
    fn new(seat: Option<Seat>) -> Self {
        Self {
            xxh3: RawHasher::new(SecretBuffer::default()),
            sha256: seat.map(|seat| (Sha256::new(), seat)),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.xxh3.write(bytes);
        if let Some((digest, _)) = &mut self.sha256 {
            digest.update(bytes);
        }
    }
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sha256 = self.sha256.is_some();
        f.debug_struct("Hashes")
            .field("sha256", &sha256)
            .finish_non_exhaustive()
    }
}

impl Fetched {
    /// Compares the file with what is known of it, and books it; so it does with copies of other
    /// machines that waited for this one.
    ///
    /// # Errors
    /// [`Code::BodyWrongSha256`](crate::finding::Code::BodyWrongSha256), where the server or the
    /// scenario has given another SHA-256.
    pub(crate) fn book(
        &self,
        url: &str,
        told: Option<&Told>,
        world: &mut World<'_>,
    ) -> Result<(), Finding> {
        let file = Original::of(url, told, world.plan);
        // What is kept, and what a query asks for, is made for one machine: nobody else's is to
        // have the same bytes, and the query is the machine's secret.
        let is_everybodys = self.text.is_none() && !url.contains('?');
        let xxh3 = self.xxh3.filter(|_| is_everybodys);
        let content = Content {
            bytes: self.bytes,
            xxh3: self.xxh3.unwrap_or_default(),
        };
        let standing = if xxh3.is_some() {
            self.compared(&file, content, world)
        } else {
            Standing::of(self.sha256, None)
        };
        let verified = file.judge(content, standing)?;
        world.book(Event::Fetched(File {
            name: without_values(&file.name),
            bytes: self.bytes,
            xxh3,
            sha256: standing.sha256().filter(|_| is_everybodys),
            verified,
        }));
        Ok(())
    }

    /// Compares it with other machines' copies.
    fn compared(&self, file: &Original, content: Content, world: &mut World<'_>) -> Standing {
        let (machine, copies) = (world.identity.index, &world.plan.copies);
        let (standing, settled) = copies.add(file, machine, content, self.sha256);
        for other in settled {
            match file.judge(other.content, other.standing) {
                Ok(true) => world.book_of(other.machine, Event::Verified),
                Ok(false) => {}
                Err(finding) => world.book_of(other.machine, Event::Deviation(finding)),
            }
        }
        standing
    }
}

/// What iPXE takes for a script.
pub(crate) fn is_script(text: &[u8]) -> bool {
    MAGICS.iter().any(|magic| {
        let rest = text.strip_prefix(*magic);
        rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
    })
}

const MAGICS: [&[u8]; 2] = [b"#!ipxe", b"#!gpxe"];

/// Whether these bytes, behind those, can still become a script.
fn begins_as_script(before: &[u8], bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| {
        let both = before.iter().chain(bytes);
        both.zip(*magic).all(|(is, wanted)| is == wanted)
    })
}
