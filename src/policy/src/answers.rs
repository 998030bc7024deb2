//! What remote providers said, for as long as it holds.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use bootstorm_proto::dhcp::Asker;
use bootstorm_proto::types::{MacAddress, MachineGuid};

use crate::cache::{Cache, Versions};
use crate::decision::Verdict;
use crate::{Facts, Identity, Stage};

/// Answers kept; beyond, the oldest of a few give way.
const ANSWERS_MAX: usize = 1 << 16;

/// What remote providers said, by provider and machine. Readers never wait; bounded.
#[derive(Debug)]
pub struct Answers {
    kept: Cache<(Arc<str>, MachineKey), Answered>,
    versions: Arc<Versions>,
}

/// What one provider said of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What it said, or what its failure counts as.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// Until when the answer is used.
    pub until: SystemTime,
}

/// What tells one question to a provider from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MachineKey {
    mac: Option<MacAddress>,
    guid: Option<MachineGuid>,
    /// Tells machines apart that nothing else does.
    address: Option<IpAddr>,
    stage: Stage,
    asker: Option<Asker>,
    /// What else it sent, digested with a random key.
    params: u64,
}

static PARAMS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl MachineKey {
    /// The key of a machine at one stage of its boot.
    #[must_use]
    pub fn of(facts: &Facts, identity: &Identity) -> Self {
        Self {
            mac: identity.mac,
            guid: identity.guid,
            address: facts.address.filter(|_| identity.is_unknown()),
            stage: facts.stage,
            asker: facts.asker,
            params: digest(facts),
        }
    }
}

/// Nothing, as machines send by DHCP, costs nothing.
fn digest(facts: &Facts) -> u64 {
    let mut params = facts.params().peekable();
    if params.peek().is_none() {
        return 0;
    }
    let mut hasher = PARAMS.build_hasher();
    params.for_each(|param| param.hash(&mut hasher));
    hasher.finish()
}

impl Answers {
    pub(crate) fn new(versions: Arc<Versions>) -> Self {
        Self {
            kept: Cache::new(ANSWERS_MAX),
            versions,
        }
    }

    /// What the provider said, while it holds.
    #[must_use]
    pub fn get(&self, provider: &Arc<str>, key: &MachineKey, now: SystemTime) -> Option<Answered> {
        let key = (Arc::clone(provider), *key);
        let holds = |found: &Answered| (found.until > now).then(|| found.clone());
        self.kept.get(&key, holds).flatten()
    }

    /// Takes in what a provider said, or what its failure counts as.
    pub fn put(&self, provider: &Arc<str>, key: MachineKey, answer: Answered) {
        self.kept.put((Arc::clone(provider), key), answer);
        self.versions.raise(key.mac, key.guid);
    }

    /// Forgets everything, as after a change of the providers.
    pub fn clear(&self) {
        self.kept.clear();
        self.versions.raise_all();
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_telemetry::event::Reason;

    use super::*;

    fn answered(until: SystemTime) -> Answered {
        Answered {
            verdict: Verdict::Pass(Reason {
                code: "provider.passed",
                text: "".into(),
            }),
            took: Duration::from_millis(3),
            until,
        }
    }

    fn key(last: u8, stage: Stage) -> MachineKey {
        let facts = Facts {
            stage,
            address: Some(IpAddr::from([10, 0, 0, last])),
            ..Facts::default()
        };
        let identity = Identity {
            mac: Some(MacAddress::new([2, 0, 0, 0, 0, last])),
            ..Identity::default()
        };
        MachineKey::of(&facts, &identity)
    }

    #[test]
    fn an_answer_holds_for_its_machine_its_stage_and_its_time() {
        let answers = Answers::new(Arc::default());
        let now = SystemTime::UNIX_EPOCH;
        let until = now + Duration::from_secs(10);
        let (cmdb, other) = (Arc::from("cmdb"), Arc::from("other"));
        answers.put(&cmdb, key(1, Stage::Dhcp), answered(until));
        let get = |provider, key, now| answers.get(provider, &key, now).is_some();
        assert!(get(&cmdb, key(1, Stage::Dhcp), now));
        assert!(!get(&cmdb, key(1, Stage::Dhcp), until));
        assert!(!get(&cmdb, key(1, Stage::Script), now));
        assert!(!get(&cmdb, key(2, Stage::Dhcp), now));
        assert!(!get(&other, key(1, Stage::Dhcp), now));
        answers.clear();
        assert!(!get(&cmdb, key(1, Stage::Dhcp), now));
    }

    #[test]
    fn what_a_machine_asks_for_makes_another_question() {
        let asks = |name: &str, value: &str| {
            let facts = Facts {
                other: vec![(name.to_owned(), value.to_owned())],
                ..Facts::default()
            };
            MachineKey::of(&facts, &Identity::default())
        };
        let nothing = MachineKey::of(&Facts::default(), &Identity::default());
        assert_ne!(asks("offerid", "SMS20001"), asks("offerid", "SMS20002"));
        assert_ne!(asks("offerid", "SMS20001"), nothing);
        assert_eq!(asks("token", "abc"), nothing, "a secret is no question");
    }

    #[test]
    fn machines_that_nothing_identifies_do_not_share_an_answer() {
        let at = |last| Facts {
            address: Some(IpAddr::from([10, 0, 0, last])),
            ..Facts::default()
        };
        let nobody = Identity::default();
        assert_ne!(
            MachineKey::of(&at(1), &nobody),
            MachineKey::of(&at(2), &nobody)
        );
    }
}
