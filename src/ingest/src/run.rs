//! The thread: what is done when.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};
use sha2::{Digest, Sha256};

use crate::{IngestConfig, IngestError, Report};

/// What the thread and its owner tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    stopped: bool,
    rescan: bool,
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

    pub(crate) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    pub(crate) fn rescan(&self) {
        self.lock().rescan = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Worker {
    config: IngestConfig,
    catalog: Arc<Catalog>,
    control: Arc<Control>,
    report: Box<dyn FnMut(Report) + Send>,
}

impl Worker {
    pub(crate) fn new(
        config: IngestConfig,
        catalog: Arc<Catalog>,
        control: Arc<Control>,
        mut report: Box<dyn FnMut(Report) + Send>,
    ) -> Result<Self, IngestError> {
        let blobs = config.data.join("blobs");
        fs::create_dir_all(&blobs).map_err(|source| IngestError::Data {
            path: config.data.clone(),
            source,
        })?;
        if !config.images.exists() {
            fs::create_dir_all(&config.images).map_err(|source| IngestError::Images {
                path: config.images.clone(),
                source,
            })?;
            report(Report::FolderMade(config.images.clone()));
        }
        Ok(Self {
            config,
            catalog,
            control,
            report,
        })
    }

    pub(crate) fn run(mut self) {
        loop {
            let mut files = Vec::new();
            for fallback in self.config.fallbacks.clone() {
                self.take(&fallback.source, &fallback.path, &mut files);
            }
            self.take(&self.config.images.clone(), "", &mut files);
            let snapshot = Snapshot::new(files, Vec::new());
            (self.report)(Report::Published {
                files: snapshot.files().count(),
                entries: snapshot.entries().len(),
            });
            self.catalog.publish(snapshot);
            let mut state = self.control.lock();
            state.ready = true;
            self.control.changed.notify_all();
            while !state.stopped && !state.rescan {
                let waited = self
                    .control
                    .changed
                    .wait_timeout(state, Duration::from_secs(30));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.stopped {
                return;
            }
            state.rescan = false;
        }
    }

    fn take(&self, source: &Path, path: &str, files: &mut Vec<Arc<File>>) {
        let Ok(meta) = fs::symlink_metadata(source) else {
            return;
        };
        if meta.is_dir() {
            for child in fs::read_dir(source).into_iter().flatten().flatten() {
                let name = child.file_name();
                let Some(name) = name.to_str() else { continue };
                let below = if path.is_empty() {
                    name.into()
                } else {
                    format!("{path}/{name}")
                };
                self.take(&child.path(), &below, files);
            }
        } else if meta.is_file()
            && let Ok(file) = self.copy(source, path)
        {
            files.push(Arc::new(file));
        }
    }

    fn copy(&self, source: &Path, path: &str) -> io::Result<File> {
        let content = fs::read(source)?;
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        let name: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
        let blob = self.config.data.join("blobs").join(name);
        if !blob.exists() {
            let half = blob.with_extension("tmp");
            fs::write(&half, &content)?;
            fs::rename(&half, &blob)?;
        }
        Ok(File {
            path: path.into(),
            content: Mapping::open(&blob)?,
            sha256,
            modified: fs::metadata(source)?.modified()?,
        })
    }
}
