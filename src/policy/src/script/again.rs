//! Files that do not come are fetched again.
//!
//! A server that starts anew, or a line that is down for some seconds, costs a machine a pause and not
//! its boot. iPXE drops what it has of a file whose fetch breaks, and keeps the files before it.
//!
//! A file that the server does not have is tried again too: a server that has just started says the
//! same of files that it has not looked at yet, and iPXE numbers its errors differently from platform
//! to platform.

use bootstorm_proto::ipxe::Setting;

use super::Writer;
use crate::Facts;

/// How often a file is fetched again.
const TRIES: u32 = 5;

/// How long the first pause is at least, in milliseconds; each is twice as long as the one before.
const PAUSE: u32 = 1_000;

/// By how much it is longer at most: machines that broke off together come back one after another.
const SPREAD: u32 = 500;

/// What is shown meanwhile. iPXE wipes it off afterwards, as long as it is one line of 80 columns.
const NOTE: &str = "did not work: the server may be starting. Next try in a moment, or at a key.";

/// The variable with the label of the fetch that runs.
const HERE: &str = "here";

/// The variable with the next pause, in milliseconds.
const WAIT: &str = "wait";

impl Writer<'_> {
    /// Begins a step; its fetch follows, and [`Self::or_again`].
    pub(super) fn loading(&mut self, path: &str) {
        self.step(&format!("Loading {path}"));
        let here = self.script.label("load");
        self.script
            .set_label(HERE, &here)
            .set_number(WAIT, first_pause(self.machine))
            .place(&here);
    }

    /// When the fetch fails, there is another one after a pause.
    pub(super) fn or_again(&mut self) {
        self.loads = true;
        self.script.or_goto(&self.again);
    }

    /// Where all fetches lead that have failed.
    pub(super) fn try_again(&mut self) {
        let after_all = first_pause(self.machine) << TRIES;
        self.script
            .place(&self.again)
            .if_equal(Setting::new(WAIT), &after_all.to_string(), &self.failed)
            .echo_setting("[script.step-again]", Setting::new("step"))
            .prompt_by(NOTE, Setting::new(WAIT))
            .or_continue()
            .double(WAIT)
            .goto_chosen(HERE);
    }
}

/// In milliseconds, the same for a machine each time. The hash is FNV-1a: it sets addresses apart
/// that follow one another.
fn first_pause(machine: &Facts) -> u32 {
    let mac = machine.mac.iter().flat_map(|mac| mac.bytes());
    let hash = mac.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    PAUSE + hash % SPREAD
}
