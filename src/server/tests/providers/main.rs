//! A server that asks others about machines, as it runs: with what it still may after its start.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod lab;
mod programs;
mod referral;
mod reload;
mod services;
