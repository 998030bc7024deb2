//! What holds of SQLite and of PostgreSQL alike, and of the file.

mod approvals;
mod away;
mod changes;
mod file;
mod history;
mod lab;
mod machines;
mod migration;
mod spool;
