//! Calls of one provider: each machine once at a time, few at a time, none while it is broken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootstorm_policy::MachineKey;
use bootstorm_policy::decision::Verdict;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Provider;
use super::breaker::{Breaker, Change};
use crate::{Ask, ProviderError};

/// Calls that may wait for others of the same provider to end.
pub(super) const WAITING_MAX: usize = 1024;

/// What came of a call, and how long it took.
pub(super) type Said = (Result<Verdict, ProviderError>, Duration);

type Flight = BoxFuture<'static, Said>;

/// A provider with all that guards it.
pub(super) struct Caller {
    name: Arc<str>,
    ask: Arc<dyn Ask>,
    concurrent: usize,
    running: Semaphore,
    waiting: AtomicUsize,
    breaker: Mutex<Breaker>,
    flights: Mutex<Flights>,
}

/// The calls under way.
#[derive(Default)]
struct Flights {
    by_machine: HashMap<MachineKey, (u64, WeakShared<Flight>)>,
    begun: u64,
}

impl Caller {
    pub(super) fn new(name: Arc<str>, provider: Provider) -> Self {
        let concurrent = provider.concurrent.max(1);
        Self {
            name,
            ask: provider.ask,
            concurrent,
            running: Semaphore::new(concurrent),
            waiting: AtomicUsize::new(0),
            breaker: Mutex::default(),
            flights: Mutex::default(),
        }
    }

    /// The call for a machine: the one that is under way already, or a new one. It ends when all
    /// that wait for it are gone.
    pub(super) fn call(
        self: &Arc<Self>,
        key: MachineKey,
        budget: Duration,
        facts: impl FnOnce() -> Value,
    ) -> Shared<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = flights.by_machine.get(&key);
        if let Some(call) = under_way.and_then(|(_, call)| call.upgrade()) {
            return call;
        }
        flights.begun += 1;
        let landing = Landing {
            caller: Arc::clone(self),
            key,
            number: flights.begun,
        };
        let facts = facts();
        let call = async move {
            let began = Instant::now();
            let said = landing.caller.ask(&facts, began, budget).await;
            (said, began.elapsed())
        };
        let call = call.boxed().shared();
        if let Some(weak) = call.downgrade() {
            let number = flights.begun;
            flights.by_machine.insert(key, (number, weak));
        }
        call
    }

    async fn ask(
        &self,
        facts: &Value,
        began: Instant,
        budget: Duration,
    ) -> Result<Verdict, ProviderError> {
        self.breaker().allow(began, budget)?;
        let over = began + budget;
        let _permit = self.permit(over).await?;
        let answer = timeout_at(over, self.ask.ask(facts)).await;
        let answer = answer.unwrap_or(Err(ProviderError::Timeout { budget }));
        let change = self.breaker().note(answer.is_ok(), Instant::now());
        self.tell(answer.as_ref().err(), change);
        answer
    }

    async fn permit(&self, over: Instant) -> Result<SemaphorePermit<'_>, ProviderError> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let place = Place::take(&self.waiting);
        let busy = ProviderError::Busy {
            running: self.concurrent,
            waiting: place.before,
        };
        if place.before >= WAITING_MAX {
            return Err(busy);
        }
        let permit = timeout_at(over, self.running.acquire()).await;
        let permit = permit.ok().and_then(Result::ok);
        permit.filter(|_| Instant::now() < over).ok_or(busy)
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, failure: Option<&ProviderError>, change: Option<Change>) {
        let provider = &*self.name;
        if let Some(e) = failure {
            tracing::info!(provider, code = e.code(), "{e}");
        }
        match change {
            None => {}
            Some(Change::Opened) => {
                tracing::warn!(provider, "it fails again and again and is left alone");
            }
            Some(Change::Closed) => tracing::info!(provider, "it answers again"),
        }
    }
}

/// Takes a call off the list when it is over or nobody wants it any more.
struct Landing {
    caller: Arc<Caller>,
    key: MachineKey,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let flights = self.caller.flights.lock();
        let mut flights = flights.unwrap_or_else(PoisonError::into_inner);
        // Another may have begun since the last one who waited went away.
        let of_machine = flights.by_machine.get(&self.key);
        if of_machine.is_some_and(|(number, _)| *number == self.number) {
            flights.by_machine.remove(&self.key);
        }
    }
}

/// A place in the queue.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        Self { waiting, before }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
