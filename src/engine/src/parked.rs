//! Requests that wait for a decision which is made elsewhere: by people, a program, a service.
//!
//! A worker never waits itself. It keeps the request, asks, and answers the machine when the
//! decision is there. What it keeps is bounded in number and time: firmware asks again anyhow.

use std::collections::VecDeque;
use std::time::Instant;

use bootstorm_proto::dhcp::{ClientFacts, Request, v6};
use bootstorm_proto::types::HardwareAddress;
use bootstorm_telemetry::metrics::Gauge;

use crate::dhcp_service::{Asked, Way};
use crate::limits;

/// The requests of one worker.
#[derive(Debug)]
pub(crate) struct Parked {
    /// In order of arrival: the numbers rise, and so do the ends.
    places: VecDeque<Place>,
    next: u64,
    gauge: Gauge,
}

/// A request, and the way back to the machine.
pub(crate) struct Held<R: ?Sized = dyn Asked> {
    pub(crate) way: Way,
    pub(crate) request: R,
}

struct Place {
    number: u64,
    until: Instant,
    hardware: HardwareAddress,
    held: Box<Held>,
}

impl Parked {
    /// Nobody waits. `gauge` counts those who do, in all workers.
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self {
            places: VecDeque::new(),
            next: 0,
            gauge,
        }
    }

    /// The number that the next request gets; no two ever have the same.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= limits::PARKED
    }

    /// Keeps a request as [`Parked::next_number`]. The caller makes room first.
    pub(crate) fn push(&mut self, held: Box<Held>, now: Instant) {
        self.places.push_back(Place {
            number: self.next,
            until: now + limits::PARKED_FOR,
            hardware: held.request.facts().hardware,
            held,
        });
        self.next += 1;
        self.gauge.inc();
    }

    /// Takes the request of that number out, unless it is gone.
    pub(crate) fn take(&mut self, number: u64) -> Option<Box<Held>> {
        let found = self.places.binary_search_by_key(&number, |p| p.number);
        self.remove(found.ok()?)
    }

    /// Takes the request out that the same machine sent earlier.
    pub(crate) fn take_of(&mut self, machine: &ClientFacts) -> Option<Box<Held>> {
        let is_its = |place: &Place| {
            // Without a hardware address the client identifier is all that tells machines apart.
            place.hardware == machine.hardware
                && (!place.hardware.bytes().is_empty()
                    || place.held.request.facts().client_id == machine.client_id)
        };
        let found = self.places.iter().position(is_its)?;
        self.remove(found)
    }

    /// Takes the request out that has waited for longest.
    pub(crate) fn take_oldest(&mut self) -> Option<Box<Held>> {
        self.remove(0)
    }

    /// Takes out a request that has waited for as long as it may.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Box<Held>> {
        self.next_timeout().filter(|until| *until <= now)?;
        self.remove(0)
    }

    /// When the oldest has waited for as long as it may.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.places.front().map(|place| place.until)
    }

    /// Nobody is answered any more.
    pub(crate) fn clear(&mut self) {
        while self.take_oldest().is_some() {}
    }

    fn remove(&mut self, index: usize) -> Option<Box<Held>> {
        let place = self.places.remove(index)?;
        self.gauge.dec();
        Some(place.held)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("number", &self.number)
            .field("hardware", &self.hardware)
            .finish_non_exhaustive()
    }
}

// All that wait in a worker take less than 4 MiB.
const _: () = assert!(limits::PARKED * (PLACE + size_of::<Held<Request>>()) < 4 << 20);
const _: () = assert!(limits::PARKED * (PLACE + size_of::<Held<v6::Request>>()) < 4 << 20);

const PLACE: usize = size_of::<Place>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allocated_while_nobody_waits() {
        assert_eq!(Parked::new(Gauge::default()).places.capacity(), 0);
    }
}
