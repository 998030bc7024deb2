//! Answers to DHCP that were decided a moment ago.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::time::SystemTime;

use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::types::{HardwareAddress, MachineGuid};

use crate::cache::{Cache, Version};

/// Answers kept. A flood of machines that nobody knows takes no more than this.
const ANSWERS_MAX: usize = 1 << 17;

/// Answers by what the packet says, until something changes that they rest on.
#[derive(Debug)]
pub(crate) struct DecidedAnswers {
    kept: Cache<Question, Kept>,
    hasher: RandomState,
}

/// What a packet says, as far as decisions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    hardware: HardwareAddress,
    guid: Option<MachineGuid>,
    /// Everything else. The key is random and secret: two packets of one machine that say different
    /// things meet once in 2^64.
    rest: u64,
}

/// What an answer rests on, besides the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// What is known of the machine.
    pub(crate) version: Version,
    /// The snapshot of the catalog.
    pub(crate) published: u64,
}

#[derive(Debug)]
struct Kept {
    basis: Basis,
    until: SystemTime,
    answer: Answer,
}

impl DecidedAnswers {
    pub(crate) fn new() -> Self {
        Self {
            kept: Cache::new(ANSWERS_MAX),
            hasher: RandomState::new(),
        }
    }

    /// What the packet says. `secs` changes with each request of a machine: it counts only where
    /// somebody looks at it.
    pub(crate) fn question(&self, client: &ClientFacts, with_secs: bool) -> Question {
        let mut rest = self.hasher.build_hasher();
        (
            client.asker,
            &client.arches,
            client.undi,
            client.ipxe_features,
            // Windows' boot programs are told what to do instead of a file.
            client.wds.is_some(),
        )
            .hash(&mut rest);
        (client.relay, client.address, client.local, client.interface).hash(&mut rest);
        (&client.client_id, &client.vendor_class, &client.user_class).hash(&mut rest);
        (&client.circuit_id, &client.remote_id).hash(&mut rest);
        if with_secs {
            client.secs.hash(&mut rest);
        }
        Question {
            hardware: client.hardware,
            guid: client.guid,
            rest: rest.finish(),
        }
    }

    pub(crate) fn get(&self, question: &Question, basis: Basis, now: SystemTime) -> Option<Answer> {
        let kept = self.kept.get(question)?;
        (kept.basis == basis && now < kept.until).then(|| kept.answer.clone())
    }

    pub(crate) fn put(&self, question: Question, basis: Basis, until: SystemTime, answer: Answer) {
        let kept = Kept {
            basis,
            until,
            answer,
        };
        self.kept.put(question, kept);
    }
}
