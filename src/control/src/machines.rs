//! Machines that the store knows, and the snapshot of them that decisions are made from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bootstorm_policy::{Facts, Identity, Machine, Policy};
use bootstorm_proto::types::MacAddress;
use bootstorm_store::{
    Changes, Edit, Filter, Hardware, Key, LIMIT, Location, MACHINES_MAX, MachineRecord, Note,
    Sighting, Spool, Store, StoreError, Watch,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::Approvals;
use crate::boots::{self, Boots, Who};
use crate::clients::{Client, Clients, Update};
use crate::outage::Outage;

mod seen;

use seen::Seen;

/// The machines that the store knows.
#[derive(Debug)]
pub struct Machines {
    store: Store,
    policy: Arc<Policy>,
    boots: Boots,
    spool: Arc<Spool>,
    /// What the snapshot holds of each machine, by number. One change at a time, so that the
    /// snapshot never goes back to an older state.
    held: Mutex<Held>,
    known: watch::Sender<HashSet<MacAddress>>,
    /// What machines told of themselves with requests that began no boot, by MAC.
    told: std::sync::Mutex<HashMap<MacAddress, Sighting>>,
    outage: std::sync::Mutex<Outage>,
}

impl Machines {
    /// Hands what is stored to the policy, and to `boots` what must not run twice, after what an
    /// earlier run left in `spool` has been delivered. What is seen goes through the spool. `boots`
    /// forgets machines that people decide anew for.
    ///
    /// # Errors
    /// What the database says. One that can be read but not written is not enough: it would not
    /// know what the earlier run has noted.
    pub async fn open(
        store: Store,
        spool: Arc<Spool>,
        policy: Arc<Policy>,
        boots: Boots,
    ) -> Result<Self, StoreError> {
        spool.deliver(&store).await?;
        let machines = Self {
            store,
            spool,
            policy,
            boots,
            held: Mutex::default(),
            known: watch::Sender::default(),
            told: std::sync::Mutex::default(),
            outage: std::sync::Mutex::default(),
        };
        machines.reload().await?;
        let since = SystemTime::now() - boots::WINDOW;
        let most = u32::try_from(boots::MACHINES_MAX).unwrap_or(u32::MAX);
        let tasks = machines.store.tasks(since, most).await?;
        machines.boots.resume(tasks);
        Ok(machines)
    }

    /// What a machine tells of itself is in the store some seconds later.
    pub(crate) fn told(&self, seen: Sighting) {
        let Some(mac) = seen.mac else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX || told.contains_key(&mac) {
            told.insert(mac, seen);
        }
    }

    /// Where its history is.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Bytes of notes that the database has not taken yet, and how many notes were given up.
    pub(crate) fn spooled(&self) -> (u64, u64) {
        (self.spool.waiting(), self.spool.dropped())
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
    /// While the database is away the order is taken from memory and that is noted, but only where
    /// the database is a file: no other server takes it meanwhile.
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
        match self.take_from_store(&mut held, machine).await {
            Err(error) if matches!(self.store.location(), Location::File(_)) => {
                let taken = self.take_from_memory(&mut held, machine).await;
                taken.ok_or(error)
            }
            done => done,
        }
    }

    async fn take_from_store(
        &self,
        held: &mut Held,
        machine: i64,
    ) -> Result<Option<String>, StoreError> {
        let key = Key::Id(machine);
        let Some(before) = self.store.machine(&key).await? else {
            return Ok(None);
        };
        let order = before.once.filter(|once| !held.has_taken(machine, once.at));
        let taken = match order {
            Some(once) => self.store.take_once(machine, once.at).await?,
            None => None,
        };
        if let Some(now) = self.store.machine(&key).await? {
            self.take_in(held, &now);
        }
        Ok(taken)
    }

    /// `None`: nobody would know after a power cut that it is taken.
    async fn take_from_memory(&self, held: &mut Held, machine: i64) -> Option<Option<String>> {
        let Some(before) = held.machines.get_mut(&machine) else {
            return Some(None);
        };
        let Some(at) = before.once else {
            return Some(None);
        };
        let identity = Identity {
            mac: before.keys.macs.first().copied(),
            guid: before.keys.guid,
            ..Identity::default()
        };
        let known = self.policy.machines().find(&identity)?;
        if known.id != machine {
            return None;
        }
        let is_noted = self.spool.put(&[Note::OnceTaken { machine, at }]);
        if !is_noted || !self.spool.sync().await {
            return None;
        }
        before.once = None;
        let now = Machine {
            once: None,
            ..Machine::clone(&known)
        };
        self.policy.machines().set(Some(&before.keys), now);
        held.taken.insert(machine, at);
        Some(known.once.clone())
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

    #[cfg(test)]
    pub(crate) async fn note_now(&self) {
        self.note(Vec::new()).await;
    }

    /// Notes in the store which machines were seen, every two seconds, until the table ends. While
    /// the database is away the notes wait in the spool: boots go on without it.
    pub fn follow(self: Arc<Self>, clients: &Clients) -> impl Future<Output = ()> + Send + use<> {
        let updates = clients.subscribe();
        async move { self.record(updates).await }
    }

    /// Takes in what other servers and the command line change in the store, for ever.
    pub async fn follow_others(self: Arc<Self>, mut watch: Watch, requests: Arc<Approvals>) {
        loop {
            let taken_in = match watch.next().await {
                Ok(Changes::All) => {
                    requests.forget_all();
                    self.reload().await
                }
                Ok(Changes::Some {
                    machines,
                    approvals,
                }) => {
                    // Who was let in is known before its request is forgotten.
                    match self.renew(&machines).await {
                        Ok(()) => requests.renew(&approvals).await,
                        error => error,
                    }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = taken_in {
                if self.outage().fails(Instant::now()) {
                    let code = error.code();
                    tracing::warn!(code, "what other servers change is not seen: {error}");
                }
                tokio::time::sleep(AGAIN).await;
                // What was read of the changes may not have been taken in.
                watch.rewind();
            }
        }
    }

    async fn record(&self, mut updates: broadcast::Receiver<Update>) {
        let mut seen = Seen::default();
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
                _ = flush.tick() => self.note(seen.due()).await,
            }
        }
        self.note(seen.all()).await;
    }

    /// What does not identify a machine for decisions does not for the store: machines that share
    /// a vendor's GUID stay several.
    fn take_note(&self, seen: &mut Seen, client: &Client) {
        let Some(mac) = client.mac else { return };
        let identity = self.policy.identify(&Facts {
            mac: Some(mac),
            guid: client.guid,
            ..Facts::default()
        });
        if identity.is_unknown() {
            return;
        }
        let sighting = Sighting {
            mac: identity.mac,
            guid: identity.guid,
            arch: client.arch,
            hardware: Hardware::default(),
            phase: client.phase.name().to_owned(),
            has_booted: client.has_booted(),
            at: client.last_seen,
        };
        seen.add(mac, sighting);
    }

    async fn note(&self, seen: Vec<Sighting>) {
        let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        let booted = seen.iter().filter(|s| s.has_booted);
        self.knows(booted.filter_map(|s| s.mac));
        let notes: Vec<_> = seen
            .into_iter()
            .chain(told.into_values())
            .map(Note::Seen)
            .collect();
        self.spool.put(&notes);
        match self.deliver().await {
            Ok(()) => {
                let was_away = self.outage().works(Instant::now());
                if let Some(was_away) = was_away {
                    let seconds = was_away.as_secs();
                    tracing::info!(seconds, "the database is back, and has what was noted");
                }
            }
            Err(error) if self.outage().fails(Instant::now()) => {
                let (code, (bytes, dropped)) = (error.code(), self.spooled());
                tracing::warn!(
                    code,
                    bytes,
                    dropped,
                    "what machines do is noted in the spool until the database is back: {error}"
                );
            }
            Err(_) => {}
        }
    }

    async fn deliver(&self) -> Result<(), StoreError> {
        if self.spool.waiting() == 0 && self.outage().lasts() {
            self.store.machine(&Key::Id(0)).await?;
        }
        let changed = self.spool.deliver(&self.store).await?;
        self.renew(&changed).await
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what people have said of a machine in the store that decisions do not know yet.
    pub(crate) async fn look_for(&self, identity: &Identity) -> Result<(), StoreError> {
        let by_guid = identity.guid.map(Key::Guid);
        for key in by_guid.into_iter().chain(identity.mac.map(Key::Mac)) {
            match self.store.machine(&key).await {
                Ok(Some(found)) if found.admitted.is_some() => {
                    self.renew(&BTreeSet::from([found.id])).await?;
                }
                Ok(_) | Err(StoreError::Ambiguous { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes in machines as the store has them now.
    pub(crate) async fn renew(&self, machines: &BTreeSet<i64>) -> Result<(), StoreError> {
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
        let begun = Instant::now();
        let records = self.store.load().await?;
        let known = || records.iter().filter(|record| record.is_known());
        let macs = known().flat_map(|record| record.macs.iter().copied());
        self.known.send_replace(macs.collect());
        for record in &records {
            self.forget_if_reset(&held, record);
        }
        let taken = std::mem::take(&mut held.taken);
        let is_open = |record: &&MachineRecord| {
            let once = record.once.as_ref();
            once.is_some_and(|once| taken.get(&record.id) == Some(&once.at))
        };
        held.taken = known()
            .filter(is_open)
            .filter_map(|record| Some((record.id, record.once.as_ref()?.at)))
            .collect();
        held.machines = known()
            .map(|record| (record.id, Kept::of(record)))
            .collect();
        let machines = known().map(|record| held.snapshot(record));
        self.policy.machines().set_all(machines);
        let (machines, seconds) = (records.len(), begun.elapsed().as_secs_f64());
        tracing::info!(machines, seconds, "the machines of the store are loaded");
        Ok(())
    }

    fn take_in(&self, held: &mut Held, now: &MachineRecord) {
        self.forget_if_reset(held, now);
        if held.taken.get(&now.id) != now.once.as_ref().map(|once| &once.at) {
            held.taken.remove(&now.id);
        }
        let snapshot = held.snapshot(now);
        let before = held.machines.insert(now.id, Kept::of(now));
        let keys = before.as_ref().map(|before| &before.keys);
        self.policy.machines().set(keys, snapshot);
        if now.is_known() {
            self.knows(now.macs.iter().copied());
        }
    }

    /// People said anew what it boots, here or elsewhere.
    fn forget_if_reset(&self, held: &Held, now: &MachineRecord) {
        let before = held.machines.get(&now.id);
        if before.and_then(|before| before.reset) != now.reset {
            self.boots.forget(Who {
                machine: Some(now.id),
                guid: now.guid,
                mac: now.macs.first().copied(),
            });
        }
    }

    fn forget(&self, held: &mut Held, id: i64) {
        held.taken.remove(&id);
        if let Some(before) = held.machines.remove(&id) {
            self.policy.machines().remove(&before.keys);
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

/// Machines that told of themselves and are not noted yet; more tell it again.
const TOLD_MAX: usize = 4096;

/// What the snapshot holds.
#[derive(Debug, Default)]
struct Held {
    machines: HashMap<i64, Kept>,
    /// Orders that are taken, of which the store does not know yet.
    taken: HashMap<i64, SystemTime>,
}

/// What is kept of a machine to find it in the snapshot.
#[derive(Debug)]
struct Kept {
    /// Number, GUID and addresses, nothing else.
    keys: Machine,
    /// Names its order.
    once: Option<SystemTime>,
    /// When people last said anew what it boots.
    reset: Option<SystemTime>,
}

impl Kept {
    fn of(record: &MachineRecord) -> Self {
        Self {
            keys: Machine {
                id: record.id,
                guid: record.guid,
                macs: record.macs.clone(),
                ..Machine::default()
            },
            once: record.once.as_ref().map(|once| once.at),
            reset: record.reset,
        }
    }
}

impl Held {
    fn has_taken(&self, machine: i64, at: SystemTime) -> bool {
        self.taken.get(&machine) == Some(&at)
    }

    fn snapshot(&self, record: &MachineRecord) -> Machine {
        let once = record.once.as_ref();
        let once = once.filter(|once| !self.has_taken(record.id, once.at));
        Machine {
            once: once.map(|once| once.boot.clone()),
            ..snapshot(record)
        }
    }
}

/// What decisions need of a machine, but for its order.
#[must_use]
pub fn snapshot(record: &MachineRecord) -> Machine {
    Machine {
        id: record.id,
        name: record.name.clone(),
        guid: record.guid,
        macs: record.macs.clone(),
        serial: record.hardware.serial.clone(),
        tags: record.tags.clone(),
        values: record.values.clone(),
        boot: record.boot.clone(),
        once: None,
        held: record.held.is_some(),
        admitted: record.admitted.is_some(),
        known: record.is_known(),
        done: record.done.clone(),
    }
}

#[cfg(test)]
mod tests;
