//! Copies images in, hashes them and publishes the catalog.
//!
//! One thread walks the images folder, copies what is new into `DATA/blobs/<sha256>`, and
//! publishes a [`Snapshot`] whenever something changed. Another keeps in memory what machines
//! fetch: [`Pins`].
#![forbid(unsafe_code)]

mod blobs;
mod copy;
mod failure;
mod index;
mod limits;
mod pins;
mod run;
mod scan;
mod settle;
mod shelf;
mod source;
mod unpack;
mod watch;

pub use pins::{Budget, Pinned, Pins, Room};

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bootstorm_catalog::{Catalog, File, Mapping, Problem, Snapshot};

/// What to ingest and where to keep it.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The images folder; made when it is missing.
    pub images: PathBuf,
    /// The data folder: copies go to `blobs/`, the index to `index.json`.
    pub data: PathBuf,
    /// Files and folders outside the images folder that are served too, unless the images folder
    /// holds a file of the same name.
    pub fallbacks: Vec<Fallback>,
}

/// A file or a folder that fills a gap in the images folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Where it appears: a folder such as `boot`, or a file such as `boot/shimx64.efi`.
    pub path: String,
    /// What appears there; nothing happens while it does not exist.
    pub source: PathBuf,
}

impl IngestConfig {
    /// The defaults: with the boot programs that Debian's packages bring.
    pub fn new(images: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self {
            images: images.into(),
            data: data.into(),
            fallbacks: Fallback::debian(),
        }
    }
}

impl Fallback {
    /// Where Debian keeps iPXE, the signed shim and the signed GRUB.
    #[must_use]
    pub fn debian() -> Vec<Self> {
        [
            ("boot", "/usr/lib/ipxe"),
            ("boot/shimx64.efi", "/usr/lib/shim/shimx64.efi.signed"),
            (
                "boot/grubx64.efi",
                "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
            ),
            ("boot/shimaa64.efi", "/usr/lib/shim/shimaa64.efi.signed"),
            (
                "boot/grubaa64.efi",
                "/usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed",
            ),
        ]
        .into_iter()
        .map(|(path, source)| Self {
            path: path.into(),
            source: source.into(),
        })
        .collect()
    }
}

/// What the ingest has to say while it works. `Display` gives the line for the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Report {
    /// The images folder was missing and was made.
    FolderMade(PathBuf),
    /// io_uring cannot be had; plain file calls do the work.
    PlainFiles(String),
    /// The system cannot tell about changes; the folder is looked through every few seconds.
    Blind(String),
    /// One file was copied in.
    Copied {
        /// Path below the images folder.
        path: String,
        /// Length.
        bytes: u64,
        /// How long copying and hashing took.
        took: Duration,
        /// The file system shares the blocks: nothing was written.
        shared: bool,
    },
    /// What machines boot an image by was taken out of it.
    Unpacked {
        /// Path of the .wim file below the images folder.
        path: String,
        /// How many files there were.
        files: usize,
    },
    /// A file is not served any more.
    Gone {
        /// Path below the images folder.
        path: String,
    },
    /// Something is wrong with a file, an entry or the disk.
    Trouble(Problem),
    /// A snapshot was published.
    Published {
        /// Files in it.
        files: usize,
        /// Entries in it.
        entries: usize,
    },
}

/// Why the ingest cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The images folder is missing and cannot be made.
    #[error(
        "cannot make the images folder {path}: {source}; make it by hand or name another with --images"
    )]
    Images {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The images folder is no folder.
    #[error("{0} is not a folder; name the folder that holds the images with --images")]
    NotAFolder(PathBuf),
    /// The data folder cannot be written to.
    #[error(
        "cannot write to the data folder {path}: {source}; give it to the user that runs bootstorm, or name another with --data"
    )]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server works in the data folder.
    #[error("another bootstorm works in {0}; stop it, or name another folder with --data")]
    InUse(PathBuf),
    /// Keys and tokens in the data folder would be served to everybody.
    #[error(
        "{0} cannot be both the images folder and the data folder, nor may the images folder lie in the copies"
    )]
    SameFolder(PathBuf),
    /// No thread could be started.
    #[error("cannot start the ingest thread: {0}")]
    Thread(#[source] io::Error),
}

impl IngestError {
    /// Stable code, see docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Images { .. } | Self::NotAFolder(_) => "ingest.images-folder",
            Self::Data { .. } => "ingest.data-folder",
            Self::InUse(_) => "ingest.data-in-use",
            Self::SameFolder(_) => "ingest.same-folder",
            Self::Thread(_) => "ingest.no-thread",
        }
    }
}

/// The running ingest. Dropping it stops the thread.
#[derive(Debug)]
pub struct Ingest {
    control: Arc<watch::Control>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ingest {
    /// Starts the thread. `report` is called on it for everything that is worth a line.
    ///
    /// # Errors
    /// [`IngestError`]; later trouble comes through `report` and the snapshot's problems instead.
    pub fn start(
        config: IngestConfig,
        catalog: Arc<Catalog>,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Result<Self, IngestError> {
        let control = Arc::new(watch::Control::default());
        let worker = run::Worker::new(config, catalog, Arc::clone(&control), Box::new(report))?;
        let thread = std::thread::Builder::new()
            .name("ingest".into())
            .spawn(move || worker.run())
            .map_err(IngestError::Thread)?;
        Ok(Self {
            control,
            thread: Some(thread),
        })
    }

    /// Waits until what the last run has left is published, which takes some milliseconds: nothing
    /// is copied before that. `false`: it was not within `limit`, as with a folder on a server that
    /// does not answer.
    pub fn recalled(&self, limit: Duration) -> bool {
        self.control.wait_published(limit)
    }

    /// Waits until everything that was in the folder at the start is published. `false`: the
    /// ingest was stopped before that.
    pub fn first_pass(&self) -> bool {
        self.control.wait_first_pass()
    }

    /// The first full pass is published; does not wait.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.control.is_ready()
    }

    /// Looks through the folder now instead of waiting for the next change.
    pub fn rescan(&self) {
        self.control.rescan();
    }
}

/// What the last run of a server on this data folder served, read without touching anything; empty
/// when there was none.
#[must_use]
pub fn last_served(data: &Path) -> Snapshot {
    let index = index::read(data);
    let folder = data.join("blobs");
    let files = index.files.into_iter().filter_map(|(path, row)| {
        let content = Mapping::open(&folder.join(&row.sha256)).ok()?;
        Some(Arc::new(File {
            path: path.into(),
            content,
            sha256: blobs::unhex(&row.sha256)?,
            modified: row.stamp.modified()?,
        }))
    });
    let mut files: Vec<Arc<File>> = files.collect();
    let mut unpacked = unpack::Unpacked::new(index.taken);
    let left = shelf::Left {
        folder: folder.clone(),
    };
    unpacked.renew(&files, &left, &mut |_, _| {});
    files.extend_from_slice(unpacked.files());
    Snapshot::build(files, &BTreeSet::new()).with_problems(unpacked.problems().iter().cloned())
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Report {
    /// Writes it to the log, at the level that fits.
    pub fn log(&self) {
        match self {
            Self::Trouble(problem) => tracing::warn!(code = problem.code, "{self}"),
            Self::PlainFiles(_) | Self::Blind(_) => tracing::warn!("{self}"),
            Self::FolderMade(_)
            | Self::Copied { .. }
            | Self::Unpacked { .. }
            | Self::Gone { .. }
            | Self::Published { .. } => {
                tracing::info!("{self}");
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FolderMade(path) => write!(f, "made the images folder {}", path.display()),
            Self::PlainFiles(why) => {
                write!(
                    f,
                    "io_uring cannot be had ({why}): images are copied by plain file calls"
                )
            }
            Self::Blind(why) => write!(
                f,
                "the system cannot tell about changes in the images folder ({why}): it is looked \
                 through every 5 s"
            ),
            Self::Copied {
                path,
                bytes,
                took,
                shared,
            } => {
                let verb = if *shared { "shared" } else { "copied" };
                write!(
                    f,
                    "{verb} {path:?} {} in {:.1} s",
                    Size(*bytes),
                    took.as_secs_f64()
                )
            }
            Self::Unpacked { path, files } => {
                write!(f, "took {files} files to boot by out of {path:?}")
            }
            Self::Gone { path } => write!(f, "{path:?} is gone and not served any more"),
            Self::Trouble(problem) => problem.fmt(f),
            Self::Published { files, entries } => {
                write!(f, "serving {files} files, {entries} entries")
            }
        }
    }
}

/// A number of bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n < 1 << 10 => write!(f, "{n} B"),
            n if n < 1 << 20 => write!(f, "{} KiB", n >> 10),
            n if n < 10 << 30 => write!(f, "{} MiB", n >> 20),
            n => write!(f, "{} GiB", n >> 30),
        }
    }
}
