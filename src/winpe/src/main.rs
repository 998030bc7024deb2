//! The client that runs in Windows PE; docs/reference/winpe-client.md tells what it does.
#![deny(unsafe_code)]

#[cfg(windows)]
mod log;
#[cfg(windows)]
mod machine;
#[cfg(windows)]
mod run;
#[cfg(windows)]
mod transport;
#[cfg(windows)]
mod windows;

use std::process::ExitCode;

#[cfg(windows)]
fn main() -> ExitCode {
    run::main()
}

/// The library is tested on other systems; this program would find nothing to do there.
#[cfg(not(windows))]
fn main() -> ExitCode {
    eprintln!("bootstorm-winpe runs in Windows PE");
    ExitCode::from(2)
}
