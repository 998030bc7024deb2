//! Change notices of the system, and what owner and thread tell each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bootstorm_catalog::Mapping;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::limits::MAX_NOTICES;
use crate::settle::Notice;

/// What the thread, its owner and the watcher tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
    /// The maps in use, by the copy behind them: a copy that somebody writes to is condemned at
    /// once, whatever the thread is doing.
    maps: Mutex<HashMap<PathBuf, Mapping>>,
}

#[derive(Debug, Default)]
struct State {
    published: bool,
    ready: bool,
    stopped: bool,
    dirty: bool,
    notices: HashMap<PathBuf, Notice>,
    /// What the watcher could not do.
    trouble: Option<String>,
}

/// Why a wait ended.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    pub(crate) stopped: bool,
    pub(crate) notices: HashMap<PathBuf, Notice>,
    pub(crate) trouble: Option<String>,
}

impl Control {
    pub(crate) fn wait_first_pass(&self) -> bool {
        let mut state = self.lock();
        while !state.ready && !state.stopped {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.ready
    }

    /// `false`: nothing was published within `limit`, or the thread was stopped before.
    pub(crate) fn wait_published(&self, limit: Duration) -> bool {
        let waiting = |state: &mut State| !state.published && !state.stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.published
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.lock().dirty
    }

    pub(crate) fn set_published(&self) {
        self.lock().published = true;
        self.changed.notify_all();
    }

    pub(crate) fn set_ready(&self) {
        self.lock().ready = true;
        self.changed.notify_all();
    }

    pub(crate) fn rescan(&self) {
        self.lock().dirty = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits until something changes, `due` comes or the owner stops it.
    pub(crate) fn wait(&self, due: Instant) -> Woken {
        let mut state = self.lock();
        while !state.stopped && !state.dirty {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.dirty = false;
        Woken {
            stopped: state.stopped,
            notices: std::mem::take(&mut state.notices),
            trouble: state.trouble.take(),
        }
    }

    /// Lets events gather for a while; a stop ends it.
    pub(crate) fn pause(&self, time: Duration) {
        let state = self.lock();
        drop(
            self.changed
                .wait_timeout_while(state, time, |state| !state.stopped),
        );
    }

    /// The map of this copy, the same for all files with the same content.
    pub(crate) fn map(&self, copy: &Path) -> std::io::Result<Mapping> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mapping) = maps.get(copy)
            && mapping.is_intact()
        {
            return Ok(mapping.clone());
        }
        let mapping = Mapping::open(copy)?;
        maps.insert(copy.to_owned(), mapping.clone());
        Ok(mapping)
    }

    /// The copy is in use and as it was written.
    pub(crate) fn is_mapped(&self, copy: &Path) -> bool {
        let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.get(copy).is_some_and(Mapping::verify)
    }

    /// Lets go of the maps that `keep` does not want.
    pub(crate) fn release(&self, keep: impl Fn(&Path) -> bool) {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|copy, _| keep(copy));
    }

    fn take(&self, result: notify::Result<Event>, places: &Places) {
        let event = match result {
            Ok(event) => event,
            Err(e) => {
                // Any other error is about a file that was gone before it could be watched.
                if matches!(e.kind, notify::ErrorKind::MaxFilesWatch) {
                    self.lock().trouble = Some(e.to_string());
                }
                return self.rescan();
            }
        };
        let notice = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                Some(Notice::Closed)
            }
            EventKind::Modify(ModifyKind::Data(_)) => Some(Notice::Written),
            EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Metadata(_)) => {
                Some(Notice::Made)
            }
            // Reading files makes these, the server's own reading too.
            EventKind::Access(_) => return,
            _ => None,
        };
        if event
            .paths
            .iter()
            .any(|path| path.starts_with(&places.copies))
        {
            return self.check_copies(&event);
        }
        if event.paths.iter().any(|path| places.is_own(path)) {
            return;
        }
        let mut state = self.lock();
        state.dirty = true;
        if let (Some(notice), Some(path)) = (notice, event.paths.last())
            && state.notices.len() < MAX_NOTICES
        {
            // A new mode or owner says nothing about who writes.
            let news = state.notices.entry(path.clone()).or_insert(notice);
            if notice != Notice::Made {
                *news = notice;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn check_copies(&self, event: &Event) {
        let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = event.paths.iter().filter_map(|path| maps.get(path));
        let harmed = touched.filter(|mapping| !mapping.verify()).count() > 0;
        drop(maps);
        if harmed {
            self.rescan();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folders, without links on the way.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) images: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) copies: PathBuf,
}

impl Places {
    /// The path is the server's own business: in a data folder that lies in the images folder.
    fn is_own(&self, path: &Path) -> bool {
        self.data.starts_with(&self.images) && path.starts_with(&self.data)
    }
}

/// Has the system tell `control` about changes in the images folder and in the folder of copies.
pub(crate) fn watch(control: &Arc<Control>, places: &Places) -> notify::Result<RecommendedWatcher> {
    let told = Arc::clone(control);
    let own = places.clone();
    let mut watcher = RecommendedWatcher::new(
        move |result| told.take(result, &own),
        Config::default().with_follow_symlinks(false),
    )?;
    watcher.watch(&places.copies, RecursiveMode::NonRecursive)?;
    watcher.watch(&places.images, RecursiveMode::Recursive)?;
    Ok(watcher)
}
