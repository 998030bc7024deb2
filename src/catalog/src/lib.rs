//! What can be served: mapped files, and the entries that can be booted.
//!
//! A [`Snapshot`] is immutable; `bootstorm-ingest` builds a new one whenever the images folder
//! changes and swaps it into the [`Catalog`]. A file in a snapshot is always whole: it maps a copy
//! that the server owns, named by its digest.
#![deny(unsafe_code)]

pub mod bcd;
pub mod entry;
pub mod injected;
pub mod kinds;
#[expect(
    unsafe_code,
    reason = "mapping a file is unsafe by nature; nothing else here is"
)]
pub mod mapping;
pub mod path;
pub mod problem;
pub mod snapshot;
pub mod template;

pub use entry::{Entry, EntryKind, LoadOptions, Signing, WimLoader};
pub use injected::{Content, Injected, Startup};
pub use kinds::wim;
pub use mapping::Mapping;
pub use problem::Problem;
pub use snapshot::{Catalog, ETag, File, LookupError, Snapshot};
