//! A server that asks others about machines, as it runs: with what it still may after its start.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

#[path = "../program/mod.rs"]
mod program;
mod programs;
mod referral;
mod reload;
mod services;

use program::Lab;

/// As long as a request is kept at most, but for what is left to do with it.
const BUDGET: &str = "budget = \"9s\"\n";

/// A folder whose servers have boot scripts and time; what decides follows.
fn lab(deciding: &str) -> Lab {
    let lab = Lab::new(&[], "");
    std::fs::create_dir(lab.path("scripts")).unwrap();
    configure(&lab, deciding);
    lab
}

fn configure(lab: &Lab, deciding: &str) {
    let scripts = "[boot]\ntemplates = \"scripts\"\n";
    let text = format!("{scripts}[policy]\nbudget = \"10s\"\n{deciding}");
    lab.configure(&["http"], &text);
}
