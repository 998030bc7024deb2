//! What the boot endpoint answers beside files: scripts, the CA, reports of machines.
//!
//! A machine that boots has a small screen and nobody to read a log beside it: whatever goes wrong
//! is told to iPXE as a script that shows the reason, waits, and goes on to the next boot device.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::Wait;
use bootstorm_policy::{BootPlan, Facts, Policy, Urls, script};
use bootstorm_proto::http::{BootRequest, BootResponse, Method};
use bootstorm_proto::ipxe::Params;
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, Protocol, Reason, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;

use crate::admission::Open;
use crate::{Admission, Authority, Clients, Place};

/// Answers the boot endpoint's requests. Reads snapshots only: never waits.
#[derive(Clone, Debug)]
pub struct BootPages {
    policy: Arc<Policy>,
    clients: Clients,
    authority: Arc<Authority>,
    events: Sender<BootEvent>,
    metrics: Arc<Metrics>,
    admission: Arc<dyn Admission>,
}

impl BootPages {
    /// Scripts come from `policy`; what happens goes to `events`.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        clients: Clients,
        authority: Arc<Authority>,
        events: Sender<BootEvent>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            policy,
            clients,
            authority,
            events,
            metrics,
            admission: Arc::new(Open),
        }
    }

    /// Machines that `admission` does not let in get a script that waits and asks again.
    #[must_use]
    pub fn admitted_by(self, admission: Arc<dyn Admission>) -> Self {
        Self { admission, ..self }
    }

    /// The answer to one request.
    pub fn respond(&self, request: &BootRequest) -> BootResponse {
        let path = collapsed(&request.path);
        match (path.to_ascii_lowercase().as_str(), request.method) {
            ("/boot" | "/2pxe/boot" | "/autoexec.ipxe", _) => self.boot(request),
            ("/boot/report", _) => self.report(request),
            ("/ca.crt", Method::Get | Method::Head) => self.ca_pem(),
            ("/ca.der", Method::Get | Method::Head) => self.ca_der(),
            ("/", Method::Get | Method::Head) if is_ipxe(request) => self.boot(request),
            ("/", Method::Get | Method::Head) => text(200, FRONT.to_owned()),
            ("/" | "/ca.crt" | "/ca.der", Method::Post) => self.refuse(
                request,
                405,
                Reason {
                    code: "boot.wrong-method",
                    text: Cow::from(format!("{path} can be fetched, not sent to")),
                },
            ),
            _ => self.refuse(
                request,
                404,
                Reason {
                    code: "boot.unknown-path",
                    text: Cow::from(format!(
                        "there is no {}; scripts are at /boot, files below /images/",
                        path.escape_debug()
                    )),
                },
            ),
        }
    }

    fn boot(&self, request: &BootRequest) -> BootResponse {
        let facts = self.facts(request);
        let urls = Urls::of_request(&request.host, request.local, request.secure);
        let plan = self.policy.boot(&facts);
        if boots_unattended(&plan)
            && is_ipxe(request)
            && let Some(place) = self.admission.ask(ip(request))
        {
            return self.wait(place, facts.mac, &urls, request);
        }
        // OVMF and others look with HEAD before they GET: that is one boot.
        if request.method != Method::Head {
            self.tell(facts.mac, request, happened(&plan, request));
            self.metrics.web.script(kind(&plan));
        }
        text(200, script::render(&plan, &urls, &facts))
    }

    fn wait(
        &self,
        place: Place,
        mac: Option<MacAddress>,
        urls: &Urls,
        request: &BootRequest,
    ) -> BootResponse {
        let reason = Reason {
            code: "pacing.queued",
            text: format!("Other machines are being fed: {}.", place.in_words()).into(),
        };
        if request.method != Method::Head {
            self.metrics.web.script(reason.code);
            let (place, of) = (place.number, place.of);
            self.tell(mac, request, What::Queued { place, of });
        }
        let plan = BootPlan::Wait(Wait {
            reason,
            every: ASKS_AGAIN,
            request: None,
        });
        text(200, script::render(&plan, urls, &Facts::default()))
    }

    fn report(&self, request: &BootRequest) -> BootResponse {
        let params = Params::of_request(&request.query, &request.body);
        let done = match params.other("state") {
            Some("finished") => true,
            Some("failed") => false,
            other => {
                let given = other.unwrap_or("nothing").escape_debug().to_string();
                let reason = Reason {
                    code: "boot.bad-report",
                    text: Cow::from(format!("state is {given}; it can be finished or failed")),
                };
                return self.refuse(request, 400, reason);
            }
        };
        if request.method != Method::Head {
            let mac = self.mac_of(&params, request);
            let text = params.other("text").unwrap_or_default().into();
            self.tell(mac, request, What::Reported { done, text });
        }
        text(200, "ok\n".to_owned())
    }

    /// What the request says, and what was seen of the machine where it says nothing.
    fn facts(&self, request: &BootRequest) -> Facts {
        let params = Params::of_request(&request.query, &request.body);
        let mut facts = Facts::from(&params);
        facts.address = facts.address.or(Some(ip(request)));
        let seen = match (facts.mac, facts.guid) {
            (Some(mac), _) => self.clients.by_mac(mac),
            (None, None) => self.clients.by_ip(ip(request)),
            (None, Some(_)) => None,
        };
        if let Some(seen) = seen {
            facts.mac = facts.mac.or(seen.mac);
            facts.guid = facts.guid.or(seen.guid);
            if let Some(heard) = &seen.heard {
                facts.complete(&Facts::from(&**heard));
            }
        }
        facts
    }

    fn mac_of(&self, params: &Params, request: &BootRequest) -> Option<MacAddress> {
        params.mac.or_else(|| self.clients.by_ip(ip(request))?.mac)
    }

    fn ca_pem(&self) -> BootResponse {
        BootResponse {
            status: 200,
            content_type: "application/x-pem-file",
            retry_after: None,
            body: self.authority.identity().ca_pem.clone().into_bytes(),
        }
    }

    fn ca_der(&self) -> BootResponse {
        let identity = self.authority.identity();
        BootResponse {
            status: 200,
            content_type: "application/pkix-cert",
            retry_after: None,
            body: identity.ca_der(),
        }
    }

    /// iPXE runs a script whatever its path, but looks at no body of an error: it gets a 200.
    fn refuse(&self, request: &BootRequest, status: u16, reason: Reason) -> BootResponse {
        let response = if is_ipxe(request) {
            text(200, script::refusal(&reason))
        } else {
            text(status, format!("{}: {}\n", reason.code, reason.text))
        };
        if request.method != Method::Head {
            self.metrics.web.script(reason.code);
            let refused = What::Refused {
                protocol: protocol(request),
                file: Some(request.path.as_str().into()),
                reason,
            };
            self.tell(None, request, refused);
        }
        response
    }

    fn tell(&self, mac: Option<MacAddress>, request: &BootRequest, what: What) {
        let event = BootEvent {
            at: SystemTime::now(),
            mac,
            ip: Some(ip(request)),
            what,
        };
        if self.events.try_send(event).is_err() {
            self.metrics.planes.events_dropped.inc();
        }
    }
}

/// A machine that waits for its turn asks again after this time.
const ASKS_AGAIN: Duration = Duration::from_secs(5);

/// Whether large files follow the script by themselves. At a menu a person may take an hour to
/// choose: then the first large file waits instead.
fn boots_unattended(plan: &BootPlan) -> bool {
    match plan {
        BootPlan::Entry(_) => true,
        BootPlan::Menu(menu) => menu.default.is_some() && !menu.timeout.is_zero(),
        BootPlan::Ask(_, plan) => boots_unattended(plan),
        BootPlan::Local | BootPlan::Wait(_) | BootPlan::Refer(_) | BootPlan::Refuse(_) => false,
    }
}

const FRONT: &str = concat!(
    "bootstorm ",
    env!("CARGO_PKG_VERSION"),
    "\n\n\
     This is the boot endpoint: machines load from here.\n\
     /boot      the script of the machine that asks, for iPXE\n\
     /images/   files\n\
     /ca.crt    the CA to trust for HTTPS, as PEM; /ca.der as DER\n\
     The web service (API, metrics) listens on a port of its own, 8051 unless configured.\n"
);

fn text(status: u16, body: String) -> BootResponse {
    BootResponse {
        status,
        content_type: "text/plain; charset=utf-8",
        retry_after: None,
        body: body.into_bytes(),
    }
}

fn happened(plan: &BootPlan, request: &BootRequest) -> What {
    match plan {
        BootPlan::Refuse(reason) => What::Refused {
            protocol: protocol(request),
            file: None,
            reason: reason.clone(),
        },
        BootPlan::Ask(_, plan) => happened(plan, request),
        BootPlan::Menu(_)
        | BootPlan::Entry(_)
        | BootPlan::Local
        | BootPlan::Wait(_)
        | BootPlan::Refer(_) => What::Script {
            boots: plan.name().into(),
        },
    }
}

fn kind(plan: &BootPlan) -> &'static str {
    match plan {
        BootPlan::Menu(_) => "menu",
        BootPlan::Entry(_) => "entry",
        BootPlan::Local => "local",
        BootPlan::Wait(_) => "wait",
        BootPlan::Refer(_) => "referral",
        BootPlan::Ask(_, plan) => kind(plan),
        BootPlan::Refuse(reason) => reason.code,
    }
}

const fn protocol(request: &BootRequest) -> Protocol {
    if request.secure {
        Protocol::Https
    } else {
        Protocol::Http
    }
}

fn is_ipxe(request: &BootRequest) -> bool {
    request.user_agent.starts_with("iPXE/")
}

fn ip(request: &BootRequest) -> IpAddr {
    request.client.ip().to_canonical()
}

/// shim and others ask with doubled slashes; people end paths with one.
fn collapsed(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|p| !p.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
