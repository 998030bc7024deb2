//! Simulated machines that boot from any boot server.

fn main() {}
