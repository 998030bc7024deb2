//! One connection of the boot endpoint, as a state machine: bytes in, pieces out.

mod cold;
mod handover;
mod paced;
mod pieces;

use std::io::ErrorKind;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use bootstorm_proto::http::{self, BadRequest, BootResponse, Next, ResponseHead};
use bootstorm_telemetry::event::{Protocol, Reason};

use super::Ends;
use super::answer::{self, Asked, Origin, Outcome, Response};
use super::handshakes::Waiting;
use super::shared::Shared;
use crate::driver::{ConnId, Piece};
use crate::handoff::Ticket;
use crate::limits;
use crate::tls::{self, Fed, Stream};
use handover::Sealing;
pub(super) use paced::{Body, Pace};
use pieces::{Writing, plain_piece, sealed_piece};

/// What the service does for a connection next.
#[derive(Debug)]
#[must_use = "the connection waits for it"]
pub(super) enum Step {
    /// Nothing, until something happens or the deadline has come.
    Wait,
    /// Look whether what is written next is in memory, with [`Connection::load`].
    Load,
    /// Ask the kernel to seal, with [`Connection::hand_over`].
    HandOver,
    /// Write this.
    Write(Piece),
    /// End the connection.
    Close,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    id: ConnId,
    origin: Origin,
    /// `None` when bytes are plain, or the kernel makes them so.
    tls: Option<Box<Stream>>,
    /// Its handshake has not had its turn.
    waiting: Option<Box<Waiting>>,
    sealing: Sealing,
    requests: http::Connection,
    phase: Phase,
    writing: Option<Writing>,
    /// What comes next has to be read from the disk first.
    cold: bool,
    held: paced::Held,
    /// The client sends nothing more; it may still read.
    ended: bool,
    deadline: Instant,
    /// The alarm that is set for it.
    pub(super) alarm: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// TLS is being agreed on.
    Handshake,
    /// Between requests, or within one that has not arrived whole.
    Reading,
    /// The control plane thinks.
    Asked(Asked),
    /// A response is on its way.
    Sending(Response),
    /// The last bytes are on their way.
    Farewell,
    /// There is nobody to write to.
    Gone,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(
        id: ConnId,
        protocol: Protocol,
        ends: Ends,
        tls: Option<Stream>,
        worker: u16,
        now: Instant,
    ) -> Self {
        let (phase, patience) = match tls {
            Some(_) => (Phase::Handshake, limits::TLS_HANDSHAKE),
            None => (Phase::Reading, limits::HTTP_REQUEST),
        };
        let ticket = Ticket {
            worker,
            connection: id,
        };
        Self {
            id,
            origin: Origin {
                ticket,
                protocol,
                peer: ends.peer,
                local: ends.local,
            },
            tls: tls.map(Box::new),
            waiting: None,
            sealing: Sealing::default(),
            requests: http::Connection::default(),
            phase,
            writing: None,
            cold: false,
            held: paced::Held::default(),
            ended: false,
            deadline: now + patience,
            alarm: None,
        }
    }

    pub(super) fn id(&self) -> ConnId {
        self.id
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.origin.protocol
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The server is full: says so and ends.
    pub(super) fn turn_away(&mut self, shared: &mut Shared) {
        self.phase = Phase::Sending(answer::full(shared, self.origin));
    }

    /// What arrives is to wait for a turn.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake)
    }

    /// Bytes came that wait for their turn; tells whether the connection is to be queued for it.
    pub(super) fn awaits_turn(&mut self, bytes: &[u8], shared: &Shared, now: Instant) -> bool {
        let queued = self.waiting.is_some();
        let waiting = self.waiting.get_or_insert_with(|| Waiting::new(now).into());
        if !waiting.push(bytes) {
            self.too_much_at_once(shared);
        }
        !queued
    }

    /// The handshake goes on with what arrived. How long that waited is not the client's fault.
    pub(super) fn takes_turn(&mut self, shared: &mut Shared, now: Instant) {
        if let Some(waiting) = self.waiting.take() {
            self.deadline += now.saturating_duration_since(waiting.since);
            self.received(&waiting.bytes, shared, now);
            if let Some(error) = waiting.closed {
                self.closed(error, shared);
            }
        }
    }

    /// Bytes came.
    pub(super) fn received(&mut self, bytes: &[u8], shared: &mut Shared, now: Instant) {
        if matches!(self.phase, Phase::Farewell | Phase::Gone) {
            return;
        }
        let begun = self.requests.is_mid_request();
        let fits = match self.tls.is_some() {
            false => self.requests.push(bytes) == bytes.len(),
            true => self.decrypt(bytes, shared, now),
        };
        if !fits {
            self.too_much_at_once(shared);
        }
        if !begun && matches!(self.phase, Phase::Reading) && self.requests.is_mid_request() {
            self.patience(now, limits::HTTP_REQUEST);
        }
    }

    /// A piece was written as far as `bytes`.
    pub(super) fn written(&mut self, bytes: usize, shared: &mut Shared, now: Instant) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        self.wear(writing.wire);
        if bytes < writing.wire {
            let reason = match &self.phase {
                Phase::Sending(response) if response.is_harmed() => answer::file_changed(),
                _ => client_gone(),
            };
            return self.lost(shared, reason);
        }
        let plain = u64::try_from(writing.plain).unwrap_or(u64::MAX);
        shared.seams.metrics.http.sent(self.origin.protocol, plain);
        let peer = self.origin.peer;
        if let Phase::Sending(response) = &mut self.phase {
            if let Some(transfer) = &mut response.transfer {
                transfer.advanced(shared, peer, writing.body, now);
            }
            self.patience(now, limits::HTTP_STALL);
        }
    }

    /// The peer's side ended or the connection broke.
    pub(super) fn closed(&mut self, error: Option<ErrorKind>, shared: &mut Shared) {
        if let Some(waiting) = &mut self.waiting {
            waiting.closed = Some(error);
            return;
        }
        self.ended = true;
        let cut = |tls: &Stream| tls.cut(error.is_some());
        if let Some(reason) = self.tls.as_deref().and_then(cut) {
            shared.seams.metrics.tls.failed(reason.code);
            self.refused(shared, reason);
            self.phase = Phase::Gone;
        } else if let Some(error) = error {
            self.broken(error, shared);
        } else if matches!(self.phase, Phase::Handshake) {
            self.lost(shared, client_gone());
        }
    }

    /// The control plane answered.
    pub(super) fn answered(&mut self, response: &BootResponse, shared: &mut Shared, now: Instant) {
        if let Phase::Asked(asked) = self.phase {
            let response = answer::reply(shared, self.origin.protocol, asked, response);
            self.send(response, now);
        }
    }

    /// Its deadline has come.
    pub(super) fn timed_out(&mut self, shared: &mut Shared, now: Instant) {
        if self.rested(now) {
            return;
        }
        if let Some(waiting) = &mut self.waiting {
            self.deadline += now.saturating_duration_since(waiting.since);
            waiting.since = now;
            return;
        }
        match &self.phase {
            Phase::Handshake => {
                let reason = tls::timed_out(limits::TLS_HANDSHAKE.as_secs());
                shared.seams.metrics.tls.failed(reason.code);
                self.refused(shared, reason);
                self.phase = Phase::Gone;
            }
            Phase::Reading if self.requests.is_mid_request() => {
                let late = BadRequest::new(
                    408,
                    "http.request-timeout",
                    "the request did not arrive in time",
                );
                self.refuse(&late, shared, now);
            }
            Phase::Asked(asked) => {
                let response = answer::no_answer(shared, self.origin, *asked);
                self.send(response, now);
            }
            // The disk makes it wait, not the client.
            Phase::Sending(_) if self.cold => self.patience(now, limits::HTTP_STALL),
            Phase::Sending(_) => {
                let reason = Reason {
                    code: "http.stalled",
                    text: format!(
                        "the client took nothing for {} s",
                        limits::HTTP_STALL.as_secs()
                    )
                    .into(),
                };
                self.lost(shared, reason);
            }
            Phase::Reading if self.writing.is_none() => self.farewell(now),
            Phase::Reading | Phase::Farewell | Phase::Gone => self.phase = Phase::Gone,
        }
    }

    /// The server stops: idle connections end.
    pub(super) fn drain(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Reading) && !self.requests.is_mid_request() {
            self.farewell(now);
        }
    }

    /// What to do next.
    pub(super) fn step(&mut self, shared: &mut Shared, now: Instant) -> Step {
        if matches!(self.phase, Phase::Gone) {
            return Step::Close;
        }
        if self.writing.is_some() || self.cold || self.held.rests {
            return Step::Wait;
        }
        loop {
            let step = match self.phase {
                Phase::Handshake | Phase::Asked(_) => self.flush(shared).or(Some(Step::Wait)),
                Phase::Reading => self.next_request(shared, now),
                Phase::Sending(_) => self.next_piece(shared, now),
                Phase::Farewell => Some(self.last_words(shared)),
                Phase::Gone => Some(Step::Close),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn patience(&mut self, now: Instant, patience: Duration) {
        self.deadline = now + patience;
    }

    fn send(&mut self, response: Response, now: Instant) {
        self.phase = Phase::Sending(response);
        self.begin_sealing();
        self.patience(now, limits::HTTP_STALL);
    }

    fn farewell(&mut self, now: Instant) {
        self.phase = Phase::Farewell;
        self.patience(now, limits::LINGER);
    }

    fn refused(&self, shared: &Shared, reason: Reason) {
        shared.refused(self.origin.peer, self.origin.protocol, None, reason);
    }

    fn refuse(&mut self, bad: &BadRequest, shared: &mut Shared, now: Instant) {
        let mut bytes = shared.buffer();
        ResponseHead::refusal(&mut bytes, bad, SystemTime::now());
        let metrics = &shared.seams.metrics.http;
        metrics.response(self.origin.protocol, bad.status);
        let reason = Reason {
            code: bad.reason,
            text: bad.text.into(),
        };
        self.refused(shared, reason);
        self.send(Response::of_bytes(bytes, false), now);
    }

    fn too_much_at_once(&mut self, shared: &Shared) {
        let reason = Reason {
            code: "http.too-much-at-once",
            text: "requests were sent faster than responses are read".into(),
        };
        if matches!(self.phase, Phase::Sending(_)) {
            self.lost(shared, reason);
        } else {
            self.refused(shared, reason);
            self.phase = Phase::Gone;
        }
    }

    // There is nobody to send to: a transfer under way is told as broken.
    fn lost(&mut self, shared: &Shared, reason: Reason) {
        if let Phase::Sending(response) = mem::replace(&mut self.phase, Phase::Gone)
            && let Some(transfer) = response.transfer
        {
            transfer.broken(shared, self.origin.peer, reason);
        }
    }

    // Tells whether the plaintext found room.
    fn decrypt(&mut self, bytes: &[u8], shared: &mut Shared, now: Instant) -> bool {
        let Some(tls) = &mut self.tls else {
            return true;
        };
        let mut plaintext = shared.buffer();
        let fed = tls.feed(bytes, &mut plaintext);
        let agreed = matches!(self.phase, Phase::Handshake) && !tls.is_handshaking();
        if agreed && let Some(key_exchange) = tls.key_exchange() {
            shared.seams.metrics.tls.done(key_exchange);
        }
        let fits = self.requests.push(&plaintext) == plaintext.len();
        shared.give_back(plaintext);
        if agreed {
            self.phase = Phase::Reading;
            self.patience(now, limits::HTTP_REQUEST);
        }
        match fed {
            Ok(Fed::Open) => {}
            Ok(Fed::Ended) => self.ended = true,
            Err(reason) => self.tls_failed(reason, shared, now),
        }
        fits
    }

    fn tls_failed(&mut self, reason: Reason, shared: &mut Shared, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            shared.seams.metrics.tls.failed(reason.code);
        }
        if let Phase::Sending(_) = self.phase {
            return self.lost(shared, reason);
        }
        if reason.code == tls::PLAIN_HTTP {
            // It understands no alert.
            self.tls = None;
            let bad = BadRequest::new(400, tls::PLAIN_HTTP, "this port speaks HTTPS");
            let mut bytes = shared.buffer();
            ResponseHead::refusal(&mut bytes, &bad, SystemTime::now());
            self.send(Response::of_bytes(bytes, false), now);
        } else {
            self.farewell(now);
        }
        self.refused(shared, reason);
    }

    // `None` when the phase changed.
    fn next_request(&mut self, shared: &mut Shared, now: Instant) -> Option<Step> {
        if let Some(step) = self.flush(shared) {
            return Some(step);
        }
        let outcome = match self.requests.next() {
            Ok(Next::Wait) if self.ended => {
                self.farewell(now);
                return None;
            }
            Ok(Next::Wait) => return Some(Step::Wait),
            Ok(Next::Continue) => {
                Outcome::Respond(Response::of_bytes(ResponseHead::CONTINUE.to_vec(), true))
            }
            Ok(Next::Request(head, body)) => answer::answer(&head, body, self.origin, shared, now),
            Err(bad) => {
                self.refuse(&bad, shared, now);
                return None;
            }
        };
        match outcome {
            Outcome::Respond(response) => self.send(response, now),
            Outcome::Wait(asked) => {
                self.phase = Phase::Asked(asked);
                self.patience(now, limits::HTTP_ANSWER);
            }
        }
        None
    }

    // `None` when the response is complete and the phase changed.
    fn next_piece(&mut self, shared: &mut Shared, now: Instant) -> Option<Step> {
        if self.wants_kernel() {
            return Some(Step::HandOver);
        }
        if self.is_worn_out() {
            self.lost(shared, tls::worn_out());
            return None;
        }
        let Phase::Sending(response) = &mut self.phase else {
            return None;
        };
        if !response.is_harmed() && response.needs_load() {
            return Some(Step::Load);
        }
        let (piece, writing) = match &mut self.tls {
            None => plain_piece(response),
            Some(tls) => sealed_piece(response, tls, shared),
        };
        // Asked after sealing: what was read of a harmed copy must not leave.
        if response.is_harmed() {
            self.lost(shared, answer::file_changed());
            return None;
        }
        if writing.wire > 0 {
            self.writing = Some(writing);
            return Some(Step::Write(piece));
        }
        let keep_alive = response.keep_alive;
        if let Some(transfer) = response.transfer.take() {
            transfer.finished(shared, self.origin.peer);
        }
        if keep_alive && !shared.draining && self.may_go_on() {
            self.phase = Phase::Reading;
            let next = match self.requests.is_mid_request() {
                true => limits::HTTP_REQUEST,
                false => limits::HTTP_IDLE,
            };
            self.patience(now, next);
        } else {
            self.farewell(now);
        }
        None
    }

    // What TLS itself has to say.
    fn flush(&mut self, shared: &mut Shared) -> Option<Step> {
        let tls = self.tls.as_mut()?;
        let mut bytes = shared.buffer();
        tls.flush(&mut bytes);
        self.write_own(bytes, shared)
    }

    fn last_words(&mut self, shared: &mut Shared) -> Step {
        let said = self.tls.take().and_then(|mut tls| {
            let mut bytes = shared.buffer();
            tls.close(&mut bytes);
            self.write_own(bytes, shared)
        });
        said.unwrap_or(Step::Close)
    }

    fn write_own(&mut self, bytes: Vec<u8>, shared: &mut Shared) -> Option<Step> {
        if bytes.is_empty() {
            shared.give_back(bytes);
            return None;
        }
        self.writing = Some(Writing {
            wire: bytes.len(),
            plain: 0,
            body: 0,
        });
        Some(Step::Write(Piece::Owned(bytes)))
    }
}

fn client_gone() -> Reason {
    Reason {
        code: "http.client-gone",
        text: "the client closed the connection before the end".into(),
    }
}
