//! DHCP against what real firmware sent, and against what the protocol notes promise.

#[path = "../../../../tests/fixtures/load.rs"]
mod fixtures;

mod coverage;
mod golden;
mod lines;
mod lines_v6;
mod lines_wds;
mod packets;
mod properties;
mod wds;
