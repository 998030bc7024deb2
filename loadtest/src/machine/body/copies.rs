//! What the machines of a storm know of each other's copies of a file: a few compute its SHA-256,
//! the others only whether they have the same bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::original::Original;

/// Machines that compute the SHA-256 of a file at a time: one that breaks off costs nothing then.
const REFERENCES: usize = 2;
/// Files that are kept apart; the SHA-256 of more is computed by every machine.
pub(super) const FILES_MAX: usize = 1_024;
/// Contents of one file that are kept apart, and as many more whose SHA-256 is known; copies with
/// others stay unverified.
pub(super) const CONTENTS_MAX: usize = 8;
/// Copies with one content that wait for its SHA-256; more stay unverified.
const WAITING_MAX: usize = 1 << 16;

/// The copies of all machines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies(Arc<Mutex<HashMap<Original, Known>>>);

/// Leave to compute the SHA-256 of a copy, until it is dropped.
pub(crate) type Seat = Arc<()>;

/// What tells copies with other bytes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Their length.
    pub(crate) bytes: u64,
    /// Their XXH3, of 128 bits.
    pub(crate) xxh3: u128,
}

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing, so far.
    Unknown,
    /// Its SHA-256: its own, or that of a copy with the same bytes.
    Hashed([u8; 32]),
    /// It is not what it should be: a copy with other bytes has the SHA-256 that was given.
    Other(Content, [u8; 32]),
}

/// A copy of which something is known that was not when it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Whose it is.
    pub(crate) machine: u32,
    /// What it is.
    pub(crate) content: Content,
    /// What is known.
    pub(crate) standing: Standing,
}

/// A copy that has the SHA-256 that was given, and that.
type Right = (Content, [u8; 32]);

/// What is known of one file.
#[derive(Debug, Default)]
struct Known {
    seat: Seat,
    contents: Vec<Held>,
}

/// Copies with the same bytes.
#[derive(Debug)]
struct Held {
    content: Content,
    sha256: Option<[u8; 32]>,
    /// Machines whose copies nothing is known of.
    waiting: Vec<u32>,
}

impl Copies {
    /// Leave to compute the SHA-256 of a copy that begins to come, if it is needed.
    pub(crate) fn seat(&self, file: &Original) -> Option<Seat> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= FILES_MAX && !files.contains_key(file) {
            return Some(Seat::default());
        }
        let known = files.entry(file.clone()).or_default();
        let taken = Arc::strong_count(&known.seat) - 1;
        (taken < REFERENCES && !known.suffices(file)).then(|| Arc::clone(&known.seat))
    }

    /// Adds a machine's copy, which may have its own SHA-256: what is known of it, and of others
    /// that waited for that.
    pub(crate) fn add(
        &self,
        file: &Original,
        machine: u32,
        content: Content,
        sha256: Option<[u8; 32]>,
    ) -> (Standing, Vec<Settled>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = files.len() >= FILES_MAX;
        let known = match files.entry(file.clone()) {
            Entry::Vacant(_) if full => return (Standing::of(sha256, None), Vec::new()),
            entry => entry.or_default(),
        };
        let Some(place) = known.place(content, sha256.is_some()) else {
            return (Standing::of(sha256, known.right(file)), Vec::new());
        };
        let held = &mut known.contents[place];
        held.sha256 = held.sha256.or(sha256);
        let right = known.right(file);
        let settled = known.settle(right);
        let held = &mut known.contents[place];
        let standing = Standing::of(held.sha256, right);
        if standing == Standing::Unknown && file.is_told() && held.waiting.len() < WAITING_MAX {
            held.waiting.push(machine);
        }
        (standing, settled)
    }
}

impl Known {
    /// No copy's SHA-256 would tell more.
    fn suffices(&self, file: &Original) -> bool {
        let hashed = self.contents.iter().any(|held| held.sha256.is_some());
        hashed && (!file.is_certain() || self.right(file).is_some())
    }

    fn right(&self, file: &Original) -> Option<Right> {
        self.contents.iter().find_map(|held| {
            let sha256 = held.sha256.filter(|sha256| file.is(sha256) == Ok(true))?;
            Some((held.content, sha256))
        })
    }

    fn place(&mut self, content: Content, hashed: bool) -> Option<usize> {
        let same = |held: &Held| held.content == content;
        if let Some(place) = self.contents.iter().position(same) {
            return Some(place);
        }
        let place = self.contents.len();
        let room = if hashed {
            2 * CONTENTS_MAX
        } else {
            CONTENTS_MAX
        };
        (place < room).then(|| {
            self.contents.push(Held {
                content,
                sha256: None,
                waiting: Vec::new(),
            });
            place
        })
    }

    /// Takes out the copies that need not wait.
    fn settle(&mut self, right: Option<Right>) -> Vec<Settled> {
        let mut settled = Vec::new();
        for held in &mut self.contents {
            let (content, standing) = (held.content, Standing::of(held.sha256, right));
            if standing == Standing::Unknown {
                continue;
            }
            let waiting = std::mem::take(&mut held.waiting);
            settled.extend(waiting.into_iter().map(|machine| Settled {
                machine,
                content,
                standing,
            }));
        }
        settled
    }
}

impl Standing {
    /// Of a copy with this SHA-256, where it is known, beside one that is right, where there is one.
    pub(super) const fn of(sha256: Option<[u8; 32]>, right: Option<Right>) -> Self {
        match (sha256, right) {
            (Some(sha256), _) => Self::Hashed(sha256),
            (None, Some((content, sha256))) => Self::Other(content, sha256),
            (None, None) => Self::Unknown,
        }
    }

    /// The copy's SHA-256, where it is known.
    pub(crate) const fn sha256(self) -> Option<[u8; 32]> {
        match self {
            Self::Hashed(sha256) => Some(sha256),
            Self::Unknown | Self::Other(..) => None,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, xxh3 } = self;
        write!(f, "{bytes} bytes, the XXH3-128 {xxh3:032x}")
    }
}
