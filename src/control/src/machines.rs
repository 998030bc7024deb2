//! What people say of machines: names and assignments, kept in the store, obeyed by the policy.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bootstorm_policy::{Machine, Policy};
use bootstorm_proto::types::MacAddress;
use bootstorm_store::{
    Edit, Filter, Hardware, Key, MACHINES_MAX, MachineRecord, Sighting, Store, StoreError,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::clients::{Client, Clients, Update};

/// The machines that the store knows.
#[derive(Debug)]
pub struct Machines {
    store: Store,
    policy: Arc<Policy>,
    /// One change at a time, so that the policy never goes back to an older list.
    changing: Mutex<()>,
    known: watch::Sender<HashSet<MacAddress>>,
}

impl Machines {
    /// Hands the stored assignments to the policy.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open(store: Store, policy: Arc<Policy>) -> Result<Self, StoreError> {
        let known = store
            .load()
            .await?
            .into_iter()
            .filter(MachineRecord::is_known);
        let known = known.flat_map(|machine| machine.macs).collect();
        let machines = Self {
            store,
            policy,
            changing: Mutex::new(()),
            known: watch::Sender::new(known),
        };
        machines.obey().await?;
        Ok(machines)
    }

    /// Machines that booted here, or that somebody named or assigned something; changes when one
    /// more does.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<HashSet<MacAddress>> {
        self.known.subscribe()
    }

    /// Says what a machine boots: an entry's id, `local`, `menu`, or nothing of its own.
    ///
    /// # Errors
    /// What the database says; then nothing has changed.
    pub async fn assign(&self, mac: MacAddress, boot: Option<&str>) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        let edit = Edit::Boot(boot.map(str::to_owned));
        self.store.change(&Key::Mac(mac), &[edit]).await?;
        self.knows([mac]);
        self.obey().await
    }

    /// Names a machine for people.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rename(&self, mac: MacAddress, name: Option<&str>) -> Result<(), StoreError> {
        let edit = Edit::Name(name.map(str::to_owned));
        self.store.change(&Key::Mac(mac), &[edit]).await?;
        self.knows([mac]);
        Ok(())
    }

    /// One machine.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get(&self, mac: MacAddress) -> Result<Option<MachineRecord>, StoreError> {
        self.store.machine(&Key::Mac(mac)).await
    }

    /// Machines behind `after`, in the order of their numbers.
    ///
    /// # Errors
    /// What the database says.
    pub async fn page(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<MachineRecord>, StoreError> {
        self.store.machines(&Filter::default(), after, limit).await
    }

    /// Notes in the store which machines were seen, every two seconds, until the table ends. An
    /// error is logged and the next batch tried: boots go on without a database.
    pub fn follow(self: Arc<Self>, clients: &Clients) -> impl Future<Output = ()> + Send + use<> {
        let updates = clients.subscribe();
        async move { self.record(updates).await }
    }

    async fn record(&self, mut updates: broadcast::Receiver<Update>) {
        let mut seen = HashMap::new();
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    Ok(update) => take_note(&mut seen, &update.client),
                    // Those that were missed are seen again or were quick.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                _ = flush.tick() => self.note(&mut seen).await,
            }
        }
        self.note(&mut seen).await;
    }

    async fn note(&self, seen: &mut HashMap<MacAddress, Sighting>) {
        let batch: Vec<_> = seen.drain().map(|(_, sighting)| sighting).collect();
        self.knows(batch.iter().filter(|s| s.has_booted).filter_map(|s| s.mac));
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.store.seen(&batch).await {
            tracing::warn!(
                code = error.code(),
                machines = batch.len(),
                "not noted: {error}"
            );
        }
    }

    fn knows(&self, machines: impl IntoIterator<Item = MacAddress>) {
        self.known.send_if_modified(|known| {
            let before = known.len();
            let room = (MACHINES_MAX as usize).saturating_sub(before);
            known.extend(machines.into_iter().take(room));
            known.len() > before
        });
    }

    async fn obey(&self) -> Result<(), StoreError> {
        let machines = self.store.load().await?;
        let known = machines.into_iter().filter(MachineRecord::is_known);
        self.policy.machines().set_all(known.map(snapshot));
        Ok(())
    }
}

const FLUSH: Duration = Duration::from_secs(2);

fn snapshot(record: MachineRecord) -> Machine {
    Machine {
        id: record.id,
        known: record.is_known(),
        name: record.name,
        guid: record.guid,
        macs: record.macs,
        serial: record.hardware.serial,
        tags: record.tags,
        values: record.values,
        boot: record.boot,
        once: record.once.map(|once| once.boot),
        held: record.held.is_some(),
    }
}

fn take_note(seen: &mut HashMap<MacAddress, Sighting>, client: &Client) {
    let Some(mac) = client.mac else { return };
    // A machine that begins anew has booted all the same.
    let before = seen.get(&mac).is_some_and(|sighting| sighting.has_booted);
    let sighting = Sighting {
        mac: Some(mac),
        hardware: Hardware::default(),
        guid: client.guid,
        arch: client.arch,
        phase: client.phase.name().to_owned(),
        has_booted: before || client.has_booted(),
        at: client.last_seen,
    };
    seen.insert(mac, sighting);
}
