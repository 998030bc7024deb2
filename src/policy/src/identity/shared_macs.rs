//! A file of MAC addresses that move from machine to machine, one a line.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bootstorm_config::MacPattern;
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::Reason;

/// Larger files are refused: 100,000 lines fit several times over.
const BYTES_MAX: u64 = 8 << 20;

/// The file, as it was read last. Lines are addresses such as `00:e0:4c:68:00:01` or beginnings such
/// as `00:e0:4c:*`; what follows a `#` is a comment.
#[derive(Debug)]
pub(crate) struct SharedMacs {
    path: PathBuf,
    listed: ArcSwap<Listed>,
    /// The file's state when it was looked at last.
    seen: Mutex<Option<Stamp>>,
}

/// What changes when a file does: its time and size, or nothing where there is none.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    macs: HashSet<MacAddress>,
    patterns: Vec<MacPattern>,
}

impl SharedMacs {
    /// Reads the file; if it cannot, the first [`Self::refresh`] says why.
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = Self {
            path,
            listed: ArcSwap::default(),
            seen: Mutex::new(None),
        };
        if file.refresh().is_err() {
            *file.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        file
    }

    /// Where this file cannot be read, what was read of it before the configuration changed holds.
    pub(crate) fn after(&self, before: &Self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none() && self.path == before.path {
            self.listed.store(before.listed.load_full());
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn lists(&self, mac: MacAddress) -> bool {
        let listed = self.listed.load();
        listed.macs.contains(&mac) || listed.patterns.iter().any(|p| p.matches(mac))
    }

    /// Reads the file if it is another than last time; says whether the list is another. A file
    /// that cannot be read or understood leaves the list as it is, and is told of once.
    pub(crate) fn refresh(&self) -> Result<bool, Reason> {
        let failed = |text: String| Reason {
            code: "identity.shared-macs-file",
            text: format!("{}{text}", self.path.display()).into(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path).ok();
        if *seen == Some(stamp) {
            return Ok(false);
        }
        *seen = Some(stamp);
        drop(seen);
        let text = read(&self.path).map_err(|e| failed(format!(": {e}")))?;
        let listed = parse(&text).map_err(|(line, what)| failed(format!(":{line}: {what}")))?;
        let differs = **self.listed.load() != listed;
        self.listed.store(listed.into());
        Ok(differs)
    }
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.modified()?, file.len()))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!(
            "more than {} MiB",
            BYTES_MAX >> 20
        )));
    }
    Ok(text)
}

/// The list, or the number of the first line that is none of it.
fn parse(text: &str) -> Result<Listed, (usize, String)> {
    let mut listed = Listed::default();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        if let Ok(mac) = entry.parse() {
            listed.macs.insert(mac);
        } else {
            let pattern = entry.parse().map_err(|e| (index + 1, e))?;
            listed.patterns.push(pattern);
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mac(text: &str) -> MacAddress {
        text.parse().unwrap()
    }

    /// Writes the file with a time of its own: two writes may fall into one tick of the clock.
    fn write(path: &Path, text: &str, seconds: u64) {
        fs::write(path, text).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(at)
            .unwrap();
    }

    #[test]
    fn wds_05_the_file_is_read_again_when_it_changes_and_a_broken_one_keeps_the_old_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared-macs");
        let shared = SharedMacs::new(path.clone());
        assert_eq!(
            shared.refresh().unwrap_err().code,
            "identity.shared-macs-file"
        );
        assert_eq!(shared.refresh(), Ok(false), "told once");

        write(
            &path,
            "# docks\r\n00:E0:4C:68:00:01  # room 7\n\n0c:37:96:*\n",
            1,
        );
        assert_eq!(shared.refresh(), Ok(true));
        assert_eq!(shared.refresh(), Ok(false));
        assert!(shared.lists(mac("00:e0:4c:68:00:01")));
        assert!(shared.lists(mac("0c:37:96:aa:bb:cc")));
        assert!(!shared.lists(mac("00:e0:4c:68:00:02")));

        write(&path, "00:e0:4c:68:00:02\nnonsense\n", 2);
        let reason = shared.refresh().unwrap_err();
        assert!(reason.text.contains("shared-macs:2: "), "{}", reason.text);
        assert!(shared.lists(mac("00:e0:4c:68:00:01")), "the old list stays");

        write(&path, "00:e0:4c:68:00:02\n", 3);
        assert_eq!(shared.refresh(), Ok(true));
        assert!(shared.lists(mac("00:e0:4c:68:00:02")));
        assert!(!shared.lists(mac("00:e0:4c:68:00:01")));
    }
}
