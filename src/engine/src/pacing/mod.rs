//! How fast machines are fed, and how many at a time: shared by all workers, touched when a body
//! begins and ends. A body that is on its way looks at two or three atomics.

mod bucket;
mod queue;
mod share;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bootstorm_telemetry::metrics::Metrics;

pub(crate) use bucket::Bucket;
pub use queue::{Place, Turn};

use self::queue::Queue;
use self::share::{Link, Share};

/// Limits of rates and machines; `None` sets none. Rates are bytes a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacingConfig {
    /// What one machine gets at most.
    pub per_machine: Option<NonZeroU64>,
    /// What all machines at one interface get together.
    pub total: Option<NonZeroU64>,
    /// The same for single interfaces, by name.
    pub interfaces: HashMap<String, Option<NonZeroU64>>,
    /// Machines that are fed at a time.
    pub machines: Option<NonZeroU32>,
}

/// The limits, and who is being fed under them.
#[derive(Debug)]
pub struct Pacing {
    /// Some limit is set.
    is_limited: AtomicBool,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    config: PacingConfig,
    links: HashMap<Arc<str>, Link>,
    queue: Queue,
}

impl Pacing {
    pub(crate) fn new(config: PacingConfig, metrics: Arc<Metrics>) -> Self {
        let pacing = Self {
            is_limited: AtomicBool::new(false),
            state: Mutex::default(),
            metrics,
        };
        pacing.set(config);
        pacing
    }

    /// Without any limit, until [`Pacing::set`].
    pub(crate) fn unlimited(metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self::new(PacingConfig::default(), Arc::clone(metrics)))
    }

    /// Replaces the limits, for what is under way too.
    pub fn set(&self, config: PacingConfig) {
        let mut state = self.state();
        state.config = config;
        let State {
            config,
            links,
            queue,
        } = &mut *state;
        queue.limit(config.machines);
        for (name, link) in links {
            config.limit(name, link);
        }
        let is_limited = *config != PacingConfig::default();
        self.is_limited.store(is_limited, Ordering::Relaxed);
        self.count(&state.queue);
    }

    /// A machine wants to be fed: whether it is its turn. One that waits is to ask again within
    /// half a minute or loses its place; one whose turn it is has some seconds to begin.
    pub fn ask(&self, machine: IpAddr, now: Instant) -> Turn {
        if !self.is_limited() {
            return Turn::Now;
        }
        let mut state = self.state();
        let (turn, waited) = state.queue.ask(machine.to_canonical(), now);
        if let Some(waited) = waited {
            self.metrics.pacing.admitted(waited);
        }
        self.count(&state.queue);
        turn
    }

    /// Whether any limit is set. One look at an atomic, for every window and piece.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// A body for `machine` begins, through the interface of that name; `queues` says whether it is
    /// one that had to wait for its turn.
    pub(crate) fn begin(
        self: &Arc<Self>,
        machine: IpAddr,
        interface: &str,
        queues: bool,
        now: Instant,
    ) -> Feed {
        let machine = machine.to_canonical();
        let mut state = self.state();
        let State {
            config,
            links,
            queue,
        } = &mut *state;
        let (interface, link) = match links.get_key_value(interface) {
            Some((name, _)) => (Arc::clone(name), links.get_mut(interface)),
            None => {
                let name: Arc<str> = interface.into();
                let link = links.entry(Arc::clone(&name)).or_default();
                config.limit(interface, link);
                (name, Some(link))
            }
        };
        let share = link.map(|link| link.begin(machine)).unwrap_or_default();
        if queues {
            queue.begin(machine, now);
        }
        self.count(queue);
        Feed {
            pacing: Arc::clone(self),
            machine,
            interface,
            share,
            queues,
            seen: now,
        }
    }

    fn end(&self, feed: &Feed) {
        let mut state = self.state();
        if let Some(link) = state.links.get_mut(&feed.interface) {
            link.end(feed.machine);
        }
        if feed.queues {
            state.queue.end(feed.machine, feed.seen);
        }
        self.count(&state.queue);
    }

    fn count(&self, queue: &Queue) {
        let fed = if queue.is_limited() { queue.fed() } else { 0 };
        self.metrics.pacing.machines(fed, queue.waiting());
    }

    // What a panicking thread left behind is still a sound count.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacingConfig {
    fn limit(&self, interface: &str, link: &Link) {
        let own = self.interfaces.get(interface).copied();
        let total = own.unwrap_or(self.total).map(NonZeroU64::get);
        link.limit(total, self.per_machine.map(NonZeroU64::get));
    }
}

/// A body on its way; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    pacing: Arc<Pacing>,
    machine: IpAddr,
    interface: Arc<str>,
    share: Share,
    queues: bool,
    seen: Instant,
}

impl Feed {
    /// Bytes a second at this moment; `None` is as fast as it goes.
    pub(crate) fn rate(&mut self, now: Instant) -> Option<u64> {
        self.seen = now;
        self.share.rate()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.pacing.end(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    fn pacing(config: PacingConfig) -> Arc<Pacing> {
        Arc::new(Pacing::new(config, Arc::new(Metrics::new())))
    }

    #[test]
    fn new_limits_reach_what_is_under_way() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let pacing = pacing(PacingConfig::default());
        assert!(!pacing.is_limited());
        let mut feed = pacing.begin(a, "eth0", true, now);
        assert_eq!(feed.rate(now), None);
        pacing.set(PacingConfig {
            total: rate(8_000_000),
            interfaces: [("eth1".to_owned(), rate(1_000_000))].into(),
            machines: NonZeroU32::new(1),
            ..PacingConfig::default()
        });
        assert!(pacing.is_limited());
        assert_eq!(feed.rate(now), Some(8_000_000));
        assert_eq!(
            pacing.begin(a, "eth1", true, now).rate(now),
            Some(1_000_000)
        );
        assert!(matches!(pacing.ask(b, now), Turn::Later(_)));
        pacing.set(PacingConfig::default());
        assert_eq!(feed.rate(now), None);
        assert_eq!(pacing.ask(b, now), Turn::Now);
    }

    #[test]
    fn an_ipv4_machine_of_a_dual_stack_listener_is_one_machine() {
        let now = Instant::now();
        let pacing = pacing(PacingConfig {
            per_machine: rate(1_000_000),
            ..PacingConfig::default()
        });
        let mut tftp = pacing.begin(IpAddr::from([10, 0, 0, 1]), "eth0", true, now);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let http = pacing.begin(mapped, "eth0", true, now);
        assert_eq!(tftp.rate(now), Some(500_000));
        drop(http);
        assert_eq!(tftp.rate(now), Some(1_000_000));
    }

    #[test]
    fn small_bodies_take_no_place() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let pacing = pacing(PacingConfig {
            machines: NonZeroU32::new(1),
            ..PacingConfig::default()
        });
        let _small = pacing.begin(a, "eth0", false, now);
        assert_eq!(pacing.ask(b, now), Turn::Now);
        let _large = pacing.begin(b, "eth0", true, now);
        assert!(matches!(pacing.ask(a, now), Turn::Later(place) if place.number == 1));
    }
}
