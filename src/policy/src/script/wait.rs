//! Machines that wait, and those that another server is to boot.

use std::time::Duration;

use bootstorm_proto::ipxe::{Label, Url};

use super::{ASKED, SHOWN, Writer, carry, wait_and_leave};
use crate::decision::{Referral, Wait};
use crate::facts::REQUEST;
use crate::trail::{Trail, VIA};

/// How long a server that gives no script is left alone, each time it is asked. Together they outlast
/// a restart.
const PATIENCE: [Duration; 3] = [
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(180),
];

impl Writer<'_> {
    /// Shows the reason and asks again after a while, with everything that the machine knows about
    /// itself. The answer takes this script's place, so that a machine that waits for hours holds
    /// one script. A server that does not answer is asked a few times more.
    pub(super) fn wait(&mut self, wait: &Wait) {
        let reason = &wait.reason;
        self.script
            .echo(&format!("[{}] {}", reason.code, reason.text));
        if let Some(request) = &wait.request {
            self.script
                .echo(&format!("The request of this machine: {request}"));
        }
        if let Ok(url) = Url::new(&self.urls.boot()) {
            let request = wait.request.as_deref();
            self.script.sleep(wait.every.max(Duration::from_secs(1)));
            for pause in PATIENCE {
                let late = self.script.label("no-answer");
                self.ask(&url, request, &late);
                self.script
                    .echo("The server does not answer. It is asked once more.")
                    .sleep(pause);
            }
            let gone = self.script.label("gone");
            self.ask(&url, request, &gone);
        }
        wait_and_leave(&mut self.script, SHOWN, self.leaving);
    }

    /// Asks for a script in place of this one; the lines that follow are for when none comes.
    fn ask(&mut self, url: &Url, request: Option<&str>, failed: &Label) {
        let url = carry::known(url, self.machine);
        let asked = [(ASKED, "1")].into_iter();
        let extra: Vec<_> = asked.chain(request.map(|code| (REQUEST, code))).collect();
        self.script.ask_again(&url, &extra, failed);
        self.script.place(failed);
    }

    /// Asks another server. It learns what the machine says of itself and by which servers it came,
    /// and nothing that this server has given it: no token, no answer.
    pub(super) fn refer(&mut self, referral: &Referral) {
        let via = match Trail::of(self.machine).onward(&referral.url) {
            Ok(via) => via,
            Err(reason) => return self.refuse(&reason),
        };
        if let Ok(url) = Url::new(&referral.url) {
            self.script
                .echo(&format!("Asking the boot server at {url}"));
            let lost = self.script.label("no-answer");
            let url = carry::to_another(&url, self.machine);
            self.script.ask_other(&url, &[(VIA, &via)], &lost);
            self.script.place(&lost);
        }
        self.script
            .echo("[script.referral-failed] That server gave no script.");
        wait_and_leave(&mut self.script, SHOWN, self.leaving);
    }
}
