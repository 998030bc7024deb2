//! Variables of machines for Configuration Manager: secrets, which nothing shows.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Identity;

/// The most of them, in bytes.
pub const VARIABLES_MAX: usize = 64 * 1024;

/// Variables of one machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Variables(Arc<[u8]>);

impl Variables {
    /// `None` for more than [`VARIABLES_MAX`] bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= VARIABLES_MAX).then(|| Self(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({} bytes)", self.0.len())
    }
}

/// The folder that they lie in as `MAC.var` or `GUID.var`. Which files there are is read from time
/// to time, what is in one when its machine asks.
#[derive(Debug)]
pub struct VariablesFolder {
    path: PathBuf,
    names: ArcSwap<HashSet<String>>,
}

impl VariablesFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let folder = Self {
            path,
            names: ArcSwap::default(),
        };
        let _ = folder.refresh();
        folder
    }

    /// Looks which files there are. Whether that has changed.
    pub(crate) fn refresh(&self) -> bool {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names: HashSet<_> = names.filter(|name| name.ends_with(ENDING)).collect();
        let has_changed = **self.names.load() != names;
        if has_changed {
            self.names.store(Arc::new(names));
        }
        has_changed
    }

    /// Whether there are variables of a machine, when the folder was looked at last.
    pub(crate) fn has(&self, machine: &Identity) -> bool {
        self.name(machine).is_some()
    }

    /// Reads the variables of a machine; `None` where there are none.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub(crate) fn read(&self, machine: &Identity) -> io::Result<Option<Variables>> {
        let Some(name) = self.name(machine) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let file = fs::File::open(self.path.join(name))?;
        file.take(VARIABLES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        let too_large = || io::Error::other(format!("it is larger than {VARIABLES_MAX} bytes"));
        Variables::new(&bytes).ok_or_else(too_large).map(Some)
    }

    fn name(&self, machine: &Identity) -> Option<String> {
        let names = self.names.load();
        let guid = machine.guid.map(|guid| format!("{guid}{ENDING}"));
        let mac = machine.mac.map(|mac| format!("{mac}{ENDING}"));
        let dashed = mac.as_ref().map(|mac| mac.replace(':', "-"));
        let mut all = [guid, mac, dashed].into_iter().flatten();
        all.find(|name| names.contains(name))
    }
}

const ENDING: &str = ".var";

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Identity {
        Identity {
            mac: "52:54:00:00:00:01".parse().ok(),
            ..Identity::default()
        }
    }

    #[test]
    fn variables_are_found_by_mac_and_read_when_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let folder = VariablesFolder::new(dir.path().to_owned());
        assert!(!folder.has(&machine()) && !folder.refresh());
        let path = dir.path().join("52-54-00-00-00-01.var");
        fs::write(&path, b"secret").unwrap();
        assert!(folder.refresh() && folder.has(&machine()));
        assert!(!folder.has(&Identity::default()));
        let variables = folder.read(&machine()).unwrap().unwrap();
        assert_eq!(variables.bytes(), b"secret");
        assert_eq!(format!("{variables:?}"), "Variables(6 bytes)");
        fs::write(&path, vec![0; VARIABLES_MAX + 1]).unwrap();
        assert!(folder.read(&machine()).is_err());
        fs::remove_file(&path).unwrap();
        assert!(folder.read(&machine()).is_err());
        assert!(folder.refresh());
        assert!(folder.read(&machine()).unwrap().is_none());
    }
}
