//! A bounded map that readers never wait for, and the versions of what its entries rest on.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bootstorm_proto::types::{MacAddress, MachineGuid};
use foldhash::quality::FixedState;

/// A map of bounded size, in sets of a few slots, as processors cache memory: a key belongs to one
/// set, and when that is full a new entry takes the place of the one written longest ago. Reading
/// neither waits nor allocates.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    sets: Box<[Set<K, V>]>,
    hasher: FixedState,
}

/// Enough that of as many entries as there are slots hardly any is pushed out by chance.
const WAYS: usize = 8;

/// What a reader looks at first lies in one line of the processor's memory, and in the next one
/// where to go on.
#[derive(Debug)]
#[repr(align(64))]
struct Set<K, V> {
    /// Hash of each slot's key; tells slots apart without a look at the entries.
    tags: [AtomicU64; WAYS],
    slots: [ArcSwapOption<Entry<K, V>>; WAYS],
    /// Where the next new entry goes.
    next: AtomicU64,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    /// Room for about `entries`.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| Set::new()).collect(),
            hasher: hasher(),
        }
    }

    /// What `read` makes of the value, if there is one.
    pub(crate) fn get<T>(&self, key: &K, read: impl FnOnce(&V) -> T) -> Option<T> {
        let tag = self.hasher.hash_one(key);
        let mut ways = self.set(tag)?.ways(tag).map(ArcSwapOption::load);
        let entry = ways.find(|entry| entry.as_ref().is_some_and(|entry| entry.key == *key))?;
        entry.as_ref().map(|entry| read(&entry.value))
    }

    pub(crate) fn put(&self, key: K, value: V) {
        let tag = self.hasher.hash_one(&key);
        let Some(set) = self.set(tag) else { return };
        let entry = Some(Arc::new(Entry { key, value }));
        if let Some(slot) = set.ways(tag).next() {
            slot.store(entry);
            return;
        }
        let way = set.next.fetch_add(1, Ordering::Relaxed) % WAYS as u64;
        let way = usize::try_from(way).unwrap_or_default();
        if let (Some(slot), Some(known)) = (set.slots.get(way), set.tags.get(way)) {
            slot.store(entry);
            known.store(tag, Ordering::Release);
        }
    }

    pub(crate) fn remove(&self, key: &K) {
        let tag = self.hasher.hash_one(key);
        let Some(set) = self.set(tag) else { return };
        for slot in set.ways(tag) {
            let is_its = |entry: &Arc<Entry<K, V>>| entry.key == *key;
            if slot.load().as_ref().is_some_and(is_its) {
                slot.store(None);
            }
        }
    }

    pub(crate) fn clear(&self) {
        for set in &self.sets {
            for (slot, tag) in set.slots.iter().zip(&set.tags) {
                tag.store(0, Ordering::Release);
                slot.store(None);
            }
        }
    }

    fn set(&self, tag: u64) -> Option<&Set<K, V>> {
        let at = tag % self.sets.len() as u64;
        self.sets.get(usize::try_from(at).ok()?)
    }
}

impl<K, V> Set<K, V> {
    fn new() -> Self {
        Self {
            tags: Default::default(),
            slots: Default::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Slots that may hold the key with this tag.
    fn ways(&self, tag: u64) -> impl Iterator<Item = &ArcSwapOption<Entry<K, V>>> {
        let ways = self.tags.iter().zip(&self.slots);
        ways.filter(move |(known, _)| known.load(Ordering::Acquire) == tag)
            .map(|(_, slot)| slot)
    }
}

/// A quick hasher with a seed that nobody can know. It is for tables of fixed size, where keys that
/// meet cost no more than an entry that gives way.
pub(crate) fn hasher() -> FixedState {
    FixedState::with_seed(RandomState::new().hash_one(0))
}

/// Versions of what decisions rest on. Each machine's is shared with a few others, so that the
/// number is fixed; a change of one makes the decisions of all that share it be made anew.
#[derive(Debug)]
pub(crate) struct Versions {
    all: AtomicU64,
    slots: Box<[AtomicU64]>,
    hasher: FixedState,
}

const SLOTS: usize = 1 << 12;

/// The version of what is known of one machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    all: u64,
    mac: u64,
    guid: u64,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            all: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: hasher(),
        }
    }
}

impl Versions {
    /// Something about this machine has changed.
    pub(crate) fn raise(&self, mac: Option<MacAddress>, guid: Option<MachineGuid>) {
        for slot in [
            mac.and_then(|m| self.slot(&m)),
            guid.and_then(|g| self.slot(&g)),
        ]
        .into_iter()
        .flatten()
        {
            slot.fetch_add(1, Ordering::Release);
        }
    }

    /// Something has changed that concerns every machine.
    pub(crate) fn raise_all(&self) {
        self.all.fetch_add(1, Ordering::Release);
    }

    /// To be taken before anything is read: what changes meanwhile then makes the result stale.
    pub(crate) fn of(&self, mac: Option<MacAddress>, guid: Option<MachineGuid>) -> Version {
        let read = |slot: Option<&AtomicU64>| slot.map_or(0, |slot| slot.load(Ordering::Acquire));
        Version {
            all: self.all.load(Ordering::Acquire),
            mac: read(mac.and_then(|mac| self.slot(&mac))),
            guid: read(guid.and_then(|guid| self.slot(&guid))),
        }
    }

    fn slot(&self, key: &impl Hash) -> Option<&AtomicU64> {
        let at = self.hasher.hash_one(key) % SLOTS as u64;
        self.slots.get(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn mac(last: u8) -> MacAddress {
        MacAddress::new([2, 0, 0, 0, 0, last])
    }

    fn holds<V>(cache: &Cache<u32, V>, key: &u32) -> bool {
        cache.get(key, |_| ()).is_some()
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put_last(puts in prop::collection::vec((0..200_u32, any::<u8>()), 0..400)) {
            let cache = Cache::new(64);
            let mut last = HashMap::new();
            for (key, value) in puts {
                cache.put(key, value);
                last.insert(key, value);
                prop_assert_eq!(cache.get(&key, |found| *found), Some(value));
            }
            for (key, value) in &last {
                prop_assert!(cache.get(key, |found| found == value) != Some(false));
            }
            let kept = last.keys().filter(|key| holds(&cache, key)).count();
            prop_assert!(kept <= 64);
        }
    }

    #[test]
    fn entries_fit_until_the_cache_is_nearly_full() {
        let cache = Cache::new(8192);
        (0..4096_u32).for_each(|key| cache.put(key, key));
        let kept = (0..4096).filter(|key| holds(&cache, key)).count();
        assert!(kept > 4000, "{kept}");
        cache.remove(&7);
        assert_eq!(cache.get(&7, |found| *found), None);
        cache.put(7, 8);
        assert_eq!(cache.get(&7, |found| *found), Some(8));
        cache.clear();
        assert_eq!((0..4096).filter(|key| holds(&cache, key)).count(), 0);
    }

    #[test]
    fn a_change_of_one_machine_leaves_nearly_all_others_alone() {
        let versions = Versions::default();
        let all: Vec<_> = (0..=255).map(|n| versions.of(Some(mac(n)), None)).collect();
        versions.raise(Some(mac(7)), None);
        let stale = |n: u8| versions.of(Some(mac(n)), None) != all[usize::from(n)];
        assert!(stale(7));
        assert!((0..=255).filter(|n| stale(*n)).count() < 16);
        versions.raise_all();
        assert!((0..=255).all(stale));
    }
}
