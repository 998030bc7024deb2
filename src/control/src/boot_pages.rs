//! What the boot endpoint answers beside files: scripts, the CA, reports of machines.
//!
//! A machine that boots has a small screen and nobody to read a log beside it: whatever goes wrong
//! is told to iPXE as a script that shows the reason, waits, and goes on to the next boot device.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_policy::{Policy, Tokens, script};
use bootstorm_proto::http::{BootRequest, BootResponse, Method};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, Protocol, Reason, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;

use crate::admission::Open;
use crate::handed::Handed;
use crate::{Admission, Approvals, Authority, Boots, Clients, Consult, History, Machines};
use boot::Page;

mod boot;
mod desk;
mod files;
mod report;
mod tftp;

pub use tftp::FileWanted;

/// Answers the boot endpoint's requests.
#[derive(Clone, Debug)]
pub struct BootPages {
    policy: Arc<Policy>,
    clients: Clients,
    authority: Arc<Authority>,
    machines: Arc<Machines>,
    approvals: Arc<Approvals>,
    boots: Boots,
    history: History,
    tokens: Tokens,
    handed: Handed,
    consult: Arc<dyn Consult>,
    events: Sender<BootEvent>,
    metrics: Arc<Metrics>,
    admission: Arc<dyn Admission>,
}

/// What scripts are made from.
#[derive(Clone, Debug)]
pub struct BootSeams {
    /// Who boots what.
    pub policy: Arc<Policy>,
    /// Machines of late.
    pub clients: Clients,
    /// Certificates.
    pub authority: Arc<Authority>,
    /// Machines of the store.
    pub machines: Arc<Machines>,
    /// Machines that ask to be let in.
    pub approvals: Arc<Approvals>,
    /// Boots under way.
    pub boots: Boots,
    /// Where they are written down.
    pub history: History,
    /// Makes the machines' own URLs.
    pub tokens: Tokens,
    /// Asks remote providers.
    pub consult: Arc<dyn Consult>,
    /// What happens goes here.
    pub events: Sender<BootEvent>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

impl BootPages {
    /// Pages that let every machine boot at once.
    #[must_use]
    pub fn new(seams: BootSeams) -> Self {
        Self {
            policy: seams.policy,
            clients: seams.clients,
            authority: seams.authority,
            machines: seams.machines,
            approvals: seams.approvals,
            boots: seams.boots,
            history: seams.history,
            tokens: seams.tokens,
            handed: Handed::default(),
            consult: seams.consult,
            events: seams.events,
            metrics: seams.metrics,
            admission: Arc::new(Open),
        }
    }

    /// Machines that `admission` does not let in get a script that waits and asks again.
    #[must_use]
    pub fn admitted_by(self, admission: Arc<dyn Admission>) -> Self {
        Self { admission, ..self }
    }

    /// The answer to one request, or what it takes. Reads snapshots only.
    fn respond(&self, request: &BootRequest) -> Page {
        let path = collapsed(&request.path);
        let is_fetched = matches!(request.method, Method::Get | Method::Head);
        let lower = path.to_ascii_lowercase();
        if lower.starts_with(files::FOLDER) {
            let below = path.get(files::FOLDER.len()..).unwrap_or_default();
            return self.file(request, below);
        }
        Page::Ready(match lower.as_str() {
            "/boot" | "/2pxe/boot" | "/autoexec.ipxe" => return self.boot(request),
            "/boot/report" => self.report(request),
            "/" if is_fetched && is_ipxe(request) => return self.boot(request),
            "/" if is_fetched => text(200, FRONT.to_owned()),
            "/ca.crt" if is_fetched => self.ca_pem(),
            "/ca.der" if is_fetched => self.ca_der(),
            "/" | "/ca.crt" | "/ca.der" => {
                let reason = Reason {
                    code: "boot.wrong-method",
                    text: format!("{path} can be fetched, not sent to").into(),
                };
                self.refuse(request, 405, reason)
            }
            _ => {
                let path = path.escape_debug();
                let reason = Reason {
                    code: "boot.unknown-path",
                    text: format!("there is no {path}; scripts are at /boot, files below /images/")
                        .into(),
                };
                self.refuse(request, 404, reason)
            }
        })
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
    /// Whoever else asks for a machine's own page gets the script as well.
    fn refuse(&self, request: &BootRequest, status: u16, reason: Reason) -> BootResponse {
        let refusal = || script::refusal(&reason, self.policy.local_boot());
        let response = if is_ipxe(request) {
            text(200, refusal())
        } else if status == 403 {
            text(status, refusal())
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
