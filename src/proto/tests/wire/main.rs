//! TFTP, HTTP and iPXE against what real firmware sent, and scripts against what must never be in
//! them.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../../../../tests/fixtures/load.rs"]
mod fixtures;

mod http;
mod scripts;
mod tftp;
