//! Machines and their assignments in a database.
//!
//! The packet path never comes here: it reads the snapshot that the policy holds, which is made
//! from [`Store::assignments`].
#![forbid(unsafe_code)]

mod error;
mod machines;
mod store;

pub use error::StoreError;
pub use machines::{MachineRecord, Sighting};
pub use store::{MACHINES_MAX, PAGE_MAX, Store};
