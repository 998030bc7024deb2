//! What holds of SQLite and of PostgreSQL alike, and of the file.

mod file;
mod lab;
mod machines;
mod migration;
