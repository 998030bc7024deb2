//! Machines and what is said of them, in a database.
//!
//! The packet path never comes here: it reads a snapshot, which is made from [`Store::load`].
#![forbid(unsafe_code)]

mod database;
mod edits;
mod error;
mod location;
mod machine;
mod machines;
mod sightings;
mod text;

pub use database::{LIMIT, Store};
pub use edits::{Edit, TAGS_MAX, VALUES_MAX};
pub use error::StoreError;
pub use location::Location;
pub use machine::{Hardware, Key, MachineRecord, Once, Sighting};
pub use machines::{Filter, MACHINES_MAX, PAGE_MAX};

#[cfg(test)]
mod tests;
