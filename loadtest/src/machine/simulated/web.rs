//! A web server and a clock for the tests of what a machine does over HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::SERVER;
use crate::finding::{Code, Finding};
use crate::machine::event::{Event, File, Phase};
use crate::machine::identity::Identity;
use crate::machine::io::{Input, Life, Output, Progress, Step, World};
use crate::machine::plan::Plan;
use crate::machine::profile::Profile;
use crate::machine::trace::Trace;

/// Inputs after which a test is taken to hang.
const TURNS_MAX: usize = 200_000;

/// A machine's surroundings.
#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) begun: Instant,
    pub(crate) now: Instant,
    pub(crate) plan: Plan,
    pub(crate) identity: Identity,
    /// What the machine sent over its streams, request by request.
    pub(crate) requests: Vec<String>,
    /// Where it connected to: port, and name with TLS.
    pub(crate) connects: Vec<(u16, Option<String>)>,
    pub(crate) events: Vec<Event>,
    /// What became of other machines' files.
    pub(crate) others: Vec<(u32, Event)>,
    /// Bytes that the server sends at once.
    pub(crate) piece: usize,
    life: Life,
    trace: Trace,
    out: Vec<Output>,
}

/// What the server does when a request has come.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this and closes the connection.
    Last(Vec<u8>),
    /// Breaks the connection behind this.
    Break(Vec<u8>, &'static str),
    /// Does nothing.
    Nothing,
}

enum Happens {
    Connected,
    Stream(Vec<u8>),
    Closed,
    Broken(&'static str),
}

impl Sim {
    /// Around a machine of this profile.
    pub(crate) fn new(profile: Profile) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            now,
            plan: Plan {
                hosts: BTreeMap::from([("boot.example".to_owned(), SERVER)]),
                reports: true,
                ..super::plan()
            },
            identity: Identity::new(7, profile),
            requests: Vec::new(),
            connects: Vec::new(),
            events: Vec::new(),
            others: Vec::new(),
            piece: usize::MAX,
            life: Life::default(),
            trace: Trace::default(),
            out: Vec::new(),
        }
    }

    /// What a step sees.
    pub(crate) fn world(&mut self) -> World<'_> {
        World {
            now: self.now,
            identity: &self.identity,
            address: Ipv4Addr::new(10, 99, 8, 8),
            plan: &self.plan,
            life: &mut self.life,
            trace: &mut self.trace,
            out: &mut self.out,
        }
    }

    /// Plays a step to its end against a server that answers requests.
    pub(crate) fn play<S: Step>(
        &mut self,
        step: &mut S,
        mut server: impl FnMut(&str) -> Reply,
    ) -> Result<S::Made, Finding> {
        let mut queue = VecDeque::new();
        for _ in 0..TURNS_MAX {
            self.serve(&mut queue, &mut server);
            let happens = queue.pop_front();
            let input = match &happens {
                Some(Happens::Connected) => Input::Connected { resumed: false },
                Some(Happens::Stream(bytes)) => Input::Stream(bytes),
                Some(Happens::Closed) => Input::Closed,
                Some(Happens::Broken(reason)) => Input::Broken(reason),
                None => {
                    let deadline = step.deadline().expect("it waits for nothing");
                    self.now = self.now.max(deadline);
                    Input::Timeout
                }
            };
            let progress = step.handle(input, &mut self.world());
            match progress {
                Progress::Going => {}
                Progress::Done(made) => {
                    self.serve(&mut queue, &mut server);
                    return Ok(made);
                }
                Progress::Failed(finding) => {
                    self.serve(&mut queue, &mut server);
                    return Err(finding);
                }
            }
        }
        panic!("it goes round and round");
    }

    fn serve(&mut self, queue: &mut VecDeque<Happens>, server: &mut impl FnMut(&str) -> Reply) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::EventOf(machine, event) => self.others.push((machine, event)),
                Output::Connect(to, name) => {
                    assert_eq!(*to.ip(), SERVER);
                    self.connects.push((to.port(), name));
                    queue.clear();
                    queue.push_back(Happens::Connected);
                }
                Output::Disconnect => queue.clear(),
                Output::Write(bytes) => {
                    let request = String::from_utf8(bytes).expect("a request is text");
                    let (bytes, end) = match server(&request) {
                        Reply::Send(bytes) => (bytes, None),
                        Reply::Last(bytes) => (bytes, Some(Happens::Closed)),
                        Reply::Break(bytes, reason) => (bytes, Some(Happens::Broken(reason))),
                        Reply::Nothing => (Vec::new(), None),
                    };
                    self.requests.push(request);
                    let pieces = bytes.chunks(self.piece.min(bytes.len().max(1)));
                    queue.extend(pieces.map(|piece| Happens::Stream(piece.to_vec())));
                    queue.extend(end);
                }
                other => panic!("not of HTTP: {other:?}"),
            }
        }
    }

    /// Takes what a step wanted that speaks with no server.
    pub(crate) fn take_out(&mut self) {
        self.serve(&mut VecDeque::new(), &mut |_| Reply::Nothing);
    }

    /// How long the play took.
    pub(crate) fn took(&self) -> Duration {
        self.now - self.begun
    }

    /// The targets that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<&str> {
        let targets = self.requests.iter().map(|request| {
            let mut words = request.split(' ');
            words.nth(1).expect("a request has a target")
        });
        targets.collect()
    }

    /// The deviations that were booked.
    pub(crate) fn found(&self) -> Vec<Code> {
        let events = self.events.iter().filter_map(|event| match event {
            Event::Deviation(finding) => Some(finding.code),
            _ => None,
        });
        events.collect()
    }

    /// The phases that were reached.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        let events = self.events.iter().filter_map(|event| match event {
            Event::Reached(phase) => Some(*phase),
            _ => None,
        });
        events.collect()
    }

    /// The files that were fetched.
    pub(crate) fn files(&self) -> Vec<&File> {
        let events = self.events.iter().filter_map(|event| match event {
            Event::Fetched(file) => Some(file),
            _ => None,
        });
        events.collect()
    }
}

/// An answer with a length.
pub(crate) fn ok(body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    Reply::Send([head.as_bytes(), body].concat())
}

/// An answer without a body.
pub(crate) fn status(status: u16, fields: &str) -> Reply {
    let head = format!("HTTP/1.1 {status} Text\r\nContent-Length: 0\r\n{fields}\r\n");
    Reply::Send(head.into_bytes())
}
