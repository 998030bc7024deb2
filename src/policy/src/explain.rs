//! How an answer comes about: from what a machine said to what it is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_config::RequestFrom;
use bootstorm_proto::dhcp::{Answer, Asker, ClientFacts, WdsAction};
use bootstorm_proto::types::{ClientArch, MacAddress};
use bootstorm_telemetry::event::Reason;

use crate::decision::{Outcome, Step};
use crate::{BootPlan, Facts, Identity, Machine, Place};

mod json;

pub(crate) use json::script;

/// Everything that led to an answer, in the order in which it counts. The same for what a running
/// server decides, for what is in the store, and for packets of a capture.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Explanation {
    /// When.
    pub at: SystemTime,
    /// What the machine and the network say.
    pub facts: Facts,
    /// What of it identifies the machine.
    pub identity: Identity,
    /// What the store and the configuration know of it.
    pub machine: Option<Arc<Machine>>,
    /// Who is answered where the request comes from.
    pub place: Place,
    /// What the `[[policy.where]]` of `place` asks for.
    pub from: Option<RequestFrom>,
    /// The providers in their order.
    pub parts: Vec<Part>,
    /// What they come to; `None` while some of them have to be asked.
    pub outcome: Option<Outcome>,
    /// What the machine is told.
    pub reply: Reply,
}

/// One provider's part.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// It was asked, or need not have been.
    Said(Step),
    /// Nobody has asked it yet.
    Unanswered(Arc<str>),
    /// Somebody before it decided.
    NotReached(Arc<str>),
}

/// What a machine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// By DHCP.
    Dhcp(Answer),
    /// By its script: as docs/reference/decisions.md lists it.
    Script(serde_json::Value),
}

impl Explanation {
    /// The machine is known: by people, or because it has booted here.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.known)
    }

    /// What the machine is told, in one word: `boot`, `menu`, `silence` ...
    #[must_use]
    pub fn does(&self) -> &str {
        match &self.reply {
            Reply::Dhcp(answer) => does(answer),
            Reply::Script(plan) => plan["does"].as_str().unwrap_or_default(),
        }
    }

    /// File, URL or entry that the machine is told to boot.
    #[must_use]
    pub fn boots(&self) -> Option<&str> {
        match &self.reply {
            Reply::Dhcp(Answer::Boot { file, .. }) => Some(file),
            Reply::Dhcp(_) => None,
            Reply::Script(plan) => plan["boots"].as_str().or_else(|| plan["url"].as_str()),
        }
    }

    /// Why it boots nothing, or nothing yet: code and text.
    #[must_use]
    pub fn because(&self) -> Option<(&str, &str)> {
        match &self.reply {
            Reply::Dhcp(Answer::Silent { code, text }) => Some((code, text)),
            Reply::Dhcp(_) => match &self.outcome {
                Some(Outcome::Silent(reason)) => Some((reason.code, &reason.text)),
                _ => None,
            },
            Reply::Script(plan) => Some((plan["code"].as_str()?, plan["text"].as_str()?)),
        }
    }

    /// Who decided and by which rule, such as `static: rule[3]`; the provider's name where it gives
    /// no rule, the answer policy where no provider was asked.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        if let Some(Outcome::Serve(plan)) = &self.outcome {
            return Some(&plan.by);
        }
        let said = |part: &'_ Part| matches!(part, Part::Said(_));
        match self.parts.iter().rev().find(|part| said(part)) {
            Some(Part::Said(step)) => Some(&step.provider),
            _ => self.outcome.is_some().then_some("policy"),
        }
    }
}

/// A machine that says no more than it has to, as each kind of firmware and as iPXE.
#[must_use]
pub fn typical_requests(mac: MacAddress, local: IpAddr) -> [ClientFacts; 4] {
    /// HTTP and HTTPS, as every build of today has them.
    const FEATURES: u64 = (1 << 3) | (1 << 4);
    let asks = |asker, arch| ClientFacts::new(mac.into(), asker, ClientArch(arch), local);
    let ipxe = ClientFacts {
        ipxe_features: FEATURES,
        ..asks(Asker::Ipxe, 7)
    };
    [
        asks(Asker::Firmware, 0),
        asks(Asker::Firmware, 7),
        asks(Asker::HttpFirmware, 16),
        ipxe,
    ]
}

/// What a machine is told by DHCP, in one word.
const fn does(answer: &Answer) -> &'static str {
    match answer {
        Answer::Boot { .. } => "boot",
        Answer::Wds(WdsAction::Wait { .. }) => "wait",
        Answer::Wds(WdsAction::Refer(_)) => "referral",
        Answer::Wds(WdsAction::Abort { .. }) => "refuse",
        Answer::Later => "later",
        Answer::Silent { .. } => "silence",
    }
}

/// The part of each provider of a chain, in order. One may have more than one: its expressions that
/// failed come before what it said.
pub(crate) fn parts<'a>(
    names: impl Iterator<Item = Arc<str>>,
    steps: Vec<Step>,
    missing: impl Iterator<Item = &'a str>,
) -> Vec<Part> {
    let mut steps = steps.into_iter().peekable();
    let mut missing = missing.peekable();
    let mut parts = Vec::new();
    for name in names {
        let before = parts.len();
        while let Some(step) = steps.next_if(|step| step.provider == name) {
            parts.push(Part::Said(step));
        }
        if missing.next_if(|missing| **missing == *name).is_some() {
            parts.push(Part::Unanswered(name));
        } else if parts.len() == before {
            parts.push(Part::NotReached(name));
        }
    }
    parts
}

/// The script that sends a machine to its next boot device, for a reason.
pub(crate) fn to_disk(reason: &Reason) -> Reply {
    let mut local = script(&BootPlan::Local);
    json::because(&mut local, reason);
    Reply::Script(local)
}
