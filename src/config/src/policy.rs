//! Who is answered, when, and whether people are asked first: the `[policy]` table.

use std::net::IpAddr;
use std::time::Duration;

use bootstorm_proto::ipxe::Key;
use serde::Deserialize;

use crate::duration::Span;
use crate::lint::{Finding, LAST_DISCOVER, is_never_answered, lint_delay};
use crate::load::{all_or_none, read_or_note};
use crate::{Config, Subnet};

/// A machine that waits for a decision is kept for so long; no chain can use more.
const BUDGET_MAX: Duration = Duration::from_secs(10);

/// The `[policy]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Who is answered.
    pub answer: AnswerTo,
    /// Seconds that a machine that is not known must have been asking before it is answered
    /// (DHCP `secs`).
    pub delay: u16,
    /// What differs in single places; the first that fits a request decides.
    pub places: Vec<PolicyPlace>,
    /// How long a decision is used for the next packets of a machine.
    pub decision_ttl: Duration,
    /// How long all providers together may take.
    pub budget: Duration,
    /// A required boot that begins so often within an hour without coming to its end goes to disk;
    /// zero never does.
    pub loop_limit: u32,
    /// Whether people are asked before a machine boots.
    pub prompt: PromptPolicy,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            answer: AnswerTo::All,
            delay: 0,
            places: Vec::new(),
            decision_ttl: Duration::from_secs(60),
            budget: Duration::from_secs(8),
            loop_limit: 3,
            prompt: PromptPolicy::default(),
        }
    }
}

/// Who is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerTo {
    /// Every machine.
    #[default]
    All,
    /// Machines that are known.
    Known,
    /// Nobody.
    None,
}

/// What differs in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlace {
    /// Which requests it holds for.
    pub from: RequestFrom,
    /// Who is answered there, if it differs.
    pub answer: Option<AnswerTo>,
    /// The delay there, if it differs.
    pub delay: Option<u16>,
    /// Whether machines there load from each other, if iPXE is to be told.
    pub peers: Option<Peers>,
}

/// Whether machines load from each other what others have loaded (peer distribution, BranchCache).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// They do.
    pub shared: bool,
    /// The cache that they ask, as host and port.
    pub cache: Option<String>,
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestFrom {
    /// By this interface, directly or through a relay.
    Interface(String),
    /// Through this relay.
    Relay(IpAddr),
    /// Through a relay in this subnet; directly by an interface with an address in it.
    Subnet(Subnet),
}

/// Whether people are asked before a machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptPolicy {
    /// At machines that are known.
    pub known: Prompt,
    /// At all others.
    pub new: Prompt,
    /// At machines whose boot is required, known or not.
    pub required: Prompt,
    /// How long a key is waited for.
    pub timeout: Duration,
    /// Which key; `None` is any.
    pub key: Option<Key>,
    /// What the screen says instead of the usual words.
    pub text: Option<String>,
}

impl PromptPolicy {
    /// The prompt of one boot.
    #[must_use]
    pub const fn of(&self, known: bool, required: bool) -> Prompt {
        match (required, known) {
            (true, _) => self.required,
            (false, true) => self.known,
            (false, false) => self.new,
        }
    }
}

impl Default for PromptPolicy {
    fn default() -> Self {
        Self {
            known: Prompt::None,
            new: Prompt::None,
            required: Prompt::None,
            timeout: Duration::from_secs(10),
            key: None,
            text: None,
        }
    }
}

/// Whether people are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prompt {
    /// Only who presses a key boots from the network.
    OptIn,
    /// Nobody is asked.
    #[default]
    None,
    /// Who presses a key does not boot from the network.
    OptOut,
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    answer: Option<AnswerTo>,
    delay: Option<u16>,
    decision_ttl: Option<String>,
    budget: Option<String>,
    loop_limit: Option<u32>,
    r#where: Vec<WrittenPlace>,
    prompt: WrittenPrompt,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenPlace {
    interface: Option<String>,
    relay: Option<String>,
    subnet: Option<String>,
    answer: Option<AnswerTo>,
    delay: Option<u16>,
    peerdist: Option<bool>,
    peerhost: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenPrompt {
    known: Option<Prompt>,
    new: Option<Prompt>,
    required: Option<Prompt>,
    timeout: Option<String>,
    key: Option<String>,
    text: Option<String>,
}

pub(crate) fn take(to: &mut PolicyConfig, written: Written, findings: &mut Vec<Finding>) {
    to.answer = written.answer.unwrap_or(to.answer);
    to.delay = written.delay.unwrap_or(to.delay);
    to.loop_limit = written.loop_limit.unwrap_or(to.loop_limit);
    let prompt = written.prompt;
    to.prompt.known = prompt.known.unwrap_or(to.prompt.known);
    to.prompt.new = prompt.new.unwrap_or(to.prompt.new);
    to.prompt.required = prompt.required.unwrap_or(to.prompt.required);
    let key = || "policy.prompt.key".to_owned();
    to.prompt.key = read_or_note(prompt.key.as_deref(), key, findings);
    to.prompt.text = prompt.text;
    for (slot, text, key) in [
        (
            &mut to.decision_ttl,
            written.decision_ttl,
            "policy.decision_ttl",
        ),
        (&mut to.budget, written.budget, "policy.budget"),
        (
            &mut to.prompt.timeout,
            prompt.timeout,
            "policy.prompt.timeout",
        ),
    ] {
        if let Some(Span(read)) = read_or_note(text.as_deref(), || key.to_owned(), findings) {
            *slot = read;
        }
    }
    let places = written.r#where.into_iter().enumerate();
    to.places = all_or_none(places.map(|(index, place)| read_place(index, place, findings)));
}

fn read_place(
    index: usize,
    written: WrittenPlace,
    findings: &mut Vec<Finding>,
) -> Option<PolicyPlace> {
    let key = |name: &str| format!("policy.where[{index}].{name}");
    let from = match (written.interface, written.relay, written.subnet) {
        (Some(name), None, None) => RequestFrom::Interface(name),
        (None, Some(relay), None) => {
            let relay = read_or_note(Some(&relay), || key("relay"), findings)?;
            RequestFrom::Relay(relay)
        }
        (None, None, Some(subnet)) => {
            let subnet = read_or_note(Some(&subnet), || key("subnet"), findings)?;
            RequestFrom::Subnet(subnet)
        }
        _ => {
            findings.push(Finding::bad_value(
                format!("policy.where[{index}]"),
                "a place is named by one of `interface`, `relay` and `subnet`",
            ));
            return None;
        }
    };
    let cache = written.peerhost;
    if cache
        .as_deref()
        .is_some_and(|cache| !is_host_and_port(cache))
    {
        let text = "it is a host and a port, such as \"10.0.0.5:1337\"";
        findings.push(Finding::bad_value(key("peerhost"), text));
        return None;
    }
    let shared = written.peerdist.or_else(|| cache.as_ref().map(|_| true));
    Some(PolicyPlace {
        from,
        answer: written.answer,
        delay: written.delay,
        peers: shared.map(|shared| Peers { shared, cache }),
    })
}

fn is_host_and_port(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.[]:".contains(&b);
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok()
}

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    let policy = &config.policy;
    lint_delay("policy.delay", policy.delay, findings);
    if policy.budget.is_zero() {
        findings.push(Finding::bad_value(
            "policy.budget",
            "nobody can decide anything in no time",
        ));
    } else if policy.budget > BUDGET_MAX {
        findings.push(Finding::warning(
            "config.budget-too-long",
            "policy.budget",
            format!(
                "{}: a request is kept for {} at most, and firmware gives up after {LAST_DISCOVER} s",
                Span(policy.budget),
                Span(BUDGET_MAX)
            ),
        ));
    }
    for (index, place) in policy.places.iter().enumerate() {
        lint_place(config, index, place, findings);
    }
}

fn lint_place(config: &Config, index: usize, place: &PolicyPlace, findings: &mut Vec<Finding>) {
    let table = format!("policy.where[{index}]");
    if let Some(delay) = place.delay {
        lint_delay(&format!("{table}.delay"), delay, findings);
    }
    let no_effect = |text: &str| Finding::warning("config.no-effect", table.as_str(), text);
    if place.answer.is_none() && place.delay.is_none() && place.peers.is_none() {
        findings.push(no_effect(
            "none of `answer`, `delay` and `peerdist` differs here",
        ));
    }
    let earlier = &config.policy.places[..index];
    if let Some(first) = earlier.iter().position(|e| covers(&e.from, &place.from)) {
        let text = format!("policy.where[{first}] fits all of these requests and goes before");
        findings.push(no_effect(&text));
    }
    if let RequestFrom::Interface(name) = &place.from
        && is_never_answered(config, name)
    {
        let text = format!(
            "`{}` is not among the interfaces that are answered on",
            name.escape_debug()
        );
        findings.push(no_effect(&text));
    }
}

/// Whether every request from `other` is one from `first`.
fn covers(first: &RequestFrom, other: &RequestFrom) -> bool {
    match (first, other) {
        (RequestFrom::Subnet(first), RequestFrom::Subnet(other)) => first.covers(other),
        (RequestFrom::Subnet(first), RequestFrom::Relay(relay)) => first.contains(*relay),
        _ => first == other,
    }
}
