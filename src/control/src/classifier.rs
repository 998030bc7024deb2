//! The packet classifier, as the web service sees it: one half runs in the kernel, the other in the
//! data plane, and the server puts both behind [`Classifier`].

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bootstorm_ebpf_shared::{Count, Sample, Table};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::Reason;
use bootstorm_telemetry::metrics::Place;

/// Dropped packets that are kept to be looked at.
pub const DROPPED_MAX: usize = 64;

/// What runs, what it decides by, and what it did. Never blocks for long.
pub trait Classifier: Debug + Send + Sync {
    /// The interfaces, and how packets are sorted there.
    fn attachments(&self) -> Vec<Attachment>;
    /// Why other rules hold than those of a host of its own, a line each.
    fn notes(&self) -> Vec<String>;
    /// The rules in force.
    fn table(&self) -> Table;
    /// Totals since the start, in the order of [`counter`](bootstorm_ebpf_shared::counter); empty
    /// where nothing counts.
    fn counts(&self, place: Place) -> Vec<Count>;
    /// Dropped packets of late, oldest first.
    fn dropped(&self) -> Vec<Dropped>;
    /// How one machine stands.
    fn standing(&self, mac: MacAddress) -> Standing;
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// `native`, `generic`; `none` or, as configured, `off`: the data plane sorts what comes in here.
    pub mode: &'static str,
    /// Why it is `none`, or not `native`.
    pub reason: Option<Reason>,
}

/// A packet that the kernel's half dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Counts up by one; the first of this run is 1.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// Name of the interface.
    pub interface: String,
    /// What the kernel shows of it.
    pub sample: Sample,
}

/// How one machine stands with the classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It has booted here before, or somebody named it: it pays out of a bucket of its own.
    pub is_known: bool,
    /// It is banned by its MAC.
    pub is_banned: bool,
    /// Packets of it that found a bucket empty since the start, as far as that is remembered.
    pub refused: u64,
}

/// Dropped packets of late. The oldest of the cause that is kept most often makes room: a flood
/// drives out itself.
#[derive(Debug, Default)]
pub struct RecentlyDropped {
    kept: Mutex<(u64, VecDeque<Dropped>)>,
}

impl RecentlyDropped {
    /// Keeps one.
    pub fn keep(&self, at: SystemTime, interface: String, sample: Sample) {
        let mut kept = self.kept();
        let (number, dropped) = &mut *kept;
        *number += 1;
        if dropped.len() == DROPPED_MAX {
            make_room(dropped);
        }
        dropped.push_back(Dropped {
            number: *number,
            at,
            interface,
            sample,
        });
    }

    /// Those that are kept, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Dropped> {
        self.kept().1.iter().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, (u64, VecDeque<Dropped>)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(dropped: &mut VecDeque<Dropped>) {
    let times = |cause| dropped.iter().filter(|d| d.sample.cause == cause).count();
    let causes = dropped.iter().map(|d| d.sample.cause);
    let Some(most) = causes.max_by_key(|cause| times(*cause)) else {
        return;
    };
    let oldest = dropped.iter().position(|d| d.sample.cause == most);
    oldest.and_then(|at| dropped.remove(at));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cause: u8) -> Sample {
        Sample {
            at: 0,
            interface: 1,
            length: 60,
            captured: 60,
            class: 0,
            cause,
            mac: [0; 6],
            head: [0; bootstorm_ebpf_shared::HEAD],
        }
    }

    #[test]
    fn a_flood_makes_room_for_itself_and_numbers_go_on() {
        let recent = RecentlyDropped::default();
        let keep = |cause| recent.keep(SystemTime::UNIX_EPOCH, "eth0".to_owned(), sample(cause));
        keep(7);
        for _ in 0..DROPPED_MAX + 3 {
            keep(2);
        }
        keep(4);
        let all = recent.all();
        assert_eq!(all.len(), DROPPED_MAX);
        let shown = |at: usize| (all[at].number, all[at].sample.cause);
        assert_eq!(shown(0), (1, 7));
        assert_eq!(shown(1), (7, 2));
        assert_eq!(shown(DROPPED_MAX - 1), (DROPPED_MAX as u64 + 5, 4));
    }
}
