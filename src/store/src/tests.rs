//! What holds of SQLite and of PostgreSQL alike, and of the file.

mod approvals;
mod away;
mod changes;
mod file;
mod history;
mod lab;
mod machines;
mod migration;
#[path = "../../../tests/fixtures/postgres.rs"]
mod postgres;
mod spool;
