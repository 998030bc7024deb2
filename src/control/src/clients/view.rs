//! Machines as the API shows them. Field names are documented in docs/reference/api.md and stay.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::client::{Client, Travel, asker_name};
use super::timeline::Step;

/// One machine in a list or a stream.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    mac: Option<String>,
    addresses: Vec<String>,
    guid: Option<String>,
    arch: Option<u16>,
    arch_name: Option<&'static str>,
    asker: Option<&'static str>,
    relay: Option<String>,
    phase: &'static str,
    phase_since: Timestamp,
    first_seen: Timestamp,
    last_seen: Timestamp,
    boots: u32,
    offered: Option<String>,
    entry: Option<String>,
    bytes: u64,
    resent_bytes: u64,
    rate: u64,
    stalled: bool,
    transfers: Vec<Transfer>,
    reason: Option<Why>,
}

/// One machine with its history.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    summary: Summary,
    timeline: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
struct Transfer {
    file: String,
    protocol: &'static str,
    size: u64,
    bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Why {
    code: &'static str,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    at: Timestamp,
    kind: &'static str,
    code: Option<&'static str>,
    text: String,
    times: u32,
}

/// A transfer that did not move for this long stalls.
const STALLED: Duration = Duration::from_secs(5);

impl Summary {
    /// The machine at this moment.
    #[must_use]
    pub fn of(client: &Client, now: SystemTime) -> Self {
        let rests = |t: &Travel| now.duration_since(t.moved).unwrap_or_default() > STALLED;
        let stalled = !client.travels.is_empty() && client.travels.iter().all(rests);
        Self {
            mac: client.mac.map(|m| m.to_string()),
            addresses: client.addresses.iter().map(ToString::to_string).collect(),
            guid: client.guid.map(|g| g.to_string()),
            arch: client.arch.map(|a| a.0),
            arch_name: client.arch.map(|a| a.name()),
            asker: client.asker.map(asker_name),
            relay: client.relay.map(|r| r.to_string()),
            phase: client.phase.name(),
            phase_since: time(client.phase_since),
            first_seen: time(client.first_seen),
            last_seen: time(client.last_seen),
            boots: client.boots,
            offered: client.offered.as_deref().map(str::to_owned),
            entry: client.entry.as_deref().map(str::to_owned),
            bytes: client.bytes,
            resent_bytes: client.resent,
            rate: if stalled { 0 } else { client.rate },
            stalled,
            transfers: client.travels.iter().map(Transfer::of).collect(),
            reason: client.reason.as_ref().map(|r| Why {
                code: r.code,
                text: r.text.to_string(),
            }),
        }
    }
}

impl Detail {
    /// The machine at this moment.
    #[must_use]
    pub fn of(client: &Client, now: SystemTime) -> Self {
        Self {
            summary: Summary::of(client, now),
            timeline: client.timeline.iter().map(Line::of).collect(),
        }
    }
}

impl Transfer {
    fn of(travel: &Travel) -> Self {
        Self {
            file: travel.file.to_string(),
            protocol: travel.protocol.name(),
            size: travel.size,
            bytes: travel.bytes,
        }
    }
}

impl Line {
    fn of(step: &Step) -> Self {
        Self {
            at: time(step.at),
            kind: step.kind,
            code: step.code,
            text: step.text.clone(),
            times: step.times,
        }
    }
}

/// Times outside of what can be written stand as 1970.
fn time(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}
