//! The boot endpoint of a running engine, over loopback: curl, openssl and bare sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test stands on fails the test"
)]

mod crowd;
mod lab;
mod plain;
mod sealed;
