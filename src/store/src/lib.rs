//! Machines and their assignments in a database.
