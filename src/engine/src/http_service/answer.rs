//! What a request is answered with: a file of the catalog, a question to the control plane, or an
//! error that its reader understands.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bootstorm_catalog::{File, LookupError};
use bootstorm_proto::http::{
    BootRequest, BootResponse, Head, Method, ResponseHead, Selection, Validators, Version,
    content_type, select,
};
use bootstorm_proto::ipxe::Script;
use bootstorm_telemetry::event::{Protocol, Reason};

use super::connection::{Body, Pace};
use super::shared::{Shared, Transfer, canonical};
use crate::handoff::{Ask, Ticket};
use crate::limits;
use crate::pacing::Place;

/// A response, as it is being sent.
#[derive(Debug)]
pub(super) struct Response {
    /// The head, and the body where it is not in `file`.
    pub(super) bytes: Vec<u8>,
    /// The rest of the body.
    pub(super) file: Option<(Arc<File>, Range<u64>)>,
    /// Up to where that is known to be in memory.
    pub(super) loaded: u64,
    /// How many of `bytes` belong to the body of a transfer.
    pub(super) inlined: u64,
    /// What follows it.
    pub(super) keep_alive: bool,
    /// What is told about it.
    pub(super) transfer: Option<Transfer>,
    /// Its part in the limits of rates and machines.
    pub(super) pace: Pace,
}

impl Response {
    /// One that is all in memory.
    pub(super) fn of_bytes(bytes: Vec<u8>, keep_alive: bool) -> Self {
        Self {
            bytes,
            file: None,
            loaded: 0,
            inlined: 0,
            keep_alive,
            transfer: None,
            pace: Pace::default(),
        }
    }

    /// The file was found to be harmed.
    pub(super) fn is_harmed(&self) -> bool {
        let file = self.file.as_ref();
        file.is_some_and(|(file, _)| !file.is_intact())
    }

    /// The next part of the file has to be looked for before anything is written.
    pub(super) fn needs_load(&self) -> bool {
        let next = self.file.as_ref().filter(|(_, rest)| !rest.is_empty());
        next.is_some_and(|(_, rest)| rest.start >= self.loaded)
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) ticket: Ticket,
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What is known of a request while the control plane thinks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    head_only: bool,
    ipxe: bool,
    version: Version,
    keep_alive: bool,
}

/// What comes of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Send this.
    Respond(Response),
    /// Wait for the control plane.
    Wait(Asked),
}

/// Answers a request or hands it to the control plane.
pub(super) fn answer(
    head: &Head<'_>,
    body: &[u8],
    origin: Origin,
    shared: &mut Shared,
    now: Instant,
) -> Outcome {
    let asked = Asked {
        head_only: head.method == Method::Head,
        ipxe: head.user_agent.starts_with("iPXE/"),
        version: head.version,
        keep_alive: head.keep_alive && !shared.draining,
    };
    match head.path.strip_prefix(IMAGES) {
        Some(path) => Outcome::Respond(image(head, path, asked, origin, shared, now)),
        None => ask(head, body, asked, origin, shared),
    }
}

/// The control plane's answer, as bytes.
pub(super) fn reply(
    shared: &mut Shared,
    protocol: Protocol,
    asked: Asked,
    response: &BootResponse,
) -> Response {
    let keep_alive = asked.keep_alive && !shared.draining;
    let mut bytes = shared.buffer();
    ResponseHead::boot(
        &mut bytes,
        response,
        asked.head_only,
        (asked.version, keep_alive),
        SystemTime::now(),
    );
    let metrics = &shared.seams.metrics;
    metrics.http.response(protocol, response.status);
    Response::of_bytes(bytes, keep_alive)
}

/// The answer of a control plane that gave none in time.
pub(super) fn no_answer(shared: &mut Shared, origin: Origin, asked: Asked) -> Response {
    shared.seams.metrics.planes.asks_expired.inc();
    let reason = Reason {
        code: "http.no-answer",
        text: "the control plane did not answer in time".into(),
    };
    let asked = Asked {
        keep_alive: false,
        ..asked
    };
    error(shared, origin, asked, None, (504, None), reason)
}

/// The answer to a client that came when the server was full.
pub(super) fn full(shared: &mut Shared, origin: Origin) -> Response {
    let asked = Asked {
        head_only: false,
        ipxe: false,
        version: Version::Http11,
        keep_alive: false,
    };
    let reason = Reason {
        code: "http.too-many-connections",
        text: format!(
            "more than {} connections are open on this worker",
            limits::HTTP_FULL
        )
        .into(),
    };
    error(
        shared,
        origin,
        asked,
        None,
        (503, Some(RETRY_SECONDS)),
        reason,
    )
}

/// The answer to a client whose machine's turn has not come for too long.
pub(super) fn queued(shared: &mut Shared, origin: Origin, asked: Asked, place: Place) -> Response {
    let reason = Reason {
        code: "http.queued",
        text: format!(
            "as many machines are being fed as the server feeds at a time; this one has place {} of {}",
            place.number, place.of
        )
        .into(),
    };
    let status = (503, Some(RETRY_SECONDS));
    error(shared, origin, asked, None, status, reason)
}

/// A copy that was changed behind the server's back, or that the disk does not give any more.
pub(super) fn file_changed() -> Reason {
    Reason {
        code: FILE_CHANGED,
        text: COPY_HARMED.into(),
    }
}

const FILE_CHANGED: &str = "http.file-changed";
const COPY_HARMED: &str = "the server's copy of the file was changed from outside or is unreadable";

/// How UEFI HTTP Boot names itself.
const FIRMWARE: &str = "UefiHttpBoot/";
const IMAGES: &str = "/images/";
const RETRY_SECONDS: u32 = 2;
const TEXT: &str = "text/plain; charset=utf-8";

fn image(
    head: &Head<'_>,
    path: &str,
    asked: Asked,
    origin: Origin,
    shared: &mut Shared,
    now: Instant,
) -> Response {
    let refuse = |shared: &mut Shared, status, code, text: &'static str| {
        let text = text.into();
        let reason = Reason { code, text };
        error(shared, origin, asked, Some(path), (status, None), reason)
    };
    if head.method == Method::Post {
        return refuse(shared, 405, "http.method", "images are fetched, not sent");
    }
    match shared.seams.catalog.snapshot().file(path) {
        Ok(file) if !file.is_intact() => refuse(shared, 503, FILE_CHANGED, COPY_HARMED),
        Ok(file) => whole_or_part(head, file, asked, origin, shared, now),
        Err(LookupError::NotFound) => refuse(
            shared,
            404,
            "http.not-found",
            "there is no such file in the images folder",
        ),
        Err(LookupError::Forbidden) => refuse(
            shared,
            403,
            "http.forbidden",
            "the path leaves the images folder",
        ),
    }
}

fn whole_or_part(
    head: &Head<'_>,
    file: Arc<File>,
    asked: Asked,
    origin: Origin,
    shared: &mut Shared,
    now: Instant,
) -> Response {
    let etag = file.etag();
    let length = file.len();
    let validators = Validators {
        len: length,
        etag: &etag,
        modified: file.modified,
    };
    let selection = select(&head.conditions, &validators);
    let mut bytes = shared.buffer();
    let range = ResponseHead::file(
        &mut bytes,
        &selection,
        &validators,
        content_type(&file.path),
        (asked.version, asked.keep_alive),
        SystemTime::now(),
    );
    let status = status(&selection);
    let mut response = Response::of_bytes(bytes, asked.keep_alive);
    if status == 416 {
        let reason = Reason {
            code: "http.range",
            text: format!("the range lies outside the {length} bytes of the file").into(),
        };
        shared.refused(origin.peer, origin.protocol, Some(&file.path), reason);
    }
    if asked.head_only || status >= 300 {
        shared.seams.metrics.http.response(origin.protocol, status);
        return response;
    }
    let size = range.end - range.start;
    let is_told = selection == Selection::Full || size >= limits::HTTP_TOLD_PART;
    let body = Body {
        status,
        told: is_told.then(|| Arc::clone(&file.path)),
        size,
    };
    let patience = match head.user_agent.starts_with(FIRMWARE) {
        true => limits::HTTP_TURN_FIRMWARE,
        false => limits::HTTP_TURN,
    };
    body.admit(&mut response, (asked, patience), origin, shared, now);
    file.content.count_use();
    let warm = size <= limits::HTTP_INLINE && file.content.first_cold(range.clone(), now).is_none();
    if let Some(content) = file.content.range(range.clone()).filter(|_| warm) {
        let head = response.bytes.len();
        response.bytes.extend_from_slice(content);
        // Asked after reading: what was read of a harmed copy must not leave.
        if file.is_intact() {
            response.inlined = size;
            return response;
        }
        response.bytes.truncate(head);
    }
    response.file = Some((file, range));
    response
}

fn ask(head: &Head<'_>, body: &[u8], asked: Asked, origin: Origin, shared: &mut Shared) -> Outcome {
    let request = BootRequest {
        client: canonical(origin.peer),
        local: canonical(origin.local),
        secure: origin.protocol == Protocol::Https,
        method: head.method,
        path: head.path.clone().into_owned(),
        query: head.query.to_owned(),
        host: head.host.to_owned(),
        user_agent: head.user_agent.to_owned(),
        body: body.to_vec(),
    };
    let ticket = origin.ticket;
    if shared.seams.asks.try_send(Ask { ticket, request }).is_ok() {
        shared.seams.metrics.planes.asks.inc();
        return Outcome::Wait(asked);
    }
    shared.seams.metrics.planes.asks_refused.inc();
    let reason = Reason {
        code: "http.busy",
        text: "too many boot requests wait for an answer".into(),
    };
    let status = (503, Some(RETRY_SECONDS));
    Outcome::Respond(error(
        shared,
        origin,
        asked,
        Some(&head.path),
        status,
        reason,
    ))
}

// An error in the reader's language: a script for iPXE, plain text for everyone else.
fn error(
    shared: &mut Shared,
    origin: Origin,
    asked: Asked,
    path: Option<&str>,
    (status, retry_after): (u16, Option<u32>),
    reason: Reason,
) -> Response {
    let text = match path {
        Some(path) => format!("{}: {path} ({})\n", reason.text, reason.code),
        None => format!("{} ({})\n", reason.text, reason.code),
    };
    let body = if asked.ipxe {
        Script::new()
            .echo(&text)
            .sleep(limits::HTTP_ERROR_SHOWN)
            .exit(1)
            .render()
    } else {
        text
    };
    let response = BootResponse {
        status,
        content_type: TEXT,
        retry_after,
        body: body.into_bytes(),
    };
    shared.refused(origin.peer, origin.protocol, path, reason);
    reply(shared, origin.protocol, asked, &response)
}

const fn status(selection: &Selection) -> u16 {
    match selection {
        Selection::Full => 200,
        Selection::Part(_) => 206,
        Selection::NotModified => 304,
        Selection::PreconditionFailed => 412,
        Selection::Unsatisfiable => 416,
    }
}
