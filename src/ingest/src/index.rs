//! `DATA/index.json`: which version of which file has which digest, so that a restart hashes
//! nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits::MAX_INDEX;
use crate::scan::Stamp;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// Digest, in hexadecimal.
    pub(crate) sha256: String,
    /// Modification time of the copy: another one means that somebody wrote to it.
    pub(crate) copied_ns: i64,
}

/// The rows by path below the images folder.
pub(crate) type Rows = BTreeMap<String, Row>;

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    files: Rows,
}

const VERSION: u32 = 1;

/// Where the index is.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("index.json")
}

/// Reads the index; an index that is missing or cannot be read is empty, which costs time only.
pub(crate) fn read(data: &Path) -> Rows {
    match try_read(&path(data)) {
        Ok(rows) => rows,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Rows::new(),
        Err(e) => {
            tracing::warn!(error = %e, "the index of images cannot be read; all are hashed anew");
            Rows::new()
        }
    }
}

/// Replaces the index in one step.
pub(crate) fn write(data: &Path, files: &Rows) -> io::Result<()> {
    let wire = Wire {
        version: VERSION,
        files: files.clone(),
    };
    let half = data.join("index.json.tmp");
    let written = (|| {
        let mut file = File::create(&half)?;
        file.write_all(&serde_json::to_vec_pretty(&wire)?)?;
        file.sync_all()?;
        fs::rename(&half, path(data))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&half);
    }
    written
}

fn try_read(path: &Path) -> io::Result<Rows> {
    if fs::metadata(path)?.len() > MAX_INDEX {
        return Err(io::Error::other("it has more than 64 MiB"));
    }
    let wire: Wire = serde_json::from_slice(&fs::read(path)?)?;
    if wire.version != VERSION {
        return Err(io::Error::other(format!("it has version {}", wire.version)));
    }
    Ok(wire.files)
}
