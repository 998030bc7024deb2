//! `DATA/index.json`: which version of which file has which digest, and what was taken out of
//! images, so that a restart reads nothing again.

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

/// A copy of something that was taken out of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    /// Length.
    pub(crate) size: u64,
    /// Digest, in hexadecimal.
    pub(crate) sha256: String,
    /// As in [`Row`].
    pub(crate) copied_ns: i64,
}

/// The copies by their names below the image, by digest of the .wim file and number of the image.
pub(crate) type Taken = BTreeMap<String, BTreeMap<String, Copy>>;

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) files: Rows,
    pub(crate) taken: Taken,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    files: Rows,
    #[serde(default)]
    taken: Taken,
}

const VERSION: u32 = 1;

/// Where the index is.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("index.json")
}

/// Reads the index; an index that is missing or cannot be read is empty, which costs time only.
pub(crate) fn read(data: &Path) -> Index {
    match try_read(&path(data)) {
        Ok(index) => index,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Index::default(),
        Err(e) => {
            tracing::warn!(error = %e, "the index of images cannot be read; all are hashed anew");
            Index::default()
        }
    }
}

/// Replaces the index in one step.
pub(crate) fn write(data: &Path, index: &Index) -> io::Result<()> {
    let wire = Wire {
        version: VERSION,
        files: index.files.clone(),
        taken: index.taken.clone(),
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

fn try_read(path: &Path) -> io::Result<Index> {
    if fs::metadata(path)?.len() > MAX_INDEX {
        return Err(io::Error::other("it has more than 64 MiB"));
    }
    let wire: Wire = serde_json::from_slice(&fs::read(path)?)?;
    if wire.version != VERSION {
        return Err(io::Error::other(format!("it has version {}", wire.version)));
    }
    Ok(Index {
        files: wire.files,
        taken: wire.taken,
    })
}
