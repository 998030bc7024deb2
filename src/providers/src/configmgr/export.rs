//! Deployments in a file.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::deployment::{Asker, Deployment};
use crate::ProviderError;
use crate::database::Columns;

/// The largest file, in bytes.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// A file that is read again when it changes. One that is broken keeps what was read before.
pub(super) struct Export {
    path: PathBuf,
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    read: Option<Arc<Table>>,
    /// Of which version of the file that, or the failure to read it, is.
    version: Option<Version>,
}

/// Length and time of the last change.
type Version = (u64, Option<SystemTime>);

/// All rows and where those of a machine are.
#[derive(Default)]
struct Table {
    rows: Vec<Deployment>,
    by_mac: HashMap<String, Vec<usize>>,
    by_guid: HashMap<String, Vec<usize>>,
    unknown: Vec<usize>,
}

impl Export {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: Arc::default(),
        }
    }

    /// The rows of a machine and those of unknown computers.
    pub(super) async fn of(&self, asker: &Asker) -> Result<Vec<Deployment>, ProviderError> {
        let (path, last) = (self.path.clone(), Arc::clone(&self.last));
        let read = tokio::task::spawn_blocking(move || {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            last.refresh(&path)
        });
        let table = read
            .await
            .map_err(|e| ProviderError::Failed(e.to_string()))??;
        Ok(table.of(asker))
    }
}

impl Last {
    fn refresh(&mut self, path: &Path) -> Result<Arc<Table>, ProviderError> {
        let failed = |e: String| ProviderError::Failed(format!("{}: {e}", path.display()));
        let version = fs::metadata(path).map(|m| (m.len(), m.modified().ok()));
        let version = version.map_err(|e| failed(e.to_string()))?;
        if let (Some(table), true) = (&self.read, self.version == Some(version)) {
            return Ok(Arc::clone(table));
        }
        match Table::read(path) {
            Ok(table) => {
                self.version = Some(version);
                Ok(Arc::clone(self.read.insert(Arc::new(table))))
            }
            Err(e) => match &self.read {
                Some(table) => {
                    tracing::warn!("{}: {e}; what was read before stays", path.display());
                    self.version = Some(version);
                    Ok(Arc::clone(table))
                }
                None => Err(failed(e)),
            },
        }
    }
}

impl Table {
    fn read(path: &Path) -> Result<Self, String> {
        let file = fs::File::open(path).map_err(|e| e.to_string())?;
        let mut text = Vec::new();
        let read = file.take(FILE_MAX + 1).read_to_end(&mut text);
        read.map_err(|e| e.to_string())?;
        if text.len() as u64 > FILE_MAX {
            return Err(format!("it has more than {FILE_MAX} bytes"));
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let rows: Vec<Columns> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let mut table = Self::default();
        for (number, row) in rows.into_iter().enumerate() {
            let lower = row
                .into_iter()
                .map(|(name, cell)| (name.to_ascii_lowercase(), cell));
            let row = Deployment::read(lower.collect());
            table.add(row.map_err(|e| format!("row {}: {e}", number + 1))?);
        }
        Ok(table)
    }

    fn add(&mut self, row: Deployment) {
        let number = self.rows.len();
        if row.resource.is_none() {
            self.unknown.push(number);
        }
        for (key, index) in [(&row.mac, &mut self.by_mac), (&row.guid, &mut self.by_guid)] {
            if let Some(key) = key {
                index.entry(key.clone()).or_default().push(number);
            }
        }
        self.rows.push(row);
    }

    fn of(&self, asker: &Asker) -> Vec<Deployment> {
        let by_mac = asker.mac.as_ref().and_then(|mac| self.by_mac.get(mac));
        let by_guid = asker.guid.as_ref().and_then(|guid| self.by_guid.get(guid));
        let found = [by_mac, by_guid, Some(&self.unknown)].into_iter().flatten();
        let numbers: BTreeSet<usize> = found.flatten().copied().collect();
        let rows = numbers
            .into_iter()
            .filter_map(|number| self.rows.get(number));
        rows.cloned().collect()
    }
}
