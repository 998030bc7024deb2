//! UEFI HTTP boot: the boot program by HEAD and GET.

use std::time::Instant;

use super::body::Fetched;
use super::io::{Input, Progress, Step, World};

/// The boot program of a machine that boots by HTTP.
#[derive(Debug)]
pub(crate) struct HttpProgram;

impl HttpProgram {
    /// Asks for the program at `url`, which option 67 has given.
    pub(crate) fn start(url: &str, world: &mut World<'_>) -> Self {
        let _ = (url, world);
        Self
    }
}

impl Step for HttpProgram {
    type Made = Fetched;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Fetched> {
        let _ = (input, world);
        Progress::Going
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
