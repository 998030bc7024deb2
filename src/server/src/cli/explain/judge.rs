//! Decides as the server would, from its configuration, its images and its database.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::Catalog;
use bootstorm_config::Config;
use bootstorm_control::machines::snapshot;
use bootstorm_policy::chain::Link;
use bootstorm_policy::{Explanation, Facts, Machine, Policy, Ports, Rules};
use bootstorm_proto::dhcp::{ClientFacts, Style};
use bootstorm_providers::Runner;
use bootstorm_store::{Location, MachineRecord, Store, StoreError};
use tokio::runtime::Runtime;

use crate::{network, remote, translate};

/// A database that is slower than this is explained without.
const PATIENCE: Duration = Duration::from_secs(10);

/// Decides as the server would, without sending anything to machines.
pub(super) struct Judge {
    policy: Arc<Policy>,
    /// How replies are formed.
    pub(super) style: Style,
    /// Our address towards machines.
    pub(super) local: Ipv4Addr,
    /// What the reader should know of what this rests on.
    pub(super) notes: Vec<String>,
    /// The database, where there is one.
    pub(super) store: Option<Store>,
    /// For what waits.
    pub(super) runtime: Runtime,
    /// Asks remote providers, if they are to be asked.
    runner: Option<Runner>,
}

impl Judge {
    /// With `ask`, remote providers are asked as a server asks them.
    pub(super) fn new(
        config: &Config,
        server: Option<Ipv4Addr>,
        ask: bool,
    ) -> anyhow::Result<Self> {
        let (catalog, note) = crate::offline::catalog(config);
        let mut judge = Self::of(config, catalog, server.map_or_else(own_address, Ok)?)?;
        judge.notes.extend(note);
        match judge.runtime.block_on(known(config, &judge.policy)) {
            Ok(store) => judge.store = store,
            Err(error) => {
                let note = format!("no machine of the database is known: {error}");
                judge.notes.push(note);
            }
        }
        let remote = judge.remote();
        if !ask && !remote.is_empty() {
            let note = format!("not asked: {}; --ask asks them", remote.join(", "));
            judge.notes.push(note);
        }
        if ask {
            let policy = Arc::clone(&judge.policy);
            let providers = remote::providers(config).map_err(anyhow::Error::msg)?;
            judge.runner = Some(Runner::new(policy, providers));
        }
        Ok(judge)
    }

    /// By the configuration and this catalog alone.
    pub(super) fn of(config: &Config, catalog: Catalog, local: Ipv4Addr) -> anyhow::Result<Self> {
        let rules = Rules::from(config);
        let policy = Policy::new(rules, Ports::from(&config.listen), Arc::new(catalog));
        Ok(Self {
            policy: Arc::new(policy),
            style: translate::style(config),
            local,
            notes: Vec::new(),
            store: None,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            runner: None,
        })
    }

    /// Why a DHCP client would be answered what it would be answered.
    pub(super) fn dhcp(&self, client: &ClientFacts) -> Explanation {
        self.ask(&Facts::from(client));
        // Two machines with one GUID are told apart by what they send.
        let _ = self.policy.dhcp(client);
        self.policy.explain_dhcp(client, SystemTime::now())
    }

    /// Why a machine would get the script that it would get.
    pub(super) fn script(&self, facts: Facts) -> Explanation {
        self.ask(&facts);
        self.policy.explain(facts, SystemTime::now())
    }

    /// The providers that are not in memory.
    fn remote(&self) -> Vec<String> {
        let links = self.policy.chain().links;
        let names = links.iter().filter_map(|link| match link {
            Link::Remote(remote) => Some(remote.name.to_string()),
            Link::Instant(_) => None,
        });
        names.collect()
    }

    fn ask(&self, facts: &Facts) {
        if let Some(runner) = &self.runner {
            // What they say stays with the policy.
            let _ = self.runtime.block_on(runner.decide(facts));
        }
    }
}

/// Tells the policy what the database knows of machines. `None`: there is no database yet.
async fn known(config: &Config, policy: &Policy) -> Result<Option<Store>, StoreError> {
    let location = match &config.store.url {
        Some(url) => url.parse()?,
        None => Location::in_folder(&config.data),
    };
    if let Location::File(path) = &location
        && !path.exists()
    {
        return Ok(None);
    }
    let read = async {
        let store = Store::open(&location).await?;
        let records = store.load().await?;
        let known = records.iter().filter(|record| record.is_known());
        policy.machines().set_all(known.map(stored));
        Ok(Some(store))
    };
    let late = || {
        Err(StoreError::Locked {
            database: location.clone(),
            waited: PATIENCE,
        })
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| late())
}

fn stored(record: &MachineRecord) -> Machine {
    Machine {
        once: record.once.as_ref().map(|once| once.boot.clone()),
        ..snapshot(record)
    }
}

/// The host's first IPv4 address.
pub(super) fn own_address() -> anyhow::Result<Ipv4Addr> {
    let interfaces = network::interfaces()?;
    let addresses = interfaces
        .iter()
        .filter(|i| !i.loopback)
        .flat_map(|i| &i.addresses);
    let first = addresses.filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    Ok(first.into_iter().next().unwrap_or(Ipv4Addr::LOCALHOST))
}
