//! The books of a storm while it goes on.

mod files;
mod finds;
mod load;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::files::Ledger;
use self::finds::{Finds, Seen};
use self::load::Load;
use super::series::Series;
use super::times::{Times, jain, rounded, seconds_of};
use super::{
    About, Counts, End, FORMAT, Group, Handshakes, Host, Machines, Report, Snapshot, VERSION,
};
use crate::finding::{Code, Finding};
use crate::machine::event::{Event, Outcome, Phase};
use crate::machine::identity::Identity;
use crate::machine::profile::Profile;
use crate::machine::trace::Trace;

/// What is booked of a storm. Its room is bounded by the number of machines and of codes,
/// whatever servers send.
#[derive(Debug)]
pub(crate) struct Books {
    about: About,
    pub(super) host: Host,
    pub(super) date: jiff::Timestamp,
    begun: Instant,
    machines: Vec<Option<Record>>,
    count: Machines,
    reached: [u32; Phase::ALL.len()],
    bytes: Counts,
    resent: Counts,
    handshakes: Handshakes,
    files: Ledger,
    findings: Finds,
    failures: Finds,
    latest: finds::Recent,
    load: Load,
    series: Series,
    moving: Moving,
}

/// The time in which bytes of files came.
#[derive(Debug, Default)]
struct Moving {
    time: Duration,
    last: Option<Duration>,
}

/// So much of a time without any byte counts: menus wait, and so do the last bytes of a ramp for
/// the next machine.
const PAUSE: Duration = Duration::from_secs(1);

/// Not reached.
const NEVER: u32 = u32::MAX;

/// What is booked of a machine since it was last switched on.
#[derive(Clone, Copy, Debug)]
struct Record {
    profile: Profile,
    state: State,
    /// When it was switched on, in milliseconds since the storm began, as are all here.
    started: u32,
    /// The first byte of the file that is under way; [`NEVER`] between files.
    file: u32,
    /// Of its largest file, and bytes a second of that.
    largest: u64,
    rate: f64,
    /// After `started`; [`NEVER`] for phases that it has not reached.
    reached: [u32; Phase::ALL.len()],
    /// Of this boot, and of those before.
    bytes: u64,
    earlier: u64,
    restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Booted,
    LocalDisk,
    Left,
    Failed,
}

impl Books {
    /// Empty ones, of a storm that begins now.
    pub(crate) fn new(about: About, begun: Instant) -> Self {
        Self {
            about,
            host: Host::here(),
            date: jiff::Timestamp::now(),
            begun,
            machines: Vec::new(),
            count: Machines::default(),
            reached: [0; Phase::ALL.len()],
            bytes: Counts::default(),
            resent: Counts::default(),
            handshakes: Handshakes::default(),
            files: Ledger::default(),
            findings: Finds::default(),
            failures: Finds::default(),
            latest: finds::Recent::default(),
            load: Load::default(),
            series: Series::default(),
            moving: Moving::default(),
        }
    }

    /// Books what a machine lived through; `trace` has its last packets.
    pub(crate) fn book(&mut self, who: &Identity, event: Event, trace: &Trace, now: Instant) {
        let elapsed = now.saturating_duration_since(self.begun);
        match event {
            Event::PoweredOn => self.powered_on(who, elapsed),
            Event::Reached(phase) => self.reached(who, phase, elapsed),
            Event::Received(over, bytes) => {
                *self.bytes.of(over) += bytes;
                self.series.at(elapsed).bytes(over, bytes);
                self.moving.add(elapsed);
                if let Some(record) = self.record(who) {
                    record.bytes += bytes;
                    record.file = record.file.min(millis(elapsed));
                }
            }
            Event::Resent(over) => *self.resent.of(over) += 1,
            Event::Handshake { resumed: false } => self.handshakes.full += 1,
            Event::Handshake { resumed: true } => self.handshakes.resumed += 1,
            Event::Fetched(file) => {
                if let Some(record) = self.record(who) {
                    record.fetched(file.bytes, millis(elapsed));
                }
                if let Some(other) = self.files.add(file) {
                    self.found(who, other, trace, elapsed);
                }
            }
            Event::Verified => self.files.verified(),
            Event::Deviation(finding) => self.found(who, finding, trace, elapsed),
            Event::Ended(outcome) => self.ended(who, outcome, trace, elapsed),
        }
    }

    /// Books processor time, each counted from the storm's beginning; some four times a second.
    pub(crate) fn usage(&mut self, now: Instant, own: Duration, server: Option<Duration>) {
        let elapsed = now.saturating_duration_since(self.begun);
        self.load.add(elapsed, own, server);
    }

    /// Books a finding that belongs to no machine.
    pub(crate) fn harness(&mut self, finding: Finding, now: Instant) {
        let elapsed = now.saturating_duration_since(self.begun);
        self.findings.add(finding, Seen::harness(elapsed));
    }

    /// How it stands.
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let levels = Phase::ALL.into_iter().zip(self.reached);
        Snapshot {
            name: self.about.name.clone(),
            total: self.about.machines,
            elapsed: seconds_of(now.saturating_duration_since(self.begun)),
            machines: self.count,
            reached: levels.collect(),
            bytes: self.bytes,
            resent: self.resent,
            handshakes: self.handshakes,
            failures: self.failures.counts(),
            findings: self.findings.counts(),
            latest: self.latest.list(),
            own_cpu: self.load.own().as_secs_f64(),
            server_cpu: self.load.server().map(|time| time.as_secs_f64()),
        }
    }

    /// Closes the books.
    pub(crate) fn close(mut self, now: Instant, end: End) -> Report {
        let elapsed = now.saturating_duration_since(self.begun);
        let cpu = self.load.cpu(elapsed, self.bytes.sum());
        if let Some(evidence) = load::bottleneck(&cpu, elapsed) {
            self.harness(Finding::new(Code::HarnessBottleneck, evidence), now);
        }
        let moving = u64::try_from(self.moving.time.as_millis()).unwrap_or(u64::MAX);
        let records: Vec<&Record> = self.machines.iter().flatten().collect();
        let mut profiles: BTreeMap<Profile, Vec<&Record>> = BTreeMap::new();
        for record in &records {
            profiles.entry(record.profile).or_default().push(record);
        }
        Report {
            format: FORMAT.to_owned(),
            version: VERSION,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            begun: self.date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: self.host,
            scenario: self.about,
            end,
            seconds: seconds_of(elapsed),
            all: group(&records),
            bytes_by_transport: self.bytes,
            bytes_per_s: per_second(self.bytes.sum(), moving),
            resent: self.resent,
            handshakes: self.handshakes,
            files: self.files.close(),
            cpu,
            profiles: profiles
                .into_iter()
                .map(|(profile, records)| (profile, group(&records)))
                .collect(),
            findings: self.findings.close(),
            failures: self.failures.close(),
            beside: Vec::new(),
            limits: Vec::new(),
            course: self.series.course(elapsed),
        }
    }

    fn record(&mut self, who: &Identity) -> Option<&mut Record> {
        self.machines.get_mut(who.index as usize)?.as_mut()
    }

    fn powered_on(&mut self, who: &Identity, elapsed: Duration) {
        let place = who.index as usize;
        if place >= self.machines.len() {
            self.machines.resize(place + 1, None);
        }
        let mut record = Record::new(who.profile, millis(elapsed));
        if let Some(before) = self.machines[place] {
            record.earlier = before.earlier + before.bytes;
            record.restarts = before.restarts + 1;
            self.count.restarts += 1;
            *self.state(before.state) -= 1;
            let bucket = self.series.at(elapsed);
            let levels = self.reached.iter_mut().zip(&mut bucket.reached);
            for ((level, change), reached) in levels.zip(before.reached) {
                if reached != NEVER {
                    *level -= 1;
                    *change -= 1;
                }
            }
            if before.state == State::Failed {
                bucket.failed -= 1;
            }
        } else {
            self.count.started += 1;
            self.series.at(elapsed).started += 1;
        }
        self.count.under_way += 1;
        self.machines[place] = Some(record);
    }

    fn reached(&mut self, who: &Identity, phase: Phase, elapsed: Duration) {
        let place = phase as usize;
        let Some(record) = self.record(who) else {
            return;
        };
        let since = millis(elapsed).saturating_sub(record.started);
        if record.reached[place] != NEVER {
            return;
        }
        record.reached[place] = since;
        self.reached[place] += 1;
        self.series.at(elapsed).reached[place] += 1;
    }

    fn ended(&mut self, who: &Identity, outcome: Outcome, trace: &Trace, elapsed: Duration) {
        let state = match outcome {
            Outcome::Booted => State::Booted,
            Outcome::LocalDisk => State::LocalDisk,
            Outcome::Left => State::Left,
            Outcome::Failed(finding) => {
                self.series.at(elapsed).failed += 1;
                self.latest.add(who, &finding, true, elapsed);
                self.failures
                    .add(finding, Seen::machine(who, trace, elapsed));
                State::Failed
            }
        };
        let Some(record) = self.record(who) else {
            return;
        };
        let before = std::mem::replace(&mut record.state, state);
        *self.state(before) -= 1;
        *self.state(state) += 1;
    }

    fn found(&mut self, who: &Identity, finding: Finding, trace: &Trace, elapsed: Duration) {
        self.latest.add(who, &finding, false, elapsed);
        self.findings
            .add(finding, Seen::machine(who, trace, elapsed));
    }

    const fn state(&mut self, state: State) -> &mut u32 {
        match state {
            State::UnderWay => &mut self.count.under_way,
            State::Booted => &mut self.count.booted,
            State::LocalDisk => &mut self.count.local_disk,
            State::Left => &mut self.count.left,
            State::Failed => &mut self.count.failed,
        }
    }
}

impl Record {
    const fn new(profile: Profile, started: u32) -> Self {
        Self {
            profile,
            state: State::UnderWay,
            started,
            file: NEVER,
            largest: 0,
            rate: 0.0,
            reached: [NEVER; Phase::ALL.len()],
            bytes: 0,
            earlier: 0,
            restarts: 0,
        }
    }

    fn fetched(&mut self, bytes: u64, at: u32) {
        let begun = std::mem::replace(&mut self.file, NEVER);
        if bytes > self.largest && begun != NEVER {
            self.largest = bytes;
            self.rate = per_second(bytes, at.saturating_sub(begun).into());
        }
    }
}

impl Moving {
    fn add(&mut self, at: Duration) {
        let gap = self
            .last
            .map_or(Duration::ZERO, |last| at.saturating_sub(last));
        self.time += gap.min(PAUSE);
        self.last = Some(at);
    }
}

fn group(records: &[&Record]) -> Group {
    let mut machines = Machines::default();
    for record in records {
        machines.started += 1;
        machines.restarts += record.restarts;
        *match record.state {
            State::UnderWay => &mut machines.under_way,
            State::Booted => &mut machines.booted,
            State::LocalDisk => &mut machines.local_disk,
            State::Left => &mut machines.left,
            State::Failed => &mut machines.failed,
        } += 1;
    }
    let fetched = records
        .iter()
        .filter(|record| record.state == State::Booted && record.largest > 0);
    let rates: Vec<f64> = fetched.map(|record| record.rate).collect();
    let phases = Phase::ALL.into_iter().filter_map(|phase| {
        let reached = records.iter().map(|record| record.reached[phase as usize]);
        let times = Times::of(reached.filter(|millis| *millis != NEVER).collect())?;
        Some((phase, times))
    });
    Group {
        machines,
        bytes: records
            .iter()
            .map(|record| record.earlier + record.bytes)
            .sum(),
        jain: jain(&rates),
        phases: phases.collect(),
    }
}

fn per_second(bytes: u64, millis: u64) -> f64 {
    rounded(bytes as f64 / millis.max(1) as f64 * 1e3, 1.0)
}

fn millis(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests;
