//! The providers in the order of the configuration.

pub(crate) mod configured;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_telemetry::event::Reason;

use crate::decision::{Decision, Outcome, Step, Verdict};
use crate::explain::parts;
use crate::providers::{Provider, Query};
use crate::{Answers, MachineKey, Part, Stage};

/// The providers, in order: the first that serves or ignores a machine decides.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Who is asked.
    pub links: Vec<Link>,
    /// How long all of them together may take.
    pub budget: Duration,
    /// When the next remote provider is asked while one before it has not answered: their budgets
    /// would add up if each waited for the one before.
    pub stagger: Duration,
}

/// One provider's place in the chain.
#[derive(Clone, Debug)]
pub enum Link {
    /// Answers from memory.
    Instant(Arc<dyn Provider>),
    /// Asks a program, a service or a database: the chain uses what it said last, and somebody
    /// else asks.
    Remote(Arc<Remote>),
}

/// A provider that takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Whether it is asked when a machine comes by DHCP; it always is when one comes for its script.
    pub asked_at_dhcp: bool,
    /// How long an answer may take.
    pub budget: Duration,
    /// How long an answer is used.
    pub keep: Duration,
    /// What a failure counts as.
    pub on_failure: OnFailure,
}

/// What a provider that fails is taken to have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The next one is asked.
    #[default]
    Pass,
    /// The machine gets no answer.
    Ignore,
}

impl OnFailure {
    /// What a provider that failed for this reason is taken to have said.
    #[must_use]
    pub const fn verdict(self, failure: Reason) -> Verdict {
        match self {
            Self::Pass => Verdict::Pass(failure),
            Self::Ignore => Verdict::Ignore(failure),
        }
    }
}

/// How far a chain comes with what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Run {
    /// To its end.
    Decided(Decision),
    /// These remote providers, in order, have to be asked first. Those behind the first may turn
    /// out not to matter.
    Waits(Vec<Arc<Remote>>),
}

impl Chain {
    /// Far below the 28 seconds after which firmware gives up.
    pub const BUDGET: Duration = Duration::from_secs(8);
    /// Thirty providers are under way within three seconds.
    pub const STAGGER: Duration = Duration::from_millis(100);

    /// A chain with the usual times.
    #[must_use]
    pub const fn new(links: Vec<Link>) -> Self {
        Self {
            links,
            budget: Self::BUDGET,
            stagger: Self::STAGGER,
        }
    }

    /// Walks along the providers with what remote ones have said already; asks none of those.
    pub fn run(&self, query: &Query<'_>, answers: &Answers) -> Run {
        let known = query.machine.is_some_and(|machine| machine.known);
        self.walk(query, answers).end(known)
    }

    /// The providers' names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = Arc<str>> {
        self.links.iter().map(|link| match link {
            Link::Instant(provider) => Arc::clone(provider.name()),
            Link::Remote(remote) => Arc::clone(&remote.name),
        })
    }

    /// The part of each provider, as far as it is known. Those behind one that decides if all
    /// before it pass are not reached.
    pub(crate) fn parts(&self, query: &Query<'_>, answers: &Answers) -> Vec<Part> {
        let Walk { steps, missing, .. } = self.walk(query, answers);
        let missing = missing.iter().map(|remote| &*remote.name);
        parts(self.names(), steps, missing)
    }

    fn walk(&self, query: &Query<'_>, answers: &Answers) -> Walk {
        let mut walk = Walk::default();
        let mut failures = Vec::new();
        let key = MachineKey::of(query.facts, query.identity);
        for link in &self.links {
            let ended = match link {
                Link::Instant(provider) => {
                    let verdict = provider.decide_noting(query, &mut failures);
                    walk.failures(provider.name(), &mut failures);
                    walk.step(Arc::clone(provider.name()), verdict, Duration::ZERO)
                }
                Link::Remote(remote) => walk.remote(remote, query, answers, &key),
            };
            if ended {
                break;
            }
        }
        walk
    }
}

#[derive(Debug, Default)]
struct Walk {
    steps: Vec<Step>,
    missing: Vec<Arc<Remote>>,
    until: Option<SystemTime>,
}

impl Walk {
    fn failures(&mut self, provider: &Arc<str>, failures: &mut Vec<Reason>) {
        self.steps.extend(failures.drain(..).map(|failure| Step {
            provider: Arc::clone(provider),
            verdict: Verdict::Pass(failure),
            took: Duration::ZERO,
        }));
    }

    /// Whether nobody further is to be asked.
    fn step(&mut self, provider: Arc<str>, verdict: Verdict, took: Duration) -> bool {
        let ends = !matches!(verdict, Verdict::Pass(_));
        self.steps.push(Step {
            provider,
            verdict,
            took,
        });
        ends
    }

    fn remote(
        &mut self,
        remote: &Arc<Remote>,
        query: &Query<'_>,
        answers: &Answers,
        key: &MachineKey,
    ) -> bool {
        let name = Arc::clone(&remote.name);
        if query.facts.stage == Stage::Dhcp && !remote.asked_at_dhcp {
            let reason = Reason {
                code: "provider.not-asked",
                text: "it is asked only for scripts".into(),
            };
            return self.step(name, Verdict::Pass(reason), Duration::ZERO);
        }
        let Some(answer) = answers.get(&remote.name, key, query.now) else {
            self.missing.push(Arc::clone(remote));
            return false;
        };
        self.until = Some(self.until.map_or(answer.until, |u| u.min(answer.until)));
        self.step(name, answer.verdict, answer.took)
    }

    fn end(self, known: bool) -> Run {
        if !self.missing.is_empty() {
            return Run::Waits(self.missing);
        }
        let outcome = match self.steps.last().map(|step| &step.verdict) {
            Some(Verdict::Serve(plan)) => Outcome::Serve(Arc::clone(plan)),
            Some(Verdict::Ignore(reason)) => Outcome::Silent(reason.clone()),
            Some(Verdict::Pass(Reason { code, text })) => Outcome::Silent(Reason {
                code: "policy.all-passed",
                text: format!("no provider serves this machine; the last one: {text} ({code})")
                    .into(),
            }),
            None => Outcome::Silent(Reason {
                code: "policy.all-passed",
                text: "no provider serves this machine".into(),
            }),
        };
        Run::Decided(Decision {
            outcome,
            steps: self.steps,
            until: self.until,
            known,
        })
    }
}

#[cfg(test)]
mod tests;
