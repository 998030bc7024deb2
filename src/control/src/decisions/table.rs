//! Decisions by machine, bounded in machines and in bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_policy::{Explanation, Stage};
use bootstorm_proto::dhcp::Asker;
use bootstorm_proto::types::{MacAddress, MachineGuid};
use serde_json::{Value, json};

use super::{Subject, time};

/// Machines whose decisions are kept.
const MACHINES_MAX: usize = 20_000;
/// Decisions kept of one machine.
const PER_MACHINE: usize = 16;
/// Bytes of all of them.
const BYTES_MAX: usize = 32 << 20;
/// Bytes of one: what the machine sent besides what is asked for goes first.
const ONE_MAX: usize = 8 << 10;
/// A decision that is made again within this time is the same one, used again.
const AGAIN: Duration = Duration::from_secs(60);

const _: () = assert!(ONE_MAX * PER_MACHINE < BYTES_MAX);

/// One decision, as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    owner: Subject,
    guid: Option<MachineGuid>,
    address: Option<IpAddr>,
    stage: Stage,
    asker: Option<Asker>,
    /// What makes two decisions the same.
    sense: Arc<str>,
    /// The whole explanation.
    json: Arc<str>,
    at: SystemTime,
    last: SystemTime,
    times: u32,
}

impl Kept {
    pub(super) fn of(explanation: &Explanation) -> Self {
        let facts = &explanation.facts;
        let mut json = explanation.to_json();
        json["at"] = time(explanation.at).into();
        let sense = sense(&json);
        Self {
            owner: owner(facts.mac, facts.guid, facts.address),
            guid: facts.guid,
            address: facts.address,
            stage: facts.stage,
            asker: facts.asker,
            sense: sense.into(),
            json: bounded(json).into(),
            at: explanation.at,
            last: explanation.at,
            times: 1,
        }
    }

    /// As docs/reference/decisions.md lists it, with how often it was made.
    pub(super) fn to_json(&self) -> Value {
        let mut json: Value = serde_json::from_str(&self.json).unwrap_or_default();
        json["last"] = time(self.last).into();
        json["times"] = self.times.into();
        json
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.json.len() + self.sense.len()
    }

    fn is_again(&self, earlier: &Self) -> bool {
        let since = self.at.duration_since(earlier.last).unwrap_or_default();
        (self.stage, self.asker, &self.sense) == (earlier.stage, earlier.asker, &earlier.sense)
            && since < AGAIN
    }
}

/// A machine that names neither MAC nor GUID is known by its address.
fn owner(mac: Option<MacAddress>, guid: Option<MachineGuid>, address: Option<IpAddr>) -> Subject {
    match (mac, guid) {
        (Some(mac), _) => Subject::Mac(mac),
        (None, Some(guid)) => Subject::Guid(guid),
        (None, None) => Subject::Address(address.unwrap_or(IpAddr::from([0; 4]))),
    }
}

/// Everything but times and how the machine came to ask.
fn sense(json: &Value) -> String {
    let providers = json["providers"].as_array().into_iter().flatten();
    let answers: Vec<_> = providers
        .map(|part| [&part["provider"], &part["answer"], &part["code"]])
        .collect();
    json!([json["policy"], answers, json["outcome"], json["reply"]]).to_string()
}

/// What the machine sent besides goes first, then all facts but what identifies it.
fn bounded(mut json: Value) -> String {
    for large in ["params", "ipxe", "smbios", "network", "firmware"] {
        let text = json.to_string();
        if text.len() <= ONE_MAX {
            return text;
        }
        json["facts"][large] = Value::Null;
    }
    let text = json.to_string();
    if text.len() <= ONE_MAX {
        return text;
    }
    // What rules and programs wrote is longer than that.
    json["providers"] = Value::Null;
    json["outcome"] = Value::Null;
    json["reply"] = json!({ "does": json["reply"]["does"], "code": json["reply"]["code"] });
    let text = json.to_string();
    if text.len() <= ONE_MAX {
        text
    } else {
        "{}".to_owned()
    }
}

/// The decisions of all machines. Those that were quiet longest make room, and of those first the
/// ones that nobody knows: a flood of made-up machines drives out itself.
#[derive(Debug, Default)]
pub(super) struct Table {
    machines: HashMap<Subject, Slot>,
    /// Who was decided for last is last: those that nobody knows, and those that are known.
    quiet: [BTreeMap<u64, Subject>; 2],
    clock: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Slot {
    decisions: VecDeque<Kept>,
    /// Where it stands in `quiet`.
    place: (usize, u64),
}

impl Table {
    /// Takes a decision in. `false`: the machine's last one was the same.
    pub(super) fn take(&mut self, kept: Kept, is_known: bool) -> bool {
        let owner = kept.owner;
        let slot = self.machines.entry(owner).or_default();
        let (class, at) = slot.place;
        self.quiet[class].remove(&at);
        self.clock += 1;
        slot.place = (usize::from(is_known), self.clock);
        self.quiet[slot.place.0].insert(self.clock, owner);
        let alike = |d: &&mut Kept| (d.stage, d.asker) == (kept.stage, kept.asker);
        if let Some(earlier) = slot.decisions.iter_mut().rev().find(alike)
            && kept.is_again(earlier)
        {
            earlier.times += 1;
            earlier.last = kept.at;
            return false;
        }
        self.bytes += kept.bytes();
        slot.decisions.push_back(kept);
        if slot.decisions.len() > PER_MACHINE
            && let Some(oldest) = slot.decisions.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        while self.machines.len() > MACHINES_MAX || self.bytes > BYTES_MAX {
            self.make_room();
        }
        true
    }

    /// Newest first.
    pub(super) fn of(&self, subject: Subject) -> Vec<Kept> {
        let mut found: Vec<Kept> = match subject {
            Subject::Mac(_) => self.owned(subject).cloned().collect(),
            Subject::Guid(guid) => self.all(|kept| kept.guid == Some(guid)),
            Subject::Address(address) => {
                let address = address.to_canonical();
                self.all(|kept| kept.address.map(|a| a.to_canonical()) == Some(address))
            }
        };
        // Machines are kept in no order.
        found.sort_by(|a, b| (b.last, b.at, &b.json).cmp(&(a.last, a.at, &a.json)));
        found.truncate(PER_MACHINE);
        found
    }

    fn owned(&self, subject: Subject) -> impl Iterator<Item = &Kept> {
        let slot = self.machines.get(&subject);
        slot.into_iter().flat_map(|slot| &slot.decisions)
    }

    fn all(&self, fits: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let all = self.machines.values().flat_map(|slot| &slot.decisions);
        all.filter(|kept| fits(kept)).cloned().collect()
    }

    fn make_room(&mut self) {
        let [strangers, known] = &mut self.quiet;
        let first = strangers.pop_first().or_else(|| known.pop_first());
        let Some((_, owner)) = first else { return };
        let Some(slot) = self.machines.remove(&owner) else {
            return;
        };
        let gone: usize = slot.decisions.iter().map(Kept::bytes).sum();
        self.bytes -= gone;
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.machines.len(), self.bytes)
    }
}
