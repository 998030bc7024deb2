//! HTTP/1.1 as boot firmware speaks it: one connection, one request at a time.

mod connection;
mod framing;
mod head;
pub(crate) mod request;
#[cfg(test)]
mod tests;
mod work;

use std::time::{Duration, Instant};

use connection::{Connection, Peer};
use framing::Framing;
use head::Head;
use request::{Method, Request};
use work::{State, Work};

use super::body::{Body, Fetched};
use super::event::Event;
use super::io::{Input, Progress, Step, World};
use super::trace::Way;
use super::url::Url;
use crate::finding::{Code, Finding};

/// How long a server may stay silent. iPXE itself would wait on; a person would not.
pub(crate) const QUIET: Duration = Duration::from_secs(60);

/// Redirects of one request.
const REDIRECTS_MAX: u8 = 10;

/// How long a server may put a client off.
const LATER_MAX: Duration = Duration::from_secs(3600);

/// What the reasons of failures begin with that are of TLS.
const TLS: &str = "tls";

/// A client with its connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    connection: Option<Connection>,
    work: Option<Box<Work>>,
}

/// What came of a request; its status was one of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Where it came from in the end.
    pub(crate) url: Url,
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
    /// `Content-Type`, without its parameters, in lower case.
    pub(crate) kind: Option<String>,
    /// The file; empty for HEAD.
    pub(crate) fetched: Fetched,
}

impl Client {
    /// Asks; an earlier request has to be through.
    ///
    /// # Errors
    /// The URL leads nowhere.
    pub(crate) fn begin(&mut self, request: Request, world: &mut World<'_>) -> Result<(), Finding> {
        self.ask(Box::new(Work::new(request, world.now)), world)
    }

    /// Ends the connection, and what is under way.
    pub(crate) fn hang_up(&mut self, world: &mut World<'_>) {
        self.work = None;
        if let Some(connection) = self.connection.take() {
            connection.close(world);
        }
    }

    /// Sends a request over the connection that is there, or over a new one.
    fn ask(&mut self, mut work: Box<Work>, world: &mut World<'_>) -> Result<(), Finding> {
        let peer = Peer::of(&work.request.url, world.plan)?;
        if let Some(other) = self.connection.take_if(|kept| !kept.leads_to(&peer)) {
            other.close(world);
        }
        match &self.connection {
            Some(_) => work.send(world),
            None => {
                work.state = State::Connecting;
                work.deadline = world.now + work.request.quiet;
                self.connection = Some(Connection::open(peer, world));
            }
        }
        self.work = Some(work);
        Ok(())
    }

    fn connected(&mut self, resumed: bool, world: &mut World<'_>) {
        let (Some(connection), Some(work)) = (&mut self.connection, &mut self.work) else {
            return;
        };
        if !matches!(work.state, State::Connecting) {
            return;
        }
        if connection.is_encrypted() {
            world.book(Event::Handshake { resumed });
        }
        work.send(world);
    }

    fn read(&mut self, mut bytes: &[u8], world: &mut World<'_>) -> Progress<Answer> {
        let read = match &mut self.work {
            Some(work) => work.read(&mut bytes, world),
            None => Ok(false),
        };
        match read {
            Ok(done) => {
                self.surplus(bytes, world);
                if done {
                    self.complete(world)
                } else {
                    Progress::Going
                }
            }
            Err(finding) => {
                self.hang_up(world);
                Progress::Failed(finding)
            }
        }
    }

    /// Bytes that belong to no answer: the connection is of no more use.
    fn surplus(&mut self, bytes: &[u8], world: &mut World<'_>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(connection) = self.connection.take() {
            let from = connection.address();
            let evidence = format!("{from}: {} bytes behind an answer's end", bytes.len());
            world.finding(Code::HttpLongBody, evidence);
            connection.close(world);
        }
    }

    /// The answer is there.
    fn complete(&mut self, world: &mut World<'_>) -> Progress<Answer> {
        let Some(mut work) = self.work.take() else {
            return Progress::Going;
        };
        let State::Reading(head, _, body) = std::mem::replace(&mut work.state, State::Later) else {
            return Progress::Going;
        };
        if let Some(connection) = &mut self.connection {
            connection.set_used();
        }
        if (head.closes || !world.plan.keep_alive)
            && let Some(connection) = self.connection.take()
        {
            connection.close(world);
        }
        if head.is_success() {
            return success(work.request, *head, body, world);
        }
        let then = if let (300..=399, Some(location)) = (head.status, &head.location) {
            self.redirect(work, location, world)
        } else if let Some(after) = head.retry_after {
            world.note(Way::Itself, || format!("is to ask again in {after:?}"));
            work.deadline = world.now + after.min(LATER_MAX);
            self.work = Some(work);
            Ok(())
        } else {
            let evidence = format!("{}: HTTP {}", work.request.url, head.status);
            Err(Finding::new(Code::HttpStatus, evidence))
        };
        match then {
            Ok(()) => Progress::Going,
            Err(finding) => Progress::Failed(finding),
        }
    }

    fn redirect(
        &mut self,
        mut work: Box<Work>,
        location: &str,
        world: &mut World<'_>,
    ) -> Result<(), Finding> {
        work.redirects += 1;
        if work.redirects > REDIRECTS_MAX {
            let evidence = format!("{}: to {location}", work.request.url);
            return Err(Finding::new(Code::HttpRedirects, evidence));
        }
        let request = &mut work.request;
        request.url = request.url.join(location)?;
        // iPXE opens the new place as if it had been asked for at first: without the form.
        request.form = None;
        work.again = false;
        self.ask(work, world)
    }

    /// The connection is gone: in order, or for this reason.
    fn gone(&mut self, reason: Option<&str>, world: &mut World<'_>) -> Progress<Answer> {
        let Some(connection) = self.connection.take() else {
            return Progress::Going;
        };
        let Some(mut work) = self
            .work
            .take_if(|work| !matches!(work.state, State::Later))
        else {
            return Progress::Going;
        };
        world.note(Way::In, || match reason {
            Some(reason) => format!("TCP connection broke: {reason}"),
            None => "TCP connection closed".to_owned(),
        });
        let ends_so = matches!(work.state, State::Reading(_, Framing::ToEnd, _));
        if ends_so && reason.is_none() {
            self.work = Some(work);
            return self.complete(world);
        }
        // It was closed while the request was on its way: nobody's fault (RFC 9112, 9.3.1).
        if connection.was_used() && work.is_unheard() && !work.again {
            work.again = true;
            world.resent(work.request.url.scheme.transport());
            return match self.ask(work, world) {
                Ok(()) => Progress::Going,
                Err(finding) => Progress::Failed(finding),
            };
        }
        Progress::Failed(lost(&work, reason))
    }

    fn timeout(&mut self, world: &mut World<'_>) -> Progress<Answer> {
        let Some(work) = self.work.take_if(|work| work.deadline <= world.now) else {
            return Progress::Going;
        };
        if matches!(work.state, State::Later) {
            world.resent(work.request.url.scheme.transport());
            return match self.ask(work, world) {
                Ok(()) => Progress::Going,
                Err(finding) => Progress::Failed(finding),
            };
        }
        let (url, quiet) = (&work.request.url, work.request.quiet);
        let waited = match &work.state {
            State::Connecting => "to connect".to_owned(),
            State::Reading(_, _, body) => format!("behind {} bytes", body.bytes()),
            State::Asked(_) | State::Later => "for an answer".to_owned(),
        };
        let evidence = format!("{url}: waited {quiet:?} {waited}");
        self.hang_up(world);
        Progress::Failed(Finding::new(Code::HttpSilent, evidence))
    }
}

impl Step for Client {
    type Made = Answer;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Answer> {
        match input {
            Input::Connected { resumed } => {
                self.connected(resumed, world);
                Progress::Going
            }
            Input::Stream(bytes) => self.read(bytes, world),
            Input::Closed => self.gone(None, world),
            Input::Broken(reason) => self.gone(Some(reason), world),
            Input::Timeout => self.timeout(world),
            Input::Dhcp { .. } | Input::Datagram { .. } | Input::Unreachable(_) => Progress::Going,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.work.as_ref().map(|work| work.deadline)
    }
}

fn success(request: Request, head: Head, body: Body, world: &mut World<'_>) -> Progress<Answer> {
    let fetched = body.finish();
    if request.method == Method::Get {
        world.note(Way::Itself, || format!("has {} bytes", fetched.bytes));
        let name = request.url.to_string();
        if let Err(finding) = fetched.book(&name, head.told.as_ref(), world) {
            return Progress::Failed(finding);
        }
    }
    Progress::Done(Answer {
        url: request.url,
        length: head.length,
        kind: head.kind,
        fetched,
    })
}

/// What it means that the connection went.
fn lost(work: &Work, reason: Option<&str>) -> Finding {
    let (code, how) = match (&work.state, reason) {
        (State::Connecting, Some(reason)) if reason.starts_with(TLS) => {
            (Code::TlsRefused, "no TLS".to_owned())
        }
        (State::Connecting, _) => (Code::HttpRefused, "no connection".to_owned()),
        (State::Reading(head, _, body), _) => {
            let promised = head
                .length
                .map_or_else(String::new, |all| format!(" of {all}"));
            let how = format!("ended behind {}{promised} bytes", body.bytes());
            match reason {
                Some(_) => (Code::HttpReset, how),
                None => (Code::HttpShortBody, how),
            }
        }
        (State::Asked(_) | State::Later, Some(_)) => (Code::HttpReset, "no answer".to_owned()),
        (State::Asked(_) | State::Later, None) => {
            (Code::HttpClosedEarly, "closed without an answer".to_owned())
        }
    };
    let url = &work.request.url;
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    Finding::new(code, format!("{url}: {how}{reason}"))
}
