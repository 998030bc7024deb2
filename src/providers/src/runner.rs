//! Asks remote providers until a machine's decision is there.
//!
//! They are asked in the order of the chain, which alone decides who wins. If each waited for the
//! one before, their budgets would add up: 29 that hang for a second each would keep the 30th from
//! being asked at all. So the next one is started while those before it are still thinking.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bootstorm_policy::chain::Remote;
use bootstorm_policy::decision::{Boot, Decision, Outcome, Verdict};
use bootstorm_policy::{Answered, Asked, Facts, MachineKey, Policy};
use bootstorm_telemetry::event::Reason;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use crate::{Ask, ProviderError};
use caller::{Caller, Said};

mod breaker;
mod caller;

/// How long a failure is taken for an answer: whoever is behind a provider that is gone should not
/// wait for it again at each step of a boot.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// Remote providers, by the names that the links of the chain have.
pub type Providers = HashMap<Arc<str>, Provider>;

/// A remote provider.
#[derive(Clone)]
pub struct Provider {
    /// Whom to ask.
    pub ask: Arc<dyn Ask>,
    /// Calls at a time, at least one.
    pub concurrent: usize,
}

/// Asks remote providers on behalf of a policy.
pub struct Runner {
    policy: Arc<Policy>,
    callers: ArcSwap<HashMap<Arc<str>, Arc<Caller>>>,
}

impl Runner {
    /// A runner that asks these.
    #[must_use]
    pub fn new(policy: Arc<Policy>, providers: Providers) -> Self {
        let runner = Self {
            policy,
            callers: ArcSwap::default(),
        };
        runner.set_providers(providers);
        runner
    }

    /// Asks others from now on, as after a change of the configuration. Calls under way go on.
    pub fn set_providers(&self, providers: Providers) {
        let callers = providers.into_iter().map(|(name, provider)| {
            let caller = Caller::new(Arc::clone(&name), provider);
            (name, Arc::new(caller))
        });
        self.callers.store(Arc::new(callers.collect()));
    }

    /// What a machine boots, once enough providers have answered or their time is over. Dropping
    /// the future ends the calls that nobody else waits for.
    pub async fn decide(&self, facts: &Facts) -> Decision {
        let chain = self.policy.chain();
        let over = Instant::now() + chain.budget;
        let mut hedge = Hedge::new(chain.stagger);
        let facts = &*self.policy.completed(facts);
        loop {
            let (identity, machine, links) = match self.policy.decide(facts, SystemTime::now()) {
                Asked::Decided(decision) => return decision,
                Asked::Waits {
                    identity,
                    machine,
                    links,
                } => (identity, machine, links),
            };
            let key = MachineKey::of(facts, &identity);
            let put = |remote: &Remote, said: Said| {
                let answer = answered(remote, said, chain.budget);
                self.policy.answers().put(&remote.name, key, answer);
            };
            let next = hedge.next(&links);
            if Instant::now() >= over && !hedge.gave_up {
                hedge.gave_up = true;
                let budget = chain.budget;
                let late = ProviderError::Timeout { budget };
                links
                    .iter()
                    .for_each(|remote| put(remote, (Err(late.clone()), budget)));
            } else if hedge.gave_up || (next.is_none() && hedge.running.is_empty()) {
                return undecided(&links);
            } else if let Some(remote) = next.filter(|_| hedge.is_due()) {
                let facts = || facts.to_json(&identity, machine.as_deref());
                hedge.start(remote, self.call(remote, key, facts));
            } else {
                let due = next.map_or(over, |_| hedge.due.min(over));
                if let Some((remote, said)) = hedge.answer(due).await {
                    put(&remote, said);
                }
            }
        }
    }

    fn call(
        &self,
        remote: &Remote,
        key: MachineKey,
        facts: impl FnOnce() -> serde_json::Value,
    ) -> BoxFuture<'static, Said> {
        match self.callers.load().get(&remote.name) {
            Some(caller) => caller.call(key, remote.budget, facts).boxed(),
            None => {
                let gone = ProviderError::Failed("it is configured no more".to_owned());
                std::future::ready((Err(gone), Duration::ZERO)).boxed()
            }
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.callers.load().keys().cloned().collect();
        f.debug_tuple("Runner").field(&names).finish()
    }
}

/// The calls for one machine.
struct Hedge {
    running: FuturesUnordered<BoxFuture<'static, (Arc<Remote>, Said)>>,
    started: Vec<Arc<str>>,
    stagger: Duration,
    /// When the next one is started.
    due: Instant,
    /// Whoever has not answered has failed.
    gave_up: bool,
}

impl Hedge {
    fn new(stagger: Duration) -> Self {
        Self {
            running: FuturesUnordered::new(),
            started: Vec::new(),
            stagger,
            due: Instant::now(),
            gave_up: false,
        }
    }

    /// Each is asked once: one whose answer is lost at once would be asked for ever.
    fn next<'a>(&self, links: &'a [Arc<Remote>]) -> Option<&'a Arc<Remote>> {
        links.iter().find(|link| !self.started.contains(&link.name))
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    fn start(&mut self, remote: &Arc<Remote>, call: BoxFuture<'static, Said>) {
        let remote = Arc::clone(remote);
        self.started.push(Arc::clone(&remote.name));
        self.running.push(call.map(|said| (remote, said)).boxed());
        self.due = Instant::now() + self.stagger;
    }

    /// The next answer, if it comes before this time. It lets the next one start at once.
    async fn answer(&mut self, due: Instant) -> Option<(Arc<Remote>, Said)> {
        tokio::select! {
            Some(answer) = self.running.next() => {
                self.due = Instant::now();
                Some(answer)
            }
            () = sleep_until(due) => None,
        }
    }
}

/// What the chain finds, for as long as it holds: for the decision at hand at least.
fn answered(remote: &Remote, (said, took): Said, decision: Duration) -> Answered {
    let keep = match &said {
        Ok(verdict) => asks_again(verdict).map_or(remote.keep, |every| every.min(remote.keep)),
        Err(_) => FAILURE_KEPT.min(remote.keep),
    };
    Answered {
        verdict: said.unwrap_or_else(|e| remote.on_failure.verdict(e.reason(&remote.name))),
        took,
        until: SystemTime::now() + keep.max(decision),
    }
}

/// A machine that waits asks again to hear something else.
fn asks_again(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Serve(plan) => match &plan.boot {
            Boot::Wait(wait) => Some(wait.every),
            _ => None,
        },
        Verdict::Ignore(_) | Verdict::Pass(_) => None,
    }
}

/// Answers were lost as soon as they came: more machines ask than answers can be kept.
fn undecided(links: &[Arc<Remote>]) -> Decision {
    let names: Vec<&str> = links.iter().map(|remote| &*remote.name).collect();
    Decision {
        outcome: Outcome::Silent(Reason {
            code: "policy.undecided",
            text: format!("what {} said could not be kept", names.join(", ")).into(),
        }),
        steps: Vec::new(),
        until: None,
        known: false,
    }
}

#[cfg(test)]
mod tests;
