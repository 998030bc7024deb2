//! Machines that the store knows, and the snapshot of them that decisions are made from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bootstorm_policy::{Facts, Machine, Policy};
use bootstorm_proto::types::MacAddress;
use bootstorm_store::{
    Changes, Edit, Filter, Hardware, Key, LIMIT, MACHINES_MAX, MachineRecord, Note, Sighting,
    Spool, Store, StoreError, Watch,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::boots::{Boots, Who};
use crate::clients::{Client, Clients, Update};

/// The machines that the store knows.
#[derive(Debug)]
pub struct Machines {
    store: Store,
    policy: Arc<Policy>,
    boots: Boots,
    spool: Spool,
    /// What the snapshot holds of each machine, by number. One change at a time, so that the
    /// snapshot never goes back to an older state.
    held: Mutex<Held>,
    known: watch::Sender<HashSet<MacAddress>>,
}

impl Machines {
    /// Hands what is stored to the policy. What is seen goes through `spool`. `boots` forgets machines that people decide anew for.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open(
        store: Store,
        spool: Spool,
        policy: Arc<Policy>,
        boots: Boots,
    ) -> Result<Self, StoreError> {
        let machines = Self {
            store,
            spool,
            policy,
            boots,
            held: Mutex::default(),
            known: watch::Sender::default(),
        };
        machines.reload().await?;
        Ok(machines)
    }

    /// Machines that booted here, or that somebody said something of; changes when one more does.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<HashSet<MacAddress>> {
        self.known.subscribe()
    }

    /// Changes a machine by `edits`, which are told how it was; one that nobody knows is made when
    /// the key is its address or GUID. It holds from the next decision on.
    ///
    /// # Errors
    /// What the database says; then nothing has changed.
    pub async fn change(
        &self,
        key: &Key,
        edits: impl FnOnce(Option<&MachineRecord>) -> Vec<Edit>,
    ) -> Result<MachineRecord, StoreError> {
        let mut held = self.held.lock().await;
        let before = self.store.machine(key).await?;
        let edits = edits(before.as_ref());
        let now = self.store.change(key, &edits).await?;
        self.take_in(&mut held, &now);
        if edits.iter().any(begins_anew) {
            self.boots.forget(Who::Machine(now.id));
        }
        Ok(now)
    }

    /// Changes many machines, all or none.
    ///
    /// # Errors
    /// Which of them cannot be changed, and why.
    pub async fn change_all(
        &self,
        changes: &[(Key, Vec<Edit>)],
    ) -> Result<(), (usize, StoreError)> {
        let held = self.held.lock().await;
        self.store.change_all(changes).await?;
        drop(held);
        let reloaded = self.reload().await;
        reloaded.map_err(|error| (changes.len(), error))
    }

    /// Forgets a machine. `false`: there was none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let mut held = self.held.lock().await;
        let Some(before) = self.store.machine(key).await? else {
            return Ok(false);
        };
        let is_gone = self.store.remove(&Key::Id(before.id)).await?;
        self.forget(&mut held, before.id);
        Ok(is_gone)
    }

    /// Takes what a machine is to boot once. `None`: there is no such order any more.
    ///
    /// # Errors
    /// What the database says; then the order may be taken or not.
    pub async fn take_once(&self, machine: i64) -> Result<Option<String>, StoreError> {
        // A long list that comes in takes longer than a machine waits for its script.
        let Ok(mut held) = timeout(LIMIT, self.held.lock()).await else {
            let database = self.store.location().clone();
            let waited = LIMIT;
            return Err(StoreError::Locked { database, waited });
        };
        let key = Key::Id(machine);
        let Some(before) = self.store.machine(&key).await? else {
            return Ok(None);
        };
        let taken = match &before.once {
            Some(once) => self.store.take_once(machine, once.at).await?,
            None => None,
        };
        if let Some(now) = self.store.machine(&key).await? {
            self.take_in(&mut held, &now);
        }
        Ok(taken)
    }

    /// One machine.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get(&self, key: &Key) -> Result<Option<MachineRecord>, StoreError> {
        self.store.machine(key).await
    }

    /// Machines behind `after`, in the order of their numbers.
    ///
    /// # Errors
    /// What the database says.
    pub async fn page(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<MachineRecord>, StoreError> {
        self.store.machines(filter, after, limit).await
    }

    /// Ends the connections to the store.
    #[cfg(test)]
    pub(crate) async fn close(&self) {
        self.store.clone().close().await;
    }

    /// Notes in the store which machines were seen, every two seconds, until the table ends. While
    /// the database is away the notes wait in the spool: boots go on without it.
    pub fn follow(self: Arc<Self>, clients: &Clients) -> impl Future<Output = ()> + Send + use<> {
        let updates = clients.subscribe();
        async move { self.record(updates).await }
    }

    /// Takes in what other servers and the command line change in the store, for ever.
    pub async fn follow_others(self: Arc<Self>, mut watch: Watch) {
        loop {
            let taken_in = match watch.next().await {
                Ok(Changes::All) => self.reload().await,
                Ok(Changes::Some { machines, .. }) => self.renew(&machines).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken_in {
                let code = error.code();
                tracing::warn!(code, "what other servers change is not seen: {error}");
                tokio::time::sleep(AGAIN).await;
                // What was read of the changes may not have been taken in.
                watch.rewind();
            }
        }
    }

    async fn record(&self, mut updates: broadcast::Receiver<Update>) {
        let mut seen = HashMap::new();
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    Ok(update) => self.take_note(&mut seen, &update.client),
                    // Those that were missed are seen again or were quick.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                _ = flush.tick() => self.note(&mut seen).await,
            }
        }
        self.note(&mut seen).await;
    }

    /// What does not identify a machine for decisions does not for the store: machines that share
    /// a vendor's GUID stay several.
    fn take_note(&self, seen: &mut HashMap<MacAddress, Sighting>, client: &Client) {
        let Some(mac) = client.mac else { return };
        let identity = self.policy.identify(&Facts {
            mac: Some(mac),
            guid: client.guid,
            ..Facts::default()
        });
        if identity.is_unknown() {
            return;
        }
        // A machine that begins anew has booted all the same.
        let before = seen.get(&mac).is_some_and(|sighting| sighting.has_booted);
        let sighting = Sighting {
            mac: identity.mac,
            guid: identity.guid,
            arch: client.arch,
            hardware: Hardware::default(),
            phase: client.phase.name().to_owned(),
            has_booted: before || client.has_booted(),
            at: client.last_seen,
        };
        seen.insert(mac, sighting);
    }

    async fn note(&self, seen: &mut HashMap<MacAddress, Sighting>) {
        let booted = seen.values().filter(|s| s.has_booted);
        self.knows(booted.filter_map(|s| s.mac));
        let notes: Vec<_> = seen.drain().map(|(_, s)| Note::Seen(s)).collect();
        self.spool.put(&notes);
        let noted = async {
            let changed = self.spool.deliver(&self.store).await?;
            self.renew(&changed).await
        };
        if let Err(error) = noted.await {
            let (code, bytes) = (error.code(), self.spool.waiting());
            tracing::warn!(code, bytes, "what was seen waits in the spool: {error}");
        }
    }

    /// Takes in machines as the store has them now.
    async fn renew(&self, machines: &BTreeSet<i64>) -> Result<(), StoreError> {
        for id in machines {
            let mut held = self.held.lock().await;
            match self.store.machine(&Key::Id(*id)).await? {
                Some(now) => self.take_in(&mut held, &now),
                None => self.forget(&mut held, *id),
            }
        }
        Ok(())
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        let records = self.store.load().await?;
        let known = || records.iter().filter(|record| record.is_known());
        let macs = known().flat_map(|record| record.macs.iter().copied());
        self.known.send_replace(macs.collect());
        *held = known().map(|record| (record.id, keys(record))).collect();
        self.policy.machines().set_all(known().map(snapshot));
        Ok(())
    }

    fn take_in(&self, held: &mut Held, now: &MachineRecord) {
        let before = held.insert(now.id, keys(now));
        self.policy.machines().set(before.as_ref(), snapshot(now));
        if now.is_known() {
            self.knows(now.macs.iter().copied());
        }
    }

    fn forget(&self, held: &mut Held, id: i64) {
        if let Some(before) = held.remove(&id) {
            self.policy.machines().remove(&before);
        }
    }

    /// A machine that is forgotten stays known until the next start.
    fn knows(&self, machines: impl IntoIterator<Item = MacAddress>) {
        self.known.send_if_modified(|known| {
            let before = known.len();
            let room = (MACHINES_MAX as usize).saturating_sub(before);
            known.extend(machines.into_iter().take(room));
            known.len() > before
        });
    }
}

const FLUSH: Duration = Duration::from_secs(2);

/// How long after a failure others' changes are looked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// Number, GUID and addresses of machines, nothing else.
type Held = HashMap<i64, Machine>;

fn keys(record: &MachineRecord) -> Machine {
    Machine {
        id: record.id,
        guid: record.guid,
        macs: record.macs.clone(),
        ..Machine::default()
    }
}

/// People decided anew what it boots: what it did before does not count.
const fn begins_anew(edit: &Edit) -> bool {
    matches!(edit, Edit::Boot(_) | Edit::Once(_) | Edit::Held(_))
}

/// What decisions need of a machine.
fn snapshot(record: &MachineRecord) -> Machine {
    Machine {
        id: record.id,
        name: record.name.clone(),
        guid: record.guid,
        macs: record.macs.clone(),
        serial: record.hardware.serial.clone(),
        tags: record.tags.clone(),
        values: record.values.clone(),
        boot: record.boot.clone(),
        once: record.once.as_ref().map(|once| once.boot.clone()),
        held: record.held.is_some(),
        known: record.is_known(),
    }
}

#[cfg(test)]
mod tests;
