//! Answers to DHCP that were decided a moment ago.

use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::time::SystemTime;

use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::types::{HardwareAddress, MachineGuid};

use crate::cache::{Cache, Version};

/// Answers kept: those of as many machines as a store holds, with room to spare, so that hardly any
/// pushes out another by chance. A flood of machines that nobody knows takes no more than this.
const ANSWERS_MAX: usize = 1 << 18;

/// Answers by what the packet says, until something changes that they rest on.
#[derive(Debug)]
pub(crate) struct DecidedAnswers {
    kept: Cache<Question, Kept>,
    hasher: RandomState,
}

/// What a packet says, as far as decisions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    hardware: HardwareAddress,
    guid: Option<MachineGuid>,
    /// Of everything. The key is random and secret: two packets of one machine that say different
    /// things meet once in 2^64.
    digest: u64,
}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
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
        let mut said = self.hasher.build_hasher();
        (client.hardware, client.guid).hash(&mut said);
        (
            client.asker,
            &client.arches,
            client.undi,
            client.ipxe_features,
            // Windows' boot programs are told what to do instead of a file.
            client.wds.is_some(),
        )
            .hash(&mut said);
        (client.relay, client.address, client.local, client.interface).hash(&mut said);
        (&client.client_id, &client.vendor_class, &client.user_class).hash(&mut said);
        (&client.circuit_id, &client.remote_id).hash(&mut said);
        if with_secs {
            client.secs.hash(&mut said);
        }
        Question {
            hardware: client.hardware,
            guid: client.guid,
            digest: said.finish(),
        }
    }

    pub(crate) fn get(&self, question: &Question, basis: Basis, now: SystemTime) -> Option<Answer> {
        let holds =
            |kept: &Kept| (kept.basis == basis && now < kept.until).then(|| kept.answer.clone());
        self.kept.get(question, holds).flatten()
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
