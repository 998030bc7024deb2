//! Keeps the images that machines fetch in memory, so that the next machine does not wait for the
//! disk. A thread of its own does it: neither start nor service waits for it.

mod room;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use bootstorm_catalog::mapping::CHUNK;
use bootstorm_catalog::{Catalog, File, Snapshot};

use crate::Size;
use crate::limits::{COLD_HEAT, HEAT_HALVES, MAX_SMALL, PIN_LOOK, PIN_REVIEW};
use crate::scan::is_below;

pub use room::{Budget, Room};

/// What is kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// How many images.
    pub files: usize,
    /// Bytes that are locked.
    pub locked: u64,
    /// Bytes that were read in but cannot be locked: the kernel may take them away.
    pub unlocked: u64,
    /// The limit of locked memory is what is in the way.
    pub refused: bool,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, locked) = (self.files, Size(self.locked));
        write!(f, "{files} images stay in memory: {locked} locked")?;
        if self.unlocked > 0 {
            write!(f, ", {} read in", Size(self.unlocked))?;
        }
        if self.refused {
            f.write_str(
                "; the limit of locked memory allows no more (ulimit -l, LimitMEMLOCK= of the unit)",
            )?;
        }
        Ok(())
    }
}

/// The thread that keeps images in memory. Dropping it stops the thread; what is locked stays so
/// until the catalog lets go of it.
#[derive(Debug)]
pub struct Pins {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    budget: Budget,
    /// The budget is another one than at the last look.
    anew: bool,
    stopped: bool,
}

impl Pins {
    /// Starts the thread. `report` is called on it whenever something changed.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        budget: Budget,
        catalog: Arc<Catalog>,
        report: impl FnMut(Pinned) + Send + 'static,
    ) -> io::Result<Self> {
        let state = State {
            budget,
            anew: false,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            heats: HashMap::new(),
            looked: Instant::now(),
            refused: false,
        };
        let thread = std::thread::Builder::new()
            .name("pins".into())
            .spawn(move || keeper.run(&catalog, report))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Another budget, from now on.
    pub fn set_budget(&self, budget: Budget) {
        let mut state = self.shared.lock();
        state.anew = state.budget != budget;
        state.budget = budget;
        self.shared.changed.notify_all();
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps a while; the budget of now, or `None` to stop. `true`: it is a new one.
    fn wait(&self) -> Option<(Budget, bool)> {
        let state = self.lock();
        let idle = |state: &mut State| !state.stopped && !state.anew;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, PIN_LOOK, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let anew = std::mem::take(&mut state.anew);
        (!state.stopped).then_some((state.budget, anew))
    }
}

/// What the thread knows.
struct Keeper {
    shared: Arc<Shared>,
    heats: HashMap<[u8; 32], Heat>,
    looked: Instant,
    /// The kernel refused to lock more.
    refused: bool,
}

/// How much an image is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Heat {
    /// Transfers, of which half are forgotten every hour.
    heat: f64,
    /// Those of this map that are in it.
    counted: u64,
}

/// An image that might be kept.
#[derive(Clone, Debug)]
struct Candidate {
    file: Arc<File>,
    /// A small boot program: every boot begins with one.
    small: bool,
    heat: f64,
}

impl Keeper {
    fn run(mut self, catalog: &Catalog, mut report: impl FnMut(Pinned)) {
        let mut seen: Option<Arc<Snapshot>> = None;
        let mut told = Pinned::default();
        while let Some((budget, anew)) = self.shared.wait() {
            let snapshot = catalog.snapshot();
            let same = seen.as_ref().is_some_and(|s| Arc::ptr_eq(s, &snapshot));
            if same && !anew && self.looked.elapsed() < PIN_REVIEW {
                continue;
            }
            self.refused &= !anew;
            let pinned = self.keep(&snapshot, budget);
            // What the catalog drops must not live on here.
            seen = Some(snapshot);
            if pinned != told {
                told = pinned.clone();
                report(pinned);
            }
        }
    }

    /// Chooses, lets go, and takes hold.
    fn keep(&mut self, snapshot: &Snapshot, budget: Budget) -> Pinned {
        let candidates = self.candidates(snapshot);
        let held = candidates.iter().map(|c| &c.file);
        let held: u64 = held
            .filter(|f| f.content.is_pinned())
            .map(|f| f.len())
            .sum();
        let room = Room::read();
        let chosen = choose(candidates.clone(), room.budget(budget, held));
        let names: HashSet<[u8; 32]> = chosen.iter().map(|c| c.file.sha256).collect();
        for Candidate { file, .. } in &candidates {
            if file.content.is_pinned() && !names.contains(&file.sha256) {
                file.content.unlock();
            }
        }
        let lockable = room.lockable.unwrap_or(u64::MAX);
        let mut pinned = Pinned::default();
        for Candidate { file, .. } in &chosen {
            if self.shared.lock().stopped {
                break;
            }
            let fits = pinned.locked + file.len() <= lockable && !self.refused;
            let locked = file.content.is_pinned() || fits && self.lock(file);
            pinned.files += 1;
            if locked {
                pinned.locked += file.len();
            } else {
                self.read_in(file);
                pinned.unlocked += file.len();
                pinned.refused = true;
            }
        }
        pinned
    }

    /// Every image that was fetched lately or is small, once.
    fn candidates(&mut self, snapshot: &Snapshot) -> Vec<Candidate> {
        let passed = self.looked.elapsed();
        self.looked = Instant::now();
        let keeps = 0.5_f64.powf(passed.as_secs_f64() / HEAT_HALVES.as_secs_f64());
        let mut found = HashMap::new();
        let mut candidates = Vec::new();
        for file in snapshot.files() {
            let small = file.len() <= MAX_SMALL && is_below(&file.path.to_lowercase(), "boot");
            let heat = found.entry(file.sha256).or_insert_with(|| {
                let before = self.heats.get(&file.sha256).copied().unwrap_or_default();
                before.after(file.content.uses(), keeps)
            });
            if small || heat.heat >= COLD_HEAT {
                candidates.push(Candidate {
                    file: Arc::clone(file),
                    small,
                    heat: heat.heat,
                });
            }
        }
        self.heats = found;
        candidates.sort_by_key(|c| (c.file.sha256, !c.small));
        candidates.dedup_by_key(|c| c.file.sha256);
        candidates
    }

    /// Locks a file piece by piece, so that no fault of another thread waits long for it.
    fn lock(&mut self, file: &File) -> bool {
        for start in (0..file.len()).step_by(CHUNK as usize) {
            if self.shared.lock().stopped || !self.read_chunk(file, start) {
                file.content.unlock();
                return false;
            }
            if let Err(error) = file.content.lock(start..start + CHUNK) {
                tracing::debug!(%error, path = &*file.path, "an image cannot be locked in memory");
                file.content.unlock();
                self.refused = true;
                return false;
            }
        }
        file.content.set_pinned();
        true
    }

    /// Reads what is not in memory; as good as it gets where nothing may be locked.
    fn read_in(&self, file: &File) {
        let mut start = 0;
        while let Some(cold) = file.content.first_cold(start..file.len(), Instant::now()) {
            if self.shared.lock().stopped || !self.read_chunk(file, cold.start) {
                return;
            }
            start = cold.end;
        }
    }

    fn read_chunk(&self, file: &File, start: u64) -> bool {
        let range = start..file.len().min(start + CHUNK);
        let result = file.content.read_in(range.clone());
        file.content.was_read_in(&range, &result, Instant::now());
        file.is_intact()
    }
}

impl Heat {
    /// With the transfers since then, the older ones partly forgotten.
    fn after(self, uses: u64, keeps: f64) -> Self {
        // A copy that was made anew counts from nothing.
        let new = uses.checked_sub(self.counted).unwrap_or(uses);
        Self {
            heat: self.heat * keeps + new as f64,
            counted: uses,
        }
    }
}

/// What fits: small boot programs, then what is fetched most; of the same heat the smaller first.
fn choose(mut candidates: Vec<Candidate>, budget: u64) -> Vec<Candidate> {
    candidates.sort_by(|a, b| {
        b.small
            .cmp(&a.small)
            .then(b.heat.total_cmp(&a.heat))
            .then(a.file.len().cmp(&b.file.len()))
    });
    let mut left = budget;
    candidates.retain(|candidate| match left.checked_sub(candidate.file.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    candidates
}

#[cfg(test)]
mod tests;
