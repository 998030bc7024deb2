//! What `bootstorm sandboxed-exec` does, for the tests of this crate.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bootstorm_providers::sandboxed_exec(std::env::args_os().skip(2))
}
