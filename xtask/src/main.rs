//! What people run while developing: `cargo xtask`.
#![forbid(unsafe_code)]

mod classifier;
mod demo;
mod deny;
mod docs;
mod e2e;
mod ebpf;
mod fixtures;
mod fuzz;
mod page;
mod peers;
mod storm;
mod test;
mod tidy;
mod tools;
mod winpe;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that CI runs: format, lints, tests, documentation, licences, real firmware
    Test(test::Arguments),
    /// Boot real firmware from the server, in QEMU and network namespaces (root)
    E2e(e2e::Arguments),
    /// Rebuild the classifier and compare it with the committed object, or write that
    Ebpf(ebpf::Arguments),
    /// Build the client that runs in Windows PE
    Winpe(winpe::Arguments),
    /// Show the main job: a real UEFI machine and 200 simulated ones boot in a test network (root)
    Demo(demo::Arguments),
    /// Cut the packets of real firmware out of captures into tests/fixtures
    Fixtures(fixtures::Arguments),
    /// Throw what the network can send at the parsers
    Fuzz(fuzz::Arguments),
    /// Measure what the classifier costs a packet, and machines that boot beside a flood (root)
    Classifier(classifier::Arguments),
    /// Measure this server beside other TFTP and HTTP servers and say which limits hold
    Peers(peers::Arguments),
    /// Play the scenarios of simulated machines against this server, in namespaces
    Storm(storm::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Ebpf(arguments) => ebpf::run(&arguments),
        Task::Winpe(arguments) => winpe::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Fixtures(arguments) => fixtures::run(&arguments),
        Task::Fuzz(arguments) => fuzz::main(&arguments),
        Task::Classifier(arguments) => classifier::run(&arguments),
        Task::Peers(arguments) => peers::run(&arguments),
        Task::Storm(arguments) => storm::run(&arguments),
    }
}
