//! What is noted goes into a file first and from there into the database, so that nothing is lost
//! while the database is away, nor when the server is killed.
//!
//! A line is one note as JSON. Lines are delivered in order; a crash between a delivery and the
//! cutting of the file delivers them again, which notes nothing twice.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Note, Store, StoreError};

/// How long the file gets. Beyond it the older half goes, and is counted.
pub const SPOOL_MAX: u64 = 64 * 1024 * 1024;

/// Notes of one transaction; so many stay within the time limit also over a slow network.
const BATCH: usize = 200;

/// The longest line; what is longer is not kept.
const LINE_MAX: usize = 64 * 1024;

/// A file of notes that the database has not taken yet.
#[derive(Debug)]
pub struct Spool {
    lines: Mutex<Lines>,
    /// One delivery at a time.
    delivering: tokio::sync::Mutex<()>,
    dropped: AtomicU64,
}

/// The spool's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "spool.unusable: {} cannot be used: {source}; the folder must belong to the user that runs the \
     server",
    path.display()
)]
pub struct SpoolError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl SpoolError {
    /// Stable code, listed in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "spool.unusable"
    }
}

impl Spool {
    /// Opens the file, makes it if it is missing, and cuts off a line that was not finished.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        Self::open_with(path, SPOOL_MAX)
    }

    pub(crate) fn open_with(path: &Path, most: u64) -> Result<Self, SpoolError> {
        let lines = Lines::open(path, most).map_err(|source| SpoolError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            lines: Mutex::new(lines),
            delivering: tokio::sync::Mutex::new(()),
            dropped: AtomicU64::new(0),
        })
    }

    /// Takes notes. When it returns, a kill of the server loses none of them; a power cut loses
    /// those since the last delivery, also one that failed. What the disk does not take is dropped
    /// and counted; `false`: it was some of these.
    pub fn put(&self, notes: &[Note]) -> bool {
        let mut bytes = Vec::new();
        let mut count = 0;
        let mut is_kept = true;
        for note in notes {
            match serde_json::to_vec(note) {
                Ok(line) if line.len() < LINE_MAX => {
                    bytes.extend(line);
                    bytes.push(b'\n');
                    count += 1;
                }
                _ => {
                    is_kept = false;
                    self.drop_notes(1, "longer than a line may be");
                }
            }
        }
        match self.lines().append(&bytes) {
            Ok(0) => {}
            Ok(dropped) => self.drop_notes(dropped, "older than there is room for"),
            Err(error) => {
                is_kept = false;
                tracing::error!(code = "spool.full", "notes are lost: {error}");
                self.drop_notes(count, "refused by the disk");
            }
        }
        is_kept
    }

    /// Delivers what there is. Gives the numbers of the machines of which a snapshot holds something
    /// else now.
    ///
    /// # Errors
    /// [`StoreError`]; what is not delivered is kept, and safe from a power cut.
    pub async fn deliver(&self, store: &Store) -> Result<BTreeSet<i64>, StoreError> {
        let _turn = self.delivering.lock().await;
        let mut changed = BTreeSet::new();
        loop {
            let Some(batch) = self.lines().batch() else {
                return Ok(changed);
            };
            if batch.damaged > 0 {
                self.drop_notes(batch.damaged, "damaged");
            }
            match self.record(store, &batch.notes).await {
                Ok(more) => changed.extend(more),
                Err(error) => {
                    let _ = self.sync().await;
                    return Err(error);
                }
            }
            self.lines().deliver(batch.end);
        }
    }

    /// Makes what was put safe from a power cut. `false`: the disk does not take it.
    pub async fn sync(&self) -> bool {
        let file = match self.lines().unsynced() {
            Ok(Some(file)) => file,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        if let Ok(Err(error)) = &synced {
            tracing::error!(code = "spool.full", "notes are not safe: {error}");
        }
        matches!(synced, Ok(Ok(())))
    }

    /// Bytes that wait to be delivered.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let lines = self.lines();
        lines.end - lines.delivered
    }

    /// How many notes were dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A note that the database refuses for what it says is dropped, so that it holds up no other.
    async fn record(&self, store: &Store, notes: &[Note]) -> Result<BTreeSet<i64>, StoreError> {
        match store.record(notes).await {
            Err(error) if error.is_of_data() => {}
            done => return done,
        }
        let mut changed = BTreeSet::new();
        for note in notes {
            match store.record([note]).await {
                Ok(more) => changed.extend(more),
                Err(error) if error.is_of_data() => {
                    tracing::error!(code = error.code(), "a note is refused: {error}");
                    self.drop_notes(1, "refused by the database");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }

    /// Counts notes that somebody gave up before they came here.
    pub fn give_up(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    fn drop_notes(&self, count: u64, why: &str) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(code = "spool.dropped", count, "notes are dropped: {why}");
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file. Places in it are counted from the first byte that was ever written, so that they stay
/// what they are when the beginning of the file is cut off.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
    most: u64,
    /// The place of the file's first byte.
    start: u64,
    /// The place up to which everything is delivered.
    delivered: u64,
    /// The place behind the last line.
    end: u64,
    is_synced: bool,
}

/// Lines to deliver together.
struct Batch {
    notes: Vec<Note>,
    /// How many lines between them cannot be read.
    damaged: u64,
    /// The place behind them.
    end: u64,
}

impl Lines {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = private(path)?;
        let end = behind_last_line(&file)?;
        file.set_len(end)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            most,
            start: 0,
            delivered: 0,
            end,
            is_synced: true,
        })
    }

    /// Gives how many older lines had to go.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let added = bytes.len() as u64;
        let mut dropped = 0;
        if self.end - self.start + added > self.most {
            dropped = self.shorten()?;
        }
        let at = self.end - self.start;
        if let Err(error) = self.file.write_all_at(bytes, at) {
            // Half a line would spoil the next one.
            self.file.set_len(at)?;
            return Err(error);
        }
        self.end += added;
        self.is_synced = false;
        Ok(dropped)
    }

    /// The next lines that are not delivered, if there are any that can be read.
    fn batch(&self) -> Option<Batch> {
        if self.delivered == self.end {
            return None;
        }
        let mut lines = self.reader(self.delivered).ok()?;
        let mut batch = Batch {
            notes: Vec::new(),
            damaged: 0,
            end: self.delivered,
        };
        let mut line = Vec::new();
        while batch.notes.len() < BATCH && batch.end < self.end {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(length) => batch.end += length as u64,
            }
            match serde_json::from_slice(&line) {
                Ok(note) => batch.notes.push(note),
                Err(_) => batch.damaged += 1,
            }
        }
        (batch.end > self.delivered).then_some(batch)
    }

    /// Everything up to a place is delivered; when that is all there is, the file is emptied.
    fn deliver(&mut self, end: u64) {
        self.delivered = self.delivered.max(end);
        if self.delivered == self.end && self.file.set_len(0).is_ok() {
            self.start = self.end;
        }
    }

    /// Cuts off what is delivered and as much more as makes the file half as long as it may be.
    fn shorten(&mut self) -> io::Result<u64> {
        let half = self.end.saturating_sub(self.most / 2);
        let mut lines = self.reader(self.delivered)?;
        let (mut start, mut dropped) = (self.delivered, 0);
        let mut line = Vec::new();
        while start < half {
            line.clear();
            match lines.read_until(b'\n', &mut line)? {
                0 => break,
                length => start += length as u64,
            }
            dropped += 1;
        }
        let path = self.path.with_extension("new");
        let _ = fs::remove_file(&path);
        let mut file = private(&path)?;
        io::copy(&mut lines.take(self.end - start), &mut file)?;
        file.sync_data()?;
        fs::rename(&path, &self.path)?;
        self.file = file;
        self.start = start;
        self.delivered = start;
        Ok(dropped)
    }

    fn reader(&self, place: u64) -> io::Result<BufReader<File>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(place - self.start))?;
        Ok(BufReader::new(file))
    }

    fn unsynced(&mut self) -> io::Result<Option<File>> {
        if self.is_synced {
            return Ok(None);
        }
        self.is_synced = true;
        self.file.try_clone().map(Some)
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The length of the file up to and with its last line end.
fn behind_last_line(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let length = end.min(block.len() as u64);
        let part = &mut block[..usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(part, end - length)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(end - length + at as u64 + 1);
        }
        end -= length;
    }
    Ok(0)
}
