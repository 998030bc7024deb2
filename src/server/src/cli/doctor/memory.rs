//! How much of the images stays in memory, and what is in the way.

use std::collections::HashSet;

use bootstorm_config::Config;
use bootstorm_ingest::{Budget, Room, last_served};

use super::{Report, Verdict};
use crate::translate;

/// Compares what is asked for with what the system gives this user.
pub(super) fn check(config: &Config, report: &mut Report) {
    let budget = translate::pin_budget(config);
    if budget == Budget::Off {
        return report.add("memory", "no image is kept (memory.pin = off)", Verdict::Ok);
    }
    let mut seen = HashSet::new();
    let snapshot = last_served(&config.data);
    let files = snapshot.files().filter(|file| seen.insert(file.sha256));
    let library: u64 = files.map(|file| file.len()).sum();
    let (found, verdict) = judge(&Room::read(), budget, library);
    report.add("memory", found, verdict);
}

fn judge(room: &Room, budget: Budget, library: u64) -> (String, Verdict) {
    let most = room.budget(budget, 0);
    let found = format!(
        "up to {} MiB of the images stay in it once they were fetched; there are {} MiB of images \
         and {} MiB of memory",
        most >> 20,
        library >> 20,
        room.total >> 20
    );
    // Before the first start nobody knows how large the library will be.
    let wanted = if library == 0 {
        most
    } else {
        most.min(library)
    };
    match room.lockable {
        _ if most > room.total / 4 * 3 => (
            found,
            Verdict::Warn("memory.pin leaves too little for everything else: lower it".into()),
        ),
        Some(limit) if limit < wanted => (
            format!("{found}; this user may lock {} MiB", limit >> 20),
            Verdict::Warn(
                "LimitMEMLOCK=infinity in the unit (the packaged one has it), or ulimit -l \
                 unlimited; without, hot images are read in but may be dropped again"
                    .into(),
            ),
        ),
        _ => (found, Verdict::Ok),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_limit_of_locked_memory_is_told_when_it_is_in_the_way() {
        let room = |lockable| Room {
            total: 16 * GIB,
            available: 15 * GIB,
            lockable,
        };
        let is_good =
            |room: Room, budget, library| matches!(judge(&room, budget, library).1, Verdict::Ok);
        assert!(is_good(room(None), Budget::Auto, 100 * GIB));
        assert!(is_good(room(Some(GIB)), Budget::Auto, GIB));
        assert!(!is_good(room(Some(GIB)), Budget::Auto, 2 * GIB));
        assert!(!is_good(room(Some(GIB)), Budget::Auto, 0));
        assert!(is_good(room(Some(GIB)), Budget::Bytes(GIB), 2 * GIB));
        assert!(!is_good(room(None), Budget::Bytes(15 * GIB), GIB));
    }
}
