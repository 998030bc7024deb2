//! The data plane: pinned threads, one ring each, no async runtime.

pub mod driver;
pub mod handoff;
