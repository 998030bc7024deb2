//! Machines and what is said of them, in a database.
//!
//! The packet path never comes here: it reads a snapshot, which is made from [`Store::load`].
#![forbid(unsafe_code)]

mod approvals;
mod boots;
mod changes;
mod database;
mod edits;
mod error;
mod history;
mod location;
mod machine;
mod machines;
mod record;
mod schema;
mod sightings;
mod spool;
mod text;
mod wire;

pub use approvals::{Answer, Approval, ApprovalState, Request, UnknownState, WAITING_MAX};
pub use boots::{BootBegin, BootFigures, BootFilter, BootRecord, BootState, BootStep, Reached};
pub use changes::{Changes, Watch};
pub use database::{LIMIT, Store};
pub use edits::{Edit, TAGS_MAX, VALUES_MAX};
pub use error::StoreError;
pub use history::{Event, HISTORY_MAX};
pub use location::Location;
pub use machine::{Hardware, Key, MachineRecord, Once, Sighting};
pub use machines::{Filter, MACHINES_MAX, PAGE_MAX};
pub use record::Note;
pub use spool::{SPOOL_MAX, Spool, SpoolError};

#[cfg(test)]
mod tests;
