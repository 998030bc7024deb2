//! A file's bytes: counted, hashed and thrown away; only scripts and the like are kept.

use sha2::{Digest as _, Sha256};

use super::event::{Event, File};
use super::io::World;
use super::plan::Verify;
use crate::finding::{Code, Finding};

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
    digest: Option<Sha256>,
    keep: Keep,
    text: Vec<u8>,
}

/// A file that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Its length.
    pub(crate) bytes: u64,
    /// What it hashes to, where that was asked for.
    pub(crate) sha256: Option<[u8; 32]>,
    /// What was to be kept; nothing where that was too long.
    pub(crate) text: Option<Vec<u8>>,
}

/// What a server says of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Hexadecimal digits that the SHA-256 begins with.
    pub(crate) digits: String,
    /// They are known to be those of the SHA-256; else they may be anything's.
    pub(crate) certain: bool,
}

impl Body {
    /// An empty file.
    pub(crate) fn new(keep: Keep, verify: Verify) -> Self {
        Self {
            bytes: 0,
            digest: (verify == Verify::Sha256).then(Sha256::new),
            keep,
            text: Vec::new(),
        }
    }

    /// Its next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
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
            digest,
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
        Fetched {
            bytes,
            sha256: digest.map(|digest| digest.finalize().into()),
            text,
        }
    }
}

impl Fetched {
    /// Compares the file with what is known of it, and books it.
    ///
    /// # Errors
    /// [`Code::BodyWrongSha256`], where the server or the scenario has given another SHA-256.
    pub(crate) fn book(
        &self,
        name: &str,
        told: Option<&Told>,
        world: &mut World<'_>,
    ) -> Result<(), Finding> {
        let verified = self.verified(name, told, world)?;
        let (path, query) = name.split_once('?').unwrap_or((name, ""));
        // What is kept, and what a query asks for, is made for one machine: nobody else's is to
        // have the same bytes, and the query is the machine's secret.
        let is_everybodys = self.text.is_none() && query.is_empty();
        world.book(Event::Fetched(File {
            name: path.to_owned(),
            bytes: self.bytes,
            sha256: self.sha256.filter(|_| is_everybodys),
            verified,
        }));
        Ok(())
    }

    fn verified(
        &self,
        name: &str,
        told: Option<&Told>,
        world: &World<'_>,
    ) -> Result<bool, Finding> {
        let Some(sha256) = &self.sha256 else {
            return Ok(false);
        };
        let digits = hex::encode(sha256);
        let wrong = |who: &str, wanted: &str| {
            let evidence = format!(
                "{name}: {} bytes with the SHA-256 {digits}; {who} {wanted}",
                self.bytes
            );
            Finding::new(Code::BodyWrongSha256, evidence)
        };
        let path = name.split(['?', '#']).next().unwrap_or(name);
        let mut expected = world.plan.expected.iter();
        let expected = expected.find(|expected| path.ends_with(&expected.name));
        if let Some(expected) = expected
            && expected.sha256 != *sha256
        {
            let wanted = hex::encode(expected.sha256);
            return Err(wrong("the scenario says", &wanted));
        }
        let told_so = told.is_some_and(|told| digits.starts_with(&told.digits));
        match told {
            Some(told) if told.certain && !told_so => {
                Err(wrong("the server's ETag says", &told.digits))
            }
            _ => Ok(expected.is_some() || told_so),
        }
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
