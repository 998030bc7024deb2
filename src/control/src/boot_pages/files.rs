//! Files that are made for one machine: `/boot/file/ENTRY/NAME`.

use std::net::IpAddr;
use std::time::SystemTime;

use bootstorm_policy::decision::Decision;
use bootstorm_policy::{Asked, BootId, Facts, Origin, TokenError};
use bootstorm_proto::http::{BootRequest, BootResponse, Method};
use bootstorm_proto::ipxe::Params;
use bootstorm_telemetry::event::{Reason, What};
use jiff::Timestamp;

use super::boot::{Page, Waits};
use super::{BootPages, ip, protocol, text};

/// What the paths of these files begin with.
pub(super) const FOLDER: &str = "/boot/file/";

/// A file that a machine may have, once it is known what it boots.
#[derive(Clone, Debug)]
pub(super) struct FileAsked {
    entry: String,
    name: String,
    boot: Option<BootId>,
    token: Option<String>,
}

impl BootPages {
    /// The file of that path below [`FOLDER`].
    pub(super) fn file(&self, request: &BootRequest, path: &str) -> Page {
        let facts = self.facts(request);
        let asked = match self.file_asked(request, &facts, path) {
            Ok(asked) => asked,
            Err((status, reason)) => {
                return Page::Ready(self.refuse_file(request, &facts, status, reason));
            }
        };
        if let Some(handed) = asked.boot.and_then(|boot| self.handed.get(boot)) {
            let (facts, decision) = (&handed.facts, &handed.decision);
            return Page::Ready(self.made(request, facts, decision, &asked));
        }
        match self.policy.decide(&facts, SystemTime::now()) {
            Asked::Decided(decision) => Page::Ready(self.made(request, &facts, &decision, &asked)),
            Asked::Waits { .. } => Page::Waits(Box::new(Waits::File(facts, asked))),
        }
    }

    /// The file as it is made for a machine that this was decided for.
    pub(super) fn made(
        &self,
        request: &BootRequest,
        facts: &Facts,
        decision: &Decision,
        asked: &FileAsked,
    ) -> BootResponse {
        let urls = self.urls_of(request, facts, asked.boot, asked.token.as_deref());
        let authority = self.authority.identity();
        let origin = Origin {
            urls: &urls,
            ca: &authority.ca_pem,
            time: &Timestamp::now().to_string(),
            secure: request.secure,
        };
        let file = (asked.entry.as_str(), asked.name.as_str());
        match self.policy.make(decision, facts, file, &origin) {
            Ok(made) => BootResponse {
                status: 200,
                content_type: made.content_type,
                retry_after: None,
                body: made.body,
            },
            Err(reason) => {
                let status = match reason.code {
                    "boot.no-such-file" => 404,
                    "boot.not-its-file" | "boot.secret-over-http" => 403,
                    _ => 500,
                };
                self.refuse_file(request, facts, status, reason)
            }
        }
    }

    fn file_asked(
        &self,
        request: &BootRequest,
        facts: &Facts,
        path: &str,
    ) -> Result<FileAsked, (u16, Reason)> {
        if !matches!(request.method, Method::Get | Method::Head) {
            let text = "files can be fetched, not sent to".into();
            let code = "boot.wrong-method";
            return Err((405, Reason { code, text }));
        }
        let Some((entry, name)) = path.split_once('/') else {
            let text = format!("{FOLDER} is followed by an entry and a file name").into();
            let code = "boot.unknown-path";
            return Err((404, Reason { code, text }));
        };
        let params = Params::of_request(&request.query, b"");
        let boot = self
            .may_have(request, &params, facts)
            .map_err(|error| (403, Reason::from(&error)))?;
        Ok(FileAsked {
            entry: entry.to_owned(),
            name: name.to_owned(),
            boot,
            token: params.other("token").map(str::to_owned),
        })
    }

    /// A machine shows the token of its boot, or has the address that it was seen at. One that has
    /// nothing to be known by gets what is made for such machines.
    fn may_have(
        &self,
        request: &BootRequest,
        params: &Params,
        facts: &Facts,
    ) -> Result<Option<BootId>, TokenError> {
        let identity = self.policy.identify(facts);
        let token = params.other("token");
        if token.is_none() && (identity.is_unknown() || self.is_at(ip(request), params)) {
            return Ok(None);
        }
        let checked = self.tokens.check(token, &identity, SystemTime::now());
        checked.map(Some)
    }

    /// Whatever the machine says that it is, was seen at this address.
    pub(super) fn is_at(&self, address: IpAddr, params: &Params) -> bool {
        let seen = self.clients.by_ip(address);
        seen.is_some_and(|seen| {
            let mac = params.mac.is_none() || params.mac == seen.mac;
            mac && (params.uuid.is_none() || params.uuid == seen.guid)
        })
    }

    /// A file that is not there is no script: iPXE would inject that.
    fn refuse_file(
        &self,
        request: &BootRequest,
        facts: &Facts,
        status: u16,
        reason: Reason,
    ) -> BootResponse {
        let response = text(status, format!("{}: {}\n", reason.code, reason.text));
        if request.method != Method::Head {
            self.metrics.web.script(reason.code);
            let refused = What::Refused {
                protocol: protocol(request),
                file: Some(request.path.as_str().into()),
                reason,
            };
            self.tell(facts.mac, request, refused);
        }
        response
    }
}
