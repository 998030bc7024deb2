//! `bootstorm`: the network-boot server and the tools around it.
#![forbid(unsafe_code)]

mod classifier;
mod cli;
mod compose;
mod kept;
mod network;
mod offline;
mod remote;
mod syslog;
mod translate;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Help and version are no errors; a closed pipe is not worth a word.
            let _ = error.print();
            if error.use_stderr() {
                cli::EXIT_USAGE.into()
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}
