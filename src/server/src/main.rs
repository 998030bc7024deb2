//! The bootstorm server.

fn main() {}
