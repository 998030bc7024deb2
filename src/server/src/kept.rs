//! What outlives a run of the server: the store and those who keep decisions in step with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_config::{ApprovalConfig, Config, ProviderKind};
use bootstorm_control::{Approvals, Boots, History, Machines};
use bootstorm_policy::Policy;
use bootstorm_store::{Location, Spool, Store, StoreError};
use bootstorm_telemetry::event::BootEvent;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;
use tracing::warn;

const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// The store and what is made of it.
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) boots: Boots,
    pub(crate) history: History,
    pub(crate) machines: Arc<Machines>,
    pub(crate) approvals: Arc<Approvals>,
}

impl Kept {
    /// Opens the store, hands what it knows to `policy`, and follows what others change there.
    pub(crate) async fn open(
        config: &Config,
        policy: &Arc<Policy>,
        events: Sender<BootEvent>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let store = open_store(config).await?;
        let boots = Boots::new(config.policy.loop_limit);
        let spool = Arc::new(Spool::open(&config.data.join("spool.jsonl"))?);
        let history = History::new(Arc::clone(&spool));
        let watch = store.watch().await?;
        let machines = Machines::open(store.clone(), spool, Arc::clone(policy), boots.clone());
        let machines = Arc::new(machines.await?);
        let approvals = Arc::new(Approvals::new(
            store.clone(),
            Arc::clone(policy),
            Arc::clone(&machines),
            denial_kept(config),
            events,
            metrics,
        ));
        tokio::spawn(Arc::clone(&machines).follow_others(watch, Arc::clone(&approvals)));
        tokio::spawn(Arc::clone(&approvals).expire());
        Ok(Self {
            store,
            boots,
            history,
            machines,
            approvals,
        })
    }

    /// Takes what concerns it of a new configuration.
    pub(crate) fn configure(&self, config: &Config) {
        self.boots.set_repeats(config.policy.loop_limit);
        self.approvals.set_keep(denial_kept(config));
    }
}

/// Where machines and requests are kept.
pub(crate) fn location(config: &Config) -> Result<Location, StoreError> {
    match &config.store.url {
        Some(url) => url.parse(),
        None => Ok(Location::in_folder(&config.data)),
    }
}

/// How long a machine that was not let in is not asked about again.
pub(crate) fn denial_kept(config: &Config) -> Duration {
    let mut kinds = config.providers.iter().map(|provider| &provider.kind);
    kinds
        .find_map(|kind| match kind {
            ProviderKind::Approval(approval) => Some(approval.keep),
            _ => None,
        })
        .unwrap_or(ApprovalConfig::KEEP)
}

async fn open_store(config: &Config) -> Result<Store, StoreError> {
    let store = Store::open(&location(config)?).await?;
    tokio::spawn(forget(store.clone(), config.store.retention));
    Ok(store)
}

/// Forgets events and boots that are older than people want them kept.
async fn forget(store: Store, kept: Duration) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        if let Err(error) = store.forget_old(kept, SystemTime::now()).await {
            warn!(code = error.code(), "what is old is kept: {error}");
        }
    }
}
