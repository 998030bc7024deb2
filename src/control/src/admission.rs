//! How many machines are fed at a time: the scripts ask, the data plane knows.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

/// Whose turn it is to be fed, where that is limited.
pub trait Admission: Debug + Send + Sync {
    /// A machine wants to boot. `None` lets it in; whoever waits keeps its place by asking again
    /// within half a minute. Never blocks.
    fn ask(&self, machine: IpAddr) -> Option<Place>;
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub number: usize,
    /// Machines that wait.
    pub of: usize,
    /// How long it will probably take, once that is known.
    pub about: Option<Duration>,
}

/// Everybody is let in.
#[derive(Debug)]
pub(crate) struct Open;

impl Admission for Open {
    fn ask(&self, _: IpAddr) -> Option<Place> {
        None
    }
}

impl Place {
    /// For people: `place 17 of 40, about 3 minutes`.
    pub(crate) fn in_words(self) -> String {
        let Self { number, of, about } = self;
        let minutes = about.map(|about| about.as_secs().div_ceil(60));
        let about = match minutes {
            None => String::new(),
            Some(0 | 1) => ", about a minute".to_owned(),
            Some(minutes) => format!(", about {minutes} minutes"),
        };
        format!("place {number} of {of}{about}")
    }
}
