//! Machines that ask people to let them in, and what people answer.
//!
//! Requests live in the store; [`ApprovalTable`](bootstorm_policy::ApprovalTable) holds those of
//! machines that came of late, and decisions are made from that. Whoever is not in it is looked for
//! in the store when it comes for its script.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::{Boot, Decision, Outcome, Terms};
use bootstorm_policy::{Asked, Facts, Identity, Policy, Standing};
use bootstorm_store::{Answer, Approval, ApprovalState, Edit, LIMIT, Request, Store, StoreError};
use bootstorm_telemetry::event::{BootEvent, Reason, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;
use tokio::time::{Instant, sleep, timeout};

use crate::Machines;

/// How often requests are looked for that nobody answered in time.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);

/// How long a machine that waits is told that its request has expired; whoever comes later asks
/// anew.
const EXPIRED_TOLD: Duration = Duration::from_secs(3600);

/// How long nobody is asked for after the store has failed: the machines that wait for their turn
/// would each wait for it again.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// What a machine tells of itself, in bytes, as far as the store keeps it.
const FACTS_MAX: usize = 16 * 1024;

/// Requests of machines to be let in.
#[derive(Debug)]
pub struct Approvals {
    store: Store,
    policy: Arc<Policy>,
    machines: Arc<Machines>,
    events: Sender<BootEvent>,
    metrics: Arc<Metrics>,
    /// How long a denial holds.
    keep: Mutex<Duration>,
    /// One machine asks at a time, and what came of it when the store failed last.
    turn: tokio::sync::Mutex<Option<Failed>>,
}

/// The store failed.
#[derive(Debug)]
struct Failed {
    at: Instant,
    reason: Reason,
}

impl Approvals {
    /// Requests in this store. Machines that are let in become known to `machines`; a denial holds
    /// for `keep`.
    #[must_use]
    pub fn new(
        store: Store,
        policy: Arc<Policy>,
        machines: Arc<Machines>,
        keep: Duration,
        events: Sender<BootEvent>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            policy,
            machines,
            events,
            metrics,
            keep: Mutex::new(keep),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Denials hold for so long from now on, as after a change of the configuration.
    pub fn set_keep(&self, keep: Duration) {
        *self.keep() = keep;
    }

    /// Asks people to let a machine in, if it still has to ask. Afterwards decisions know how its
    /// request stands, or why it could not ask. Takes some seconds at most.
    pub async fn ask(&self, facts: &Facts) {
        let identity = self.policy.identify(facts);
        if identity.is_unknown() {
            return;
        }
        let Ok(mut failed) = timeout(LIMIT, self.turn.lock()).await else {
            let reason = Reason {
                code: "boot.busy",
                text: "Too many machines ask to be let in at a time.".into(),
            };
            if let Some(terms) = self.terms(facts) {
                self.put_off(&identity, terms, reason);
            }
            return;
        };
        // It may have come twice, or have waited behind others while it was let in.
        let Some(terms) = self.terms(facts) else {
            return;
        };
        if let Some(failed) = failed.as_ref().filter(|f| f.at.elapsed() < AFTER_FAILURE) {
            return self.put_off(&identity, terms, failed.reason.clone());
        }
        *failed = None;
        if let Err(error) = self.ask_store(&identity, facts, terms).await {
            tracing::warn!(code = error.code(), "a machine cannot ask: {error}");
            let reason = put_off_by(&error);
            self.put_off(&identity, terms, reason.clone());
            if !matches!(error, StoreError::TooMany { .. }) {
                let at = Instant::now();
                *failed = Some(Failed { at, reason });
            }
        }
    }

    /// Lets the machine in that asked by this code, and notes what is said of it. That holds from
    /// its next request on.
    ///
    /// # Errors
    /// What the store says; then nothing has changed.
    pub async fn approve(
        &self,
        code: &str,
        edits: Vec<Edit>,
        by: &str,
    ) -> Result<(Approval, Option<i64>), StoreError> {
        let answer = Answer::Approve(edits);
        let decided = self
            .store
            .decide(code, &answer, by, SystemTime::now())
            .await;
        let (approval, machine) = decided?;
        if let Err(error) = self.machines.renew(&machine.into_iter().collect()).await {
            // Its request is forgotten here, so it is looked for in the store again.
            tracing::warn!(code = error.code(), "who was let in is not read: {error}");
        }
        self.take_in(&approval);
        self.tell(&approval);
        Ok((approval, machine))
    }

    /// Does not let it in.
    ///
    /// # Errors
    /// What the store says; then nothing has changed.
    pub async fn deny(
        &self,
        code: &str,
        reason: Option<String>,
        by: &str,
    ) -> Result<Approval, StoreError> {
        let now = SystemTime::now();
        let until = now + *self.keep();
        let answer = Answer::Deny { until, reason };
        let (approval, _) = self.store.decide(code, &answer, by, now).await?;
        self.take_in(&approval);
        self.tell(&approval);
        Ok(approval)
    }

    /// One request.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, code: &str) -> Result<Option<Approval>, StoreError> {
        self.store.approval(code).await
    }

    /// Requests, newest first, behind the one that was made at this time by this code.
    ///
    /// # Errors
    /// What the store says.
    pub async fn page(
        &self,
        state: Option<ApprovalState>,
        before: Option<(SystemTime, &str)>,
        limit: u32,
    ) -> Result<Vec<Approval>, StoreError> {
        self.store.approvals(state, before, limit).await
    }

    /// Ends requests that nobody answered in time, for ever.
    pub async fn expire(self: Arc<Self>) {
        loop {
            match self.store.expire_approvals(SystemTime::now()).await {
                Ok(ended) if ended.is_empty() => sleep(EXPIRE_EVERY).await,
                Ok(ended) => ended.iter().for_each(|ended| {
                    self.take_in(ended);
                    self.tell(ended);
                }),
                Err(error) => {
                    // Machines are told by the clock; the store is told later.
                    tracing::debug!(code = error.code(), "requests do not expire: {error}");
                    sleep(EXPIRE_EVERY).await;
                }
            }
        }
    }

    /// Takes in what other servers changed.
    pub(crate) async fn renew(&self, codes: &BTreeSet<String>) -> Result<(), StoreError> {
        for code in codes {
            if let Some(approval) = self.store.approval(code).await? {
                self.take_in(&approval);
            }
        }
        Ok(())
    }

    /// Others changed more than they tell: every machine is looked for in the store again.
    pub(crate) fn forget_all(&self) {
        self.policy.approvals().clear();
    }

    /// How the machine waits, if it has to ask.
    fn terms(&self, facts: &Facts) -> Option<Terms> {
        match self.policy.decide(facts, SystemTime::now()) {
            Asked::Decided(decision) => asks(&decision),
            Asked::Waits { .. } => None,
        }
    }

    async fn ask_store(
        &self,
        identity: &Identity,
        facts: &Facts,
        terms: Terms,
    ) -> Result<(), StoreError> {
        self.machines.look_for(identity).await?;
        if self.terms(facts).is_none() {
            return Ok(());
        }
        let at = SystemTime::now();
        if let Some(code) = facts.request()
            && let Some(waited) = self.store.approval(code).await?
            && is_of(&waited, identity)
            && is_over(&waited, at)
        {
            let expired = Approval {
                state: ApprovalState::Expired,
                ..waited
            };
            self.take_in(&expired);
            return Ok(());
        }
        let request = Request {
            mac: identity.mac,
            guid: identity.guid,
            facts: told(facts, identity),
            at,
            expires: at + terms.expire,
        };
        let approval = self.store.ask(&request).await?;
        self.take_in(&approval);
        self.tell(&approval);
        Ok(())
    }

    fn take_in(&self, approval: &Approval) {
        let table = self.policy.approvals();
        let code = || Arc::from(approval.code.as_str());
        let (standing, until) = match approval.state {
            ApprovalState::Approved => return table.forget(approval.mac, approval.guid),
            ApprovalState::Pending => (Standing::Pending { code: code() }, approval.expires),
            ApprovalState::Denied => {
                let reason = approval.reason.as_deref().map(Arc::from);
                let code = code();
                (Standing::Denied { code, reason }, approval.expires)
            }
            ApprovalState::Expired => {
                let until = SystemTime::now() + EXPIRED_TOLD;
                (Standing::Expired { code: code() }, until)
            }
        };
        table.set((approval.mac, approval.guid), standing, until);
    }

    fn put_off(&self, identity: &Identity, terms: Terms, reason: Reason) {
        let until = SystemTime::now() + terms.every;
        let table = self.policy.approvals();
        let who = (identity.mac, identity.guid);
        table.set(who, Standing::PutOff(reason), until);
    }

    fn tell(&self, approval: &Approval) {
        let (code, state) = (approval.code.as_str(), approval.state.name());
        tracing::info!(request = code, "a request to be let in is {state}");
        let event = BootEvent {
            at: SystemTime::now(),
            mac: approval.mac,
            ip: None,
            what: What::Approval {
                code: code.into(),
                state,
                by: approval.decider.as_deref().map(Arc::from),
            },
        };
        if self.events.try_send(event).is_err() {
            self.metrics.planes.events_dropped.inc();
        }
    }

    fn keep(&self) -> MutexGuard<'_, Duration> {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the machine waits, if people have to be asked.
pub(crate) fn asks(decision: &Decision) -> Option<Terms> {
    match &decision.outcome {
        Outcome::Serve(plan) => match plan.boot {
            Boot::Admission(terms) => Some(terms),
            _ => None,
        },
        Outcome::Silent(_) => None,
    }
}

fn is_of(approval: &Approval, identity: &Identity) -> bool {
    match (approval.guid, identity.guid) {
        (Some(one), Some(other)) => one == other,
        _ => approval.mac == identity.mac,
    }
}

/// Nobody answered in time.
fn is_over(approval: &Approval, now: SystemTime) -> bool {
    match approval.state {
        ApprovalState::Expired => true,
        ApprovalState::Pending => approval.expires <= now,
        ApprovalState::Approved | ApprovalState::Denied => false,
    }
}

/// What the machine says of itself; what it sends besides is left out where that is too much.
fn told(facts: &Facts, identity: &Identity) -> String {
    let mut json = facts.to_json(identity, None);
    let told = json.to_string();
    if told.len() <= FACTS_MAX {
        return told;
    }
    json["params"] = serde_json::json!({});
    Some(json.to_string())
        .filter(|told| told.len() <= FACTS_MAX)
        .unwrap_or_else(|| "{}".to_owned())
}

/// What the machine's screen says; what the database said is for the log.
fn put_off_by(error: &StoreError) -> Reason {
    let text = match error {
        StoreError::TooMany { .. } => {
            "More machines wait to be let in than may: somebody has to answer them first."
        }
        _ => "The database that keeps who asks to be let in does not answer.",
    };
    Reason {
        code: error.code(),
        text: text.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
