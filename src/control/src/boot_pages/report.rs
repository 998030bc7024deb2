//! What machines say of themselves on their way: how far they are, and the end of their log.

use std::borrow::Cow;
use std::time::SystemTime;

use bootstorm_policy::{BootId, Facts, TokenError};
use bootstorm_proto::http::{BootRequest, BootResponse, Method};
use bootstorm_proto::ipxe::{Params, lines};
use bootstorm_telemetry::event::{Milestone, Reason, What};

use super::{BootPages, ip, text};

/// Bytes of a log that are taken, from its end.
const LOG_MAX: usize = 8 * 1024;

/// Lines of it, from its end: a machine's history has room for two hundred in a boot.
const LINES_MAX: usize = 64;

impl BootPages {
    pub(super) fn report(&self, request: &BootRequest) -> BootResponse {
        let params = Params::of_request(&request.query, &request.body);
        let Some(milestone) = params.other("state").and_then(Milestone::named) else {
            return self.refuse(request, 400, bad_report(params.other("state")));
        };
        let facts = self.facts(request);
        let of_token = match self.may_report(request, &params, &facts) {
            Ok(boot) => boot,
            Err(error) => return self.refuse(request, 403, Reason::from(&error)),
        };
        if request.method != Method::Head {
            if milestone == Milestone::Finished {
                let who = self.who(&facts).0;
                let boot = who.and_then(|who| self.boots.finished(who));
                if let Some(boot) = of_token.or(boot) {
                    self.history.finished(boot, SystemTime::now());
                }
            }
            let text = params.other("text").unwrap_or_default().into();
            self.tell(facts.mac, request, What::Reported { milestone, text });
            // Behind the report: only then does the table know a machine of a run before this one.
            for text in log(request) {
                let text = text.into();
                self.tell(facts.mac, request, What::Said { text });
            }
        }
        text(200, "ok\n".to_owned())
    }

    /// A machine speaks for itself: with the token of its boot, which is given, or from the address
    /// that it has.
    fn may_report(
        &self,
        request: &BootRequest,
        params: &Params,
        facts: &Facts,
    ) -> Result<Option<BootId>, TokenError> {
        let token = params.other("token");
        let claims_nothing = params.mac.is_none() && params.uuid.is_none();
        if token.is_none() && (claims_nothing || self.is_at(ip(request), params)) {
            return Ok(None);
        }
        let identity = self.policy.identify(facts);
        let checked = self.tokens.check(token, &identity, SystemTime::now());
        checked.map(Some)
    }
}

/// The last lines of the log that comes with a report.
fn log(request: &BootRequest) -> Vec<String> {
    let forms = [request.body.as_slice(), request.query.as_bytes()];
    let logs = forms.map(|form| lines(form, "log", LOG_MAX));
    let mut log = logs.into_iter().find(|log| !log.is_empty());
    let mut log = log.take().unwrap_or_default();
    let surplus = log.len().saturating_sub(LINES_MAX);
    log.drain(..surplus);
    log
}

fn bad_report(given: Option<&str>) -> Reason {
    let given = given.unwrap_or("nothing").escape_debug();
    let names = Milestone::ALL.map(Milestone::name).join(", ");
    Reason {
        code: "boot.bad-report",
        text: Cow::from(format!("state is {given}; it can be one of {names}")),
    }
}
