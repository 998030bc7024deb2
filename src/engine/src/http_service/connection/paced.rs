//! A body under the limits of rates and machines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_telemetry::event::What;

use super::{Connection, Phase};
use crate::driver::Driver;
use crate::http_service::answer::{self, Asked, Origin, Response};
use crate::http_service::shared::Shared;
use crate::limits;
use crate::pacing::{Bucket, Feed, Place, Turn};

/// What a connection is held back by.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Nothing is written before the deadline.
    pub(super) rests: bool,
    /// The rate that the driver was told last.
    rate: Option<u64>,
    bucket: Option<Bucket>,
}

/// A body's part in the limits.
#[derive(Debug, Default)]
pub(in crate::http_service) struct Pace {
    waits: Option<Box<Waits>>,
    feed: Option<Box<Feed>>,
}

/// The machine's turn has not come.
#[derive(Debug)]
struct Waits {
    body: Body,
    asked: Asked,
    until: Instant,
    place: Place,
}

/// What is told of a body once it begins.
#[derive(Debug)]
pub(in crate::http_service) struct Body {
    /// Status of the response.
    pub(in crate::http_service) status: u16,
    /// The file, when it is told as a transfer.
    pub(in crate::http_service) told: Option<Arc<str>>,
    /// Bytes.
    pub(in crate::http_service) size: u64,
}

impl Body {
    /// Begins, or waits in the response for the machine's turn: at most `patience`.
    pub(in crate::http_service) fn admit(
        self,
        response: &mut Response,
        (asked, patience): (Asked, Duration),
        origin: Origin,
        shared: &Shared,
        now: Instant,
    ) {
        if self.size >= limits::QUEUES_FROM
            && let Turn::Later(place) = shared.pacing.ask(origin.peer.ip(), now)
        {
            tell(shared, origin, place);
            response.pace.waits = Some(Box::new(Waits {
                body: self,
                asked,
                until: now + patience,
                place,
            }));
            return;
        }
        self.begin(response, origin, shared, now);
    }

    fn begin(self, response: &mut Response, origin: Origin, shared: &Shared, now: Instant) {
        let metrics = &shared.seams.metrics;
        metrics.http.response(origin.protocol, self.status);
        if let Some(path) = self.told {
            let started = shared.started(origin.peer, origin.protocol, path, self.size, now);
            response.transfer = Some(started);
        }
    }
}

impl Connection {
    /// How much of the file may be written next; `None` when the connection rests, or has something
    /// else to say.
    pub(in crate::http_service) fn portion<D: Driver>(
        &mut self,
        shared: &mut Shared,
        driver: &mut D,
        now: Instant,
    ) -> Option<u64> {
        self.turn(shared, now)?;
        let Phase::Sending(response) = &mut self.phase else {
            return None;
        };
        let rate = rate(response, self.origin, shared, now);
        let held = &mut self.held;
        if rate != held.rate {
            // The bucket keeps the rate; the kernel spreads what it lets go, and must not fall
            // behind.
            driver.pace(self.id, rate.map(|rate| rate + rate / 16));
            held.rate = rate;
        }
        let Some(rate) = rate else {
            held.bucket = None;
            return Some(limits::HTTP_PIECE);
        };
        let bucket = held.bucket.get_or_insert(Bucket::new(now));
        let piece = (rate / PIECES_A_SECOND).clamp(PIECE_MIN, limits::HTTP_PIECE);
        let (pieces, next) = bucket.allowance(rate, piece, now);
        if pieces == 0 {
            self.rest(next);
            return None;
        }
        bucket.take(piece, rate);
        Some(piece)
    }

    /// `None` when it is not the machine's turn: the connection rests until the next look, or says
    /// that it took too long.
    fn turn(&mut self, shared: &mut Shared, now: Instant) -> Option<()> {
        let origin = self.origin;
        let Phase::Sending(response) = &mut self.phase else {
            return None;
        };
        let Some(mut waits) = response.pace.waits.take() else {
            return Some(());
        };
        match shared.pacing.ask(origin.peer.ip(), now) {
            Turn::Now => {
                waits.body.begin(response, origin, shared, now);
                self.patience(now, limits::HTTP_STALL);
                return Some(());
            }
            Turn::Later(place) if now < waits.until => {
                if place.number != waits.place.number {
                    tell(shared, origin, place);
                }
                waits.place = place;
                let next = waits.until.min(now + LOOK);
                response.pace.waits = Some(waits);
                self.rest(next);
            }
            Turn::Later(place) => {
                let refusal = answer::queued(shared, origin, waits.asked, place);
                self.send(refusal, now);
            }
        }
        None
    }

    /// Its rest is over, if it rests.
    pub(super) fn rested(&mut self, now: Instant) -> bool {
        let rested = std::mem::take(&mut self.held.rests);
        if rested {
            self.patience(now, limits::HTTP_STALL);
        }
        rested
    }

    fn rest(&mut self, until: Instant) {
        self.held.rests = true;
        self.deadline = until;
    }
}

/// A paced body is written in so many pieces a second, so that no more than the kernel sends soon
/// waits in its buffer: the body must not count as ended before it is, and a new rate is kept from
/// the next piece on.
const PIECES_A_SECOND: u64 = 32;
/// Smaller pieces are not worth their cost.
const PIECE_MIN: u64 = 8 * 1024;
/// How often a machine that waits is looked at.
const LOOK: Duration = Duration::from_secs(1);

fn rate(response: &mut Response, origin: Origin, shared: &mut Shared, now: Instant) -> Option<u64> {
    if response.pace.feed.is_none() {
        if !shared.pacing.is_limited() {
            return None;
        }
        let size = response.file.as_ref().map_or(0, |(_, r)| r.end - r.start);
        let local = origin.local.ip().to_canonical();
        let interface = shared.interfaces.with_address(local, now);
        let name = interface.map_or("", |i| &i.name);
        let queues = size >= limits::QUEUES_FROM;
        let feed = shared.pacing.begin(origin.peer.ip(), name, queues, now);
        response.pace.feed = Some(Box::new(feed));
    }
    response.pace.feed.as_mut()?.rate(now)
}

fn tell(shared: &Shared, origin: Origin, place: Place) {
    let (place, of) = (place.number, place.of);
    shared.tell(origin.peer, What::Queued { place, of });
}
