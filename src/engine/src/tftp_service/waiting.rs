//! Requests for files that somebody has yet to make.
//!
//! A worker never waits itself: it keeps the request, asks, and begins the transfer when the file is
//! there. Each address has one such request at a time, which waits for seconds.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::driver::{Arrival, SocketId};
use crate::limits;

/// The requests of one worker.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// In order of arrival: the numbers rise, and so do the ends.
    places: VecDeque<Place>,
    by_client: HashMap<IpAddr, u64>,
    next: u64,
}

/// A request, and the way back to the machine.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) socket: SocketId,
    pub(super) arrival: Arrival,
    pub(super) request: Box<[u8]>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    until: Instant,
    held: Held,
}

impl Waiting {
    /// The number that the next request gets; no two ever have the same.
    pub(super) const fn next_number(&self) -> u64 {
        self.next
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= limits::WAITING_FILES
    }

    /// Whether the client only repeats what it waits for.
    pub(super) fn is_repeated(&self, client: &SocketAddr, request: &[u8]) -> bool {
        let number = self.by_client.get(&client.ip());
        let place = number.and_then(|number| self.places.get(self.index(*number)?));
        place.is_some_and(|place| {
            place.held.arrival.source == *client && *place.held.request == *request
        })
    }

    /// Keeps a request as [`Waiting::next_number`], in the place of an earlier one of its address.
    pub(super) fn push(&mut self, held: Held, now: Instant) {
        let client = held.arrival.source.ip();
        if let Some(earlier) = self.by_client.insert(client, self.next)
            && let Some(index) = self.index(earlier)
        {
            self.places.remove(index);
        }
        self.places.push_back(Place {
            number: self.next,
            until: now + limits::WAITS_FOR_FILE,
            held,
        });
        self.next += 1;
    }

    /// Takes the request of that number out, unless it is gone.
    pub(super) fn take(&mut self, number: u64) -> Option<Held> {
        let place = self.places.remove(self.index(number)?)?;
        self.by_client.remove(&place.held.arrival.source.ip());
        Some(place.held)
    }

    /// Takes out a request that has waited for as long as it may.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Held> {
        let number = self.places.front().filter(|first| first.until <= now)?;
        self.take(number.number)
    }

    /// When the oldest has waited for as long as it may.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.places.front().map(|place| place.until)
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.by_client.clear();
    }

    fn index(&self, number: u64) -> Option<usize> {
        let found = self.places.binary_search_by_key(&number, |p| p.number);
        found.ok()
    }
}

// All that wait in a worker take less than 4 MiB.
const _: () = assert!(limits::WAITING_FILES * (size_of::<Place>() + limits::DATAGRAM) < 4 << 20);
