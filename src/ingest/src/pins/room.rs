//! How much memory there is for images, and what stands in the way of locking it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// How much of the images shall stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Half of the memory, as long as an eighth of it stays free for everything else.
    Auto,
    /// Nothing.
    Off,
    /// So many bytes.
    Bytes(u64),
}

/// What this machine, the control group and the limits of this process give, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Memory of the machine, or of the control group where that is less.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
    /// What this process may lock; `None`: as much as it likes.
    pub lockable: Option<u64>,
}

/// Locked memory that is left to everything else in this process.
const LOCK_RESERVE: u64 = 1 << 20;

impl Room {
    /// Looks at the system.
    #[must_use]
    pub fn read() -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limit = group_limit(Path::new("/sys/fs/cgroup"), &group);
        let total = of_meminfo(&memory, "MemTotal:").min(limit);
        let available = of_meminfo(&memory, "MemAvailable:").min(limit);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let lockable = match getrlimit(Resource::Memlock).current {
            Some(limit) if !may_lock_all(&status) => Some(limit.saturating_sub(LOCK_RESERVE)),
            _ => None,
        };
        Self {
            total,
            available,
            lockable,
        }
    }

    /// How many bytes of images `budget` comes to, when `held` bytes of them are locked already.
    #[must_use]
    pub fn budget(&self, budget: Budget, held: u64) -> u64 {
        match budget {
            Budget::Off => 0,
            Budget::Bytes(bytes) => bytes,
            Budget::Auto => {
                let spare = self.available.saturating_sub(self.total / 8);
                (self.total / 2).min(held.saturating_add(spare))
            }
        }
    }
}

fn of_meminfo(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes << 10)
}

/// The least `memory.max` from this process's control group (version 2) upwards.
fn group_limit(root: &Path, groups: &str) -> u64 {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(own) = own else { return u64::MAX };
    let folder: PathBuf = root.join(own);
    folder
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
        .unwrap_or(u64::MAX)
}

/// The process has CAP_IPC_LOCK.
fn may_lock_all(status: &str) -> bool {
    const IPC_LOCK: u32 = 14;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set >> IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn half_of_the_memory_unless_others_need_it() {
        let mut room = Room {
            total: 16 * GIB,
            available: 15 * GIB,
            lockable: None,
        };
        assert_eq!(room.budget(Budget::Auto, 0), 8 * GIB);
        // Others took much: what is held stays only as far as an eighth is free beside it.
        room.available = 3 * GIB;
        assert_eq!(room.budget(Budget::Auto, 0), GIB);
        assert_eq!(room.budget(Budget::Auto, 4 * GIB), 5 * GIB);
        room.available = 0;
        assert_eq!(room.budget(Budget::Auto, 0), 0);
        assert_eq!(room.budget(Budget::Bytes(5), 0), 5);
        assert_eq!(room.budget(Budget::Off, 4 * GIB), 0);
    }

    #[test]
    fn the_narrowest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/bootstorm.service");
        fs::create_dir_all(&inner).unwrap();
        let own = "0::/system.slice/bootstorm.service\n";
        assert_eq!(group_limit(root.path(), own), u64::MAX);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(inner.parent().unwrap().join("memory.max"), "4096000\n").unwrap();
        assert_eq!(group_limit(root.path(), own), 4_096_000);
        assert_eq!(group_limit(root.path(), "3:memory:/x\n"), u64::MAX);
    }

    #[test]
    fn the_system_is_read() {
        let room = Room::read();
        assert!(room.total > 0 && room.available <= room.total);
        assert!(may_lock_all("CapEff:\t0000000000004000\n"));
        assert!(!may_lock_all("CapEff:\t0000000000003fff\n"));
    }
}
