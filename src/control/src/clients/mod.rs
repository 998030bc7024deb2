//! Every machine of late: where its boot stands, what it loads, why it failed.
//!
//! One thread owns the table and feeds it with [`BootEvent`]s; readers get [`Client`]s that never
//! change under their hands.

mod client;
mod phase;
mod table;
mod timeline;
mod view;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::BootEvent;
use bootstorm_telemetry::logging::BOOT;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::broadcast;

pub use client::{Client, Travel};
pub use phase::Phase;
pub use table::CLIENTS_MAX;
pub use timeline::{STEPS_MAX, Step, Timeline};
pub use view::{Detail, Summary};

use table::Table;

/// The live table; clones share it.
#[derive(Clone, Debug)]
pub struct Clients {
    shared: Arc<Shared>,
}

/// One step of one machine, for those who write it down or pass it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// When.
    pub at: SystemTime,
    /// The machine's MAC, once it is known.
    pub mac: Option<MacAddress>,
    /// The address that it used.
    pub ip: Option<IpAddr>,
    /// Number of the boot that began with its script.
    pub boot: Option<u64>,
    /// As [`Step::kind`].
    pub kind: &'static str,
    /// Reason code.
    pub code: Option<&'static str>,
    /// In words, without control characters.
    pub text: String,
    /// Where the boot stands now.
    pub phase: Phase,
    /// Bytes of this boot so far.
    pub bytes: u64,
    /// It does not just repeat what happened before.
    pub is_new: bool,
    /// Something has arrived at the machine: it did not only ask.
    pub has_booted: bool,
}

/// Hears what machines do, in order, on the table's thread: it must not wait.
pub trait Hear: Send + Sync {
    /// Some steps.
    fn hear(&self, happened: &[Happened]);
}

/// A machine that changed, for streams.
#[derive(Clone, Debug)]
pub struct Update {
    /// Counts up by one for each update of this run.
    pub sequence: u64,
    /// The machine.
    pub client: Arc<Client>,
    json: Arc<OnceLock<Arc<str>>>,
}

impl Update {
    /// The [`Summary`] as JSON, on one line; written once for all readers.
    #[must_use]
    pub fn json(&self) -> Arc<str> {
        let write = || {
            let summary = Summary::of(&self.client, SystemTime::now());
            serde_json::to_string(&summary).unwrap_or_default().into()
        };
        Arc::clone(self.json.get_or_init(write))
    }
}

/// A part of the list.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order in which they were first seen.
    pub clients: Vec<Arc<Client>>,
    /// Where the next page begins; `None` behind the last machine.
    pub next: Option<u64>,
}

impl Happened {
    fn of(client: &Client, step: Step, ip: Option<IpAddr>) -> Self {
        Self {
            at: step.at,
            mac: client.mac,
            ip,
            boot: client.boot,
            kind: step.kind,
            code: step.code,
            is_new: step.times == 1,
            text: step.text,
            phase: client.phase,
            bytes: client.bytes,
            has_booted: client.has_booted(),
        }
    }

    /// It is news of a machine that something was sent to. Those that only ask may be made up, by
    /// the thousand.
    #[must_use]
    pub fn is_of_boot(&self) -> bool {
        self.is_new && self.has_booted && KINDS.contains(&self.kind)
    }
}

/// Steps that are worth a line years later.
const KINDS: [&str; 14] = [
    "script",
    "queued",
    "started",
    "finished",
    "booted",
    "broken",
    "refused",
    "client-started",
    "network-up",
    "image-applied",
    "done",
    "failed",
    "said",
    "approval",
];

impl Clients {
    /// Starts the thread that reads `events` and tells `hearers` what machines do. It ends when the
    /// last sender or the last clone of this table is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        events: Receiver<BootEvent>,
        metrics: Arc<Metrics>,
        hearers: Vec<Box<dyn Hear>>,
    ) -> io::Result<Self> {
        let updates = broadcast::Sender::new(UPDATES_MAX);
        let clients = Self::new(CLIENTS_MAX, updates.downgrade());
        let shared = Arc::downgrade(&clients.shared);
        std::thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || own(&shared, &events, &updates, &metrics, &hearers))?;
        Ok(clients)
    }

    /// One machine.
    #[must_use]
    pub fn by_mac(&self, mac: MacAddress) -> Option<Arc<Client>> {
        self.shared.table().by_mac(mac)
    }

    /// The machine that used this address last.
    #[must_use]
    pub fn by_ip(&self, ip: IpAddr) -> Option<Arc<Client>> {
        self.shared.table().by_ip(ip)
    }

    /// At most `limit` machines behind `after`, those in `phase` only if one is given.
    #[must_use]
    pub fn page(&self, after: Option<u64>, limit: usize, phase: Option<Phase>) -> Page {
        self.shared.table().page(after, limit, phase)
    }

    /// How many machines are in each phase.
    #[must_use]
    pub fn counts(&self) -> [(Phase, usize); Phase::ALL.len()] {
        self.shared.table().counts()
    }

    /// Changed machines from this moment on, at most four updates a second for each; closed when
    /// the table's thread has ended.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Update> {
        match self.shared.updates.upgrade() {
            Some(updates) => updates.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    fn new(capacity: usize, updates: broadcast::WeakSender<Update>) -> Self {
        Self {
            shared: Arc::new(Shared {
                table: Mutex::new(Table::new(capacity)),
                updates,
            }),
        }
    }

    /// A table that has taken these events in, without a thread.
    #[cfg(test)]
    pub(crate) fn feed(events: impl IntoIterator<Item = BootEvent>) -> Self {
        let clients = Self::new(CLIENTS_MAX, broadcast::Sender::new(1).downgrade());
        for event in events {
            let _ = clients.happens(event);
        }
        clients
    }

    #[cfg(test)]
    pub(crate) fn happens(&self, event: BootEvent) -> Option<Happened> {
        self.shared.table().apply(&event)
    }
}

/// Updates that a slow reader of a stream may be behind before it misses some.
const UPDATES_MAX: usize = 4096;

/// Events taken in before a reader gets its turn.
const BATCH: usize = 256;

/// How often changed machines are told to streams.
const TICK: Duration = Duration::from_millis(250);

/// How often the log counts what machines did.
const SUMMARY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// The thread holds the sender: when it ends, so do the streams.
    updates: broadcast::WeakSender<Update>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is sound between any two of its steps.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own(
    shared: &Weak<Shared>,
    events: &Receiver<BootEvent>,
    updates: &broadcast::Sender<Update>,
    metrics: &Metrics,
    hearers: &[Box<dyn Hear>],
) {
    let mut sequence = 0;
    let mut told = Instant::now();
    let mut tally = Tally::default();
    loop {
        let first = events.recv_timeout(TICK);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
        let mut happened = Vec::new();
        if let Ok(first) = first {
            let mut table = shared.table();
            let batch = std::iter::once(first).chain(events.try_iter().take(BATCH - 1));
            happened.extend(batch.filter_map(|event| table.apply(&event)));
        }
        let is_due = ended || told.elapsed() >= TICK;
        if is_due {
            told = Instant::now();
            happened.extend(shared.table().settle(SystemTime::now()));
            tell(&shared, updates, &mut sequence, metrics);
        }
        for happened in &happened {
            follow(happened);
            tally.add(happened.kind);
        }
        for hearer in hearers {
            hearer.hear(&happened);
        }
        if is_due {
            tally.log_when_due();
        }
        if ended {
            return;
        }
    }
}

/// One line for each step of one machine; see the contract in `telemetry::logging`.
fn follow(happened: &Happened) {
    tracing::debug!(
        target: BOOT,
        mac = happened.mac.map(tracing::field::display),
        ip = happened.ip.map(tracing::field::display),
        code = happened.code,
        "{}: {}",
        happened.kind,
        happened.text
    );
}

fn tell(
    shared: &Shared,
    updates: &broadcast::Sender<Update>,
    sequence: &mut u64,
    metrics: &Metrics,
) {
    let (mut changed, counts) = {
        let mut table = shared.table();
        (table.take_changed(), table.counts())
    };
    for (phase, machines) in counts {
        metrics.web.clients(phase.name(), machines);
    }
    if updates.receiver_count() == 0 {
        return;
    }
    // Slow readers miss the first: rather those of a flood that only ask.
    changed.sort_by_key(|client| client.is_under_way());
    for client in changed {
        *sequence += 1;
        // Fails only when the last reader has just left.
        let _ = updates.send(Update {
            sequence: *sequence,
            client,
            json: Arc::default(),
        });
    }
}

/// Counts steps for a line without addresses.
#[derive(Debug)]
struct Tally {
    since: Instant,
    counts: std::collections::BTreeMap<&'static str, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            counts: std::collections::BTreeMap::new(),
        }
    }
}

impl Tally {
    fn add(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn log_when_due(&mut self) {
        if self.since.elapsed() < SUMMARY {
            return;
        }
        let counts = std::mem::take(self).counts;
        if !counts.is_empty() {
            let words: Vec<_> = counts.iter().map(|(k, n)| format!("{k} {n}")).collect();
            tracing::info!("machines: {}", words.join(", "));
        }
    }
}

#[cfg(test)]
mod tests;
