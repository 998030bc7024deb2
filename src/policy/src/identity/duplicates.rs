//! Machine GUIDs that more than one machine turns out to have.
//!
//! One machine with two network cards asks with one after the other. Two machines ask at the same
//! time, or show different serial numbers.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bootstorm_proto::dhcp::ClientFacts;
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;
use foldhash::quality::FixedState;

use crate::cache::{Versions, hasher};

/// Machines whose last requests are remembered.
const WATCHED: usize = 1 << 14;
/// Duplicates that are remembered; whoever sends more makes them up.
const DUPLICATES_MAX: usize = 4096;
/// Addresses remembered of each.
const MACS_MAX: usize = 16;
/// How long one counts after it was last seen to be one: somebody may write the machines a GUID.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often it is noted that one still is.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Firmware that has gone on to its next card does not come back to the first within this time: it
/// has to bring up the link and wait for offers in between.
const BETWEEN_CARDS: Duration = Duration::from_secs(3);
/// What the clocks of firmware may be wrong by.
const SLACK: Duration = Duration::from_secs(2);

/// A machine GUID that more than one machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The GUID. It identifies none of them.
    pub guid: MachineGuid,
    /// Addresses that they were seen with.
    pub macs: Vec<MacAddress>,
    /// What told them apart last.
    pub evidence: Evidence,
    /// When they were told apart first.
    pub since: SystemTime,
    /// When they were told apart last.
    pub last: SystemTime,
}

/// How two machines with one GUID were told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// They asked at the same time.
    AskedTogether,
    /// Their serial numbers differ.
    Serials,
}

/// The duplicates that were found, and what the next ones are found by.
#[derive(Debug)]
pub(crate) struct Duplicates {
    watched: Box<[Mutex<Watch>]>,
    hasher: FixedState,
    found: ArcSwap<HashMap<MachineGuid, Arc<Duplicate>>>,
    finding: Mutex<()>,
    versions: Arc<Versions>,
}

/// Who asked with one GUID.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    guid: Option<MachineGuid>,
    /// Who asked last.
    last: Option<Heard>,
    /// Who asked before that, with another address.
    before: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    mac: MacAddress,
    at: SystemTime,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Duplicates {
    pub(crate) fn new(versions: Arc<Versions>) -> Self {
        Self {
            watched: (0..WATCHED).map(|_| Mutex::default()).collect(),
            hasher: hasher(),
            found: ArcSwap::default(),
            finding: Mutex::new(()),
            versions,
        }
    }

    /// Every GUID that more than one machine has.
    pub(crate) fn list(&self) -> Vec<Arc<Duplicate>> {
        let mut list: Vec<_> = self.found.load().values().cloned().collect();
        list.sort_by_key(|duplicate| duplicate.guid);
        list
    }

    /// Why the GUID identifies no machine, if it does not.
    pub(super) fn problem(&self, guid: MachineGuid) -> Option<Reason> {
        let found = self.found.load();
        let duplicate = found.get(&guid)?;
        let macs: Vec<String> = duplicate.macs.iter().map(ToString::to_string).collect();
        let text = format!("{guid} is in more than one machine: {}", macs.join(", "));
        Some(Reason {
            code: "identity.duplicate-guid",
            text: text.into(),
        })
    }

    /// Looks at one request, and says who has its GUID when it shows that two machines do. Called on
    /// the packet path: when another thread is looking at the same GUID, this request goes unseen.
    pub(crate) fn heard(&self, client: &ClientFacts, now: SystemTime) -> Option<[MacAddress; 2]> {
        let (mac, guid) = (client.hardware.mac()?, client.guid?);
        let at = self.hasher.hash_one(guid) % WATCHED as u64;
        let slot = usize::try_from(at).ok().and_then(|at| self.watched.get(at));
        let mut watch = match slot.map(Mutex::try_lock) {
            Some(Ok(watch)) => watch,
            Some(Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
            Some(Err(TryLockError::WouldBlock)) | None => return None,
        };
        let other = watch.heard(guid, Heard { mac, at: now }, client.secs)?;
        Some([other, mac])
    }

    /// Two machines have this GUID.
    pub(crate) fn found(
        &self,
        guid: MachineGuid,
        macs: &[MacAddress],
        evidence: Evidence,
        now: SystemTime,
    ) {
        if let Some(known) = self.found.load().get(&guid)
            && known.says(macs, evidence, now)
        {
            return;
        }
        let _turn = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.found.load());
        all.retain(|_, known| !is_old(known, now));
        let known = all.get(&guid);
        if known.is_none() && all.len() >= DUPLICATES_MAX {
            return;
        }
        let mut duplicate = known.map_or_else(
            || Duplicate {
                guid,
                macs: Vec::new(),
                evidence,
                since: now,
                last: now,
            },
            |known| Duplicate::clone(known),
        );
        duplicate.evidence = evidence;
        duplicate.last = now;
        for mac in macs {
            if !duplicate.macs.contains(mac) && duplicate.macs.len() < MACS_MAX {
                duplicate.macs.push(*mac);
            }
        }
        all.insert(guid, Arc::new(duplicate));
        self.found.store(Arc::new(all));
        self.versions.raise(None, Some(guid));
    }

    /// Drops those that have not been seen for long.
    pub(crate) fn forget_old(&self, now: SystemTime) {
        if self.found.load().values().all(|known| !is_old(known, now)) {
            return;
        }
        let _turn = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.found.load());
        all.retain(|guid, known| {
            let keeps = !is_old(known, now);
            if !keeps {
                self.versions.raise(None, Some(*guid));
            }
            keeps
        });
        self.found.store(Arc::new(all));
    }
}

impl Duplicate {
    /// There is nothing to add: it is all known, and was seen a moment ago.
    fn says(&self, macs: &[MacAddress], evidence: Evidence, now: SystemTime) -> bool {
        let age = now.duration_since(self.last).unwrap_or_default();
        let has_room = self.macs.len() < MACS_MAX;
        age < NOTED_EVERY
            && self.evidence == evidence
            && (!has_room || macs.iter().all(|mac| self.macs.contains(mac)))
    }
}

fn is_old(duplicate: &Duplicate, now: SystemTime) -> bool {
    let age = now.duration_since(duplicate.last).unwrap_or_default();
    age >= FORGOTTEN_AFTER
}

impl Watch {
    /// The other machine's address, when `now` shows that there are two.
    fn heard(&mut self, guid: MachineGuid, now: Heard, secs: u16) -> Option<MacAddress> {
        if self.guid != Some(guid) {
            *self = Self {
                guid: Some(guid),
                last: Some(now),
                before: None,
            };
            return None;
        }
        let last = self.last.replace(now).filter(|last| last.mac != now.mac)?;
        let before = self.before.replace(last);
        let since = |heard: Heard| now.at.duration_since(heard.at).unwrap_or_default();
        // It had been asking for so long when the other was heard.
        let asked = Duration::from_secs(secs.into());
        let began_before = asked > since(last) + SLACK;
        let is_back = before.is_some_and(|b| b.mac == now.mac && since(b) < BETWEEN_CARDS);
        (began_before || is_back).then_some(last.mac)
    }
}

#[cfg(test)]
mod tests;
