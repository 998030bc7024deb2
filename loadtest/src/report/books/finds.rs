//! Findings by code: how often, with how many machines, and the first one in full.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::super::times::seconds_of;
use super::super::{Example, Found, Latest, Line};
use crate::finding::{Code, Finding};
use crate::machine::identity::Identity;
use crate::machine::trace::Trace;

/// Kinds of findings that the live view may show.
const RECENT_MAX: usize = 12;

/// Findings, or failures.
#[derive(Debug, Default)]
pub(super) struct Finds(BTreeMap<Code, Entry>);

#[derive(Debug)]
struct Entry {
    count: u64,
    machines: HashSet<u32>,
    example: Example,
}

/// Where and when something was seen.
pub(super) struct Seen<'a> {
    machine: Option<(&'a Identity, &'a Trace)>,
    elapsed: Duration,
}

/// The last kinds of findings and failures, newest last, with the newest of each.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Latest>);

impl Finds {
    pub(super) fn add(&mut self, finding: Finding, seen: Seen<'_>) {
        let index = seen.machine.map(|(who, _)| who.index);
        let entry = self.0.entry(finding.code).or_insert_with(|| Entry {
            count: 0,
            machines: HashSet::new(),
            example: seen.example(finding.evidence),
        });
        entry.count += 1;
        entry.machines.extend(index);
    }

    /// By code, most first.
    pub(super) fn counts(&self) -> Vec<(Code, u64)> {
        let counted = self.0.iter().map(|(code, entry)| (*code, entry.count));
        let mut counts: Vec<(Code, u64)> = counted.collect();
        counts.sort_by_key(|(code, count)| (u64::MAX - count, *code));
        counts
    }

    /// In full, most first.
    pub(super) fn close(mut self) -> Vec<Found> {
        let counts = self.counts();
        let found = counts.into_iter().filter_map(|(code, count)| {
            let entry = self.0.remove(&code)?;
            Some(Found {
                code: code.name().to_owned(),
                meaning: code.meaning().to_owned(),
                count,
                machines: u32::try_from(entry.machines.len()).unwrap_or(u32::MAX),
                example: entry.example,
            })
        });
        found.collect()
    }
}

impl<'a> Seen<'a> {
    /// With a machine.
    pub(super) const fn machine(who: &'a Identity, trace: &'a Trace, elapsed: Duration) -> Self {
        Self {
            machine: Some((who, trace)),
            elapsed,
        }
    }

    /// With this program itself.
    pub(super) const fn harness(elapsed: Duration) -> Self {
        Self {
            machine: None,
            elapsed,
        }
    }

    fn example(&self, evidence: String) -> Example {
        let mut example = Example {
            at_s: seconds_of(self.elapsed),
            evidence,
            ..Example::default()
        };
        if let Some((who, trace)) = self.machine {
            example.mac = Some(who.mac.to_string());
            example.profile = Some(who.profile);
            example.forgotten = trace.forgotten();
            let lines = trace.lines().map(|(since, way, text)| Line {
                at_s: seconds_of(since),
                way,
                text: text.to_owned(),
            });
            example.trace = lines.collect();
        }
        example
    }
}

impl Recent {
    pub(super) fn add(
        &mut self,
        who: &Identity,
        finding: &Finding,
        failure: bool,
        elapsed: Duration,
    ) {
        let same = |latest: &Latest| (latest.code, latest.failure) == (finding.code, failure);
        let before = self.0.iter().position(same);
        let before = before.and_then(|place| self.0.remove(place));
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Latest {
            at: seconds_of(elapsed),
            code: finding.code,
            failure,
            mac: who.mac.to_string(),
            evidence: finding.evidence.clone(),
            times: before.map_or(0, |latest| latest.times) + 1,
        });
    }

    pub(super) fn list(&self) -> Vec<Latest> {
        self.0.iter().cloned().collect()
    }
}
