//! Every bound of the ingest.

use std::time::Duration;

/// Most files in the catalog. Each is one memory map, and Linux allows 65530 of them by default.
pub(crate) const MAX_FILES: usize = 50_000;

/// Most files taken out of images, which are memory maps too.
pub(crate) const MAX_LOADERS: usize = 10_000;

/// Longest file that is taken out of an image: real ones have 4 MiB at most.
pub(crate) const MAX_LOADER: u64 = 32 << 20;

/// Most folders looked into; links inside the folder could otherwise multiply without end.
pub(crate) const MAX_FOLDERS: usize = 20_000;

/// Deepest folder.
pub(crate) const MAX_DEPTH: usize = 32;

/// Most problems kept at one moment.
pub(crate) const MAX_PROBLEMS: usize = 1_000;

/// Most paths remembered from change notices between two looks at the folder.
pub(crate) const MAX_NOTICES: usize = 50_000;

/// Longest index that is read.
pub(crate) const MAX_INDEX: u64 = 64 << 20;

/// Bytes per read and write.
pub(crate) const CHUNK: usize = 1 << 20;

/// Boot programs up to this size are kept in memory although nobody has asked for them yet.
pub(crate) const MAX_SMALL: u64 = 16 << 20;

/// How often is looked whether the catalog changed what is kept in memory.
pub(crate) const PIN_LOOK: Duration = Duration::from_secs(1);

/// How often what is kept is chosen anew although the catalog is the same.
pub(crate) const PIN_REVIEW: Duration = Duration::from_secs(10);

/// Half of an image's transfers are forgotten after this time.
pub(crate) const HEAT_HALVES: Duration = Duration::from_secs(3600);

/// An image with less of a transfer left is let go: a single one ten hours ago.
pub(crate) const COLD_HEAT: f64 = 1.0 / 1024.0;

/// A file that nobody is known to write to is taken when it has not changed for this long.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// The same for a file that was written to and not closed, and on network file systems, which
/// tell about changes late or never.
pub(crate) const QUIET_OPEN: Duration = Duration::from_secs(5);

/// The whole folder is looked through at least this often.
pub(crate) const RESCAN: Duration = Duration::from_secs(30);

/// The same where the system cannot tell about changes.
pub(crate) const RESCAN_BLIND: Duration = Duration::from_secs(5);

/// Least time between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Longest time before a file that failed is tried again.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The first pass is over after this long although some files still change.
pub(crate) const FIRST_PASS_PATIENCE: Duration = Duration::from_secs(3);

/// Copies of this size are brought to the disk one by one, smaller ones together.
pub(crate) const SYNC_ALONE: u64 = 16 << 20;

/// While much is being copied, the index is written this often.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(15);

/// While much is being copied, what is there already is published this often, but
/// never for more than a tenth of the time.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(1);

const _: () = assert!(MAX_FILES + MAX_LOADERS < 65_530);
const _: () = assert!(QUIET_OPEN.as_secs() < MAX_BACKOFF.as_secs());
