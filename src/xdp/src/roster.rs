//! Machines that user space knows or has banned, and sets in maps that follow a list by its
//! differences.

use std::collections::HashSet;
use std::hash::Hash;

use aya::Pod;
use aya::maps::{HashMap, MapData};
use bootstorm_ebpf_shared::{Guid, Mac};
use rustix::io::Errno;

use crate::error::{Full, XdpError, errno, in_words};

/// Machines with a bucket of their own, and machines that are not let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Machines that are limited by their own bucket alone. The first ones of the list fit.
    pub known: Vec<Mac>,
    /// Banned by their MAC.
    pub banned_macs: Vec<Mac>,
    /// Banned by their GUID, as option 97 spells it.
    pub banned_guids: Vec<Guid>,
}

/// The keys of a hash map in the kernel.
pub(crate) struct KeySet<K, V> {
    name: &'static str,
    /// What is in it, and what becomes of those that are not, for people.
    words: (&'static str, &'static str),
    map: HashMap<MapData, K, V>,
    held: HashSet<K>,
}

impl<K: Pod + Eq + Hash, V: Pod + Default> KeySet<K, V> {
    pub(crate) fn new(
        name: &'static str,
        words: (&'static str, &'static str),
        map: HashMap<MapData, K, V>,
    ) -> Self {
        Self {
            name,
            words,
            map,
            held: HashSet::new(),
        }
    }

    /// Takes out who is not wanted, then puts in who is new. Whoever stays is not touched: no
    /// packet finds the map without it, and its value lives on.
    pub(crate) fn follow(&mut self, wanted: &[K]) -> Result<Option<Full>, XdpError> {
        let all: HashSet<K> = wanted.iter().copied().collect();
        let leaving: Vec<K> = self.held.difference(&all).copied().collect();
        for key in leaving {
            let removed = self.map.remove(&key);
            if let Err(error) = removed
                && errno(&error) != Some(Errno::NOENT)
            {
                return Err(self.failed(&error));
            }
            self.held.remove(&key);
        }
        for key in wanted {
            if self.held.contains(key) {
                continue;
            }
            match self.map.insert(key, V::default(), 0) {
                Ok(()) => self.held.insert(*key),
                Err(error) if errno(&error) == Some(Errno::TOOBIG) => break,
                Err(error) => return Err(self.failed(&error)),
            };
        }
        let (what, rest) = self.words;
        Ok((self.held.len() < all.len()).then_some(Full {
            what,
            fit: self.held.len(),
            asked: all.len(),
            rest,
        }))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.map.get(key, 0).ok()
    }

    fn failed(&self, error: &aya::maps::MapError) -> XdpError {
        XdpError::Map {
            map: self.name,
            cause: in_words(error),
        }
    }
}
