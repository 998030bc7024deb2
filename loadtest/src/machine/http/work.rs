//! A request under way.

use std::time::Instant;

use super::framing::Framing;
use super::head::{HEAD_MAX, Head};
use super::request::{Method, Request};
use crate::finding::{Code, Finding};
use crate::machine::body::{Body, Keep};
use crate::machine::event::Event;
use crate::machine::io::{Output, World};
use crate::machine::trace::Way;

/// Interim answers (1xx) before the answer.
const INTERIM_MAX: u8 = 8;

/// Bytes of an error's page that are read so that the connection can be kept.
const PAGE_MAX: u64 = 64 * 1024;

/// A request under way.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) request: Request,
    pub(super) state: State,
    /// The server's silence is taken for one then; or it is asked again.
    pub(super) deadline: Instant,
    /// Redirects that were followed.
    pub(super) redirects: u8,
    /// It was sent once more because the server had closed an idle connection.
    pub(super) again: bool,
    interim: u8,
}

#[derive(Debug)]
pub(super) enum State {
    /// The connection is not up.
    Connecting,
    /// It is sent, and so much of the head is there.
    Asked(Vec<u8>),
    /// The body comes.
    Reading(Box<Head>, Framing, Body),
    /// The server wants to be asked later.
    Later,
}

impl Work {
    /// A request that was not sent.
    pub(super) fn new(request: Request, now: Instant) -> Self {
        Self {
            deadline: now + request.quiet,
            request,
            state: State::Connecting,
            redirects: 0,
            again: false,
            interim: 0,
        }
    }

    /// Sends it over the connection, which is up.
    pub(super) fn send(&mut self, world: &mut World<'_>) {
        let request = &self.request;
        world.note(Way::Out, || format!("{} {}", request.verb(), request.url));
        world.want(Output::Write(request.written()));
        self.state = State::Asked(Vec::new());
        self.deadline = world.now + request.quiet;
    }

    /// Nothing was heard of the server since it was sent.
    pub(super) const fn is_unheard(&self) -> bool {
        matches!(&self.state, State::Asked(head) if head.is_empty())
    }

    /// Takes what belongs to the answer off the front of `bytes`; tells whether it is complete.
    ///
    /// # Errors
    /// The answer is none.
    pub(super) fn read(
        &mut self,
        bytes: &mut &[u8],
        world: &mut World<'_>,
    ) -> Result<bool, Finding> {
        self.deadline = world.now + self.request.quiet;
        while let State::Asked(begun) = &mut self.state {
            if bytes.is_empty() {
                return Ok(false);
            }
            let before = begun.len();
            let room = HEAD_MAX - before;
            begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
            let Some((head, length)) = Head::parse(begun).map_err(|f| self.told(f))? else {
                *bytes = &[];
                return Ok(false);
            };
            *bytes = &bytes[length - before..];
            self.head(head, world)?;
        }
        let State::Reading(head, framing, body) = &mut self.state else {
            return Ok(false);
        };
        let before = body.bytes();
        let framed = framing.take(bytes, |piece| body.push(piece));
        let came = body.bytes() - before;
        if head.is_success() && came > 0 {
            let transport = self.request.url.scheme.transport();
            world.book(Event::Received(transport, came));
        }
        if !head.is_success() && body.bytes() > PAGE_MAX {
            head.closes = true;
            *bytes = &[];
            return Ok(true);
        }
        let done = framing.is_done();
        framed.map_err(|finding| self.told(finding))?;
        Ok(done)
    }

    fn head(&mut self, head: Head, world: &mut World<'_>) -> Result<(), Finding> {
        world.note(Way::In, || match (head.length, head.chunked) {
            (_, true) => format!("HTTP {}, chunked", head.status),
            (Some(length), _) => format!("HTTP {}, {length} bytes", head.status),
            (None, _) => format!("HTTP {}, no length", head.status),
        });
        let url = &self.request.url;
        if (100..200).contains(&head.status) {
            self.interim += 1;
            if self.interim > INTERIM_MAX || head.status == 101 {
                let evidence = format!("{url}: HTTP {}", head.status);
                return Err(Finding::new(Code::HttpMalformed, evidence));
            }
            self.state = State::Asked(Vec::new());
            return Ok(());
        }
        let framing = head.framing(self.request.method);
        if framing == Framing::ToEnd && head.is_success() {
            world.finding(Code::HttpNoLength, url.to_string());
        }
        let wanted = head.is_success() && self.request.method == Method::Get;
        let body = if wanted {
            let told = head.told.as_ref();
            Body::new(self.request.keep, &url.to_string(), told, world.plan)
        } else {
            Body::unhashed(Keep::Discard)
        };
        self.state = State::Reading(Box::new(head), framing, body);
        Ok(())
    }

    /// A finding with the URL in front.
    fn told(&self, finding: Finding) -> Finding {
        let evidence = format!("{}: {}", self.request.url, finding.evidence);
        Finding::new(finding.code, evidence)
    }
}
