use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::Mapping;

use super::*;

fn file(folder: &Path, path: &str, length: usize) -> Arc<File> {
    let copy = folder.join(path.replace('/', "-"));
    fs::write(&copy, vec![path.len() as u8; length]).unwrap();
    let mut sha256 = [0; 32];
    sha256[..path.len()].copy_from_slice(path.as_bytes());
    Arc::new(File {
        path: path.into(),
        content: Mapping::open(&copy).unwrap(),
        sha256,
        modified: SystemTime::UNIX_EPOCH,
    })
}

fn keeper() -> Keeper {
    let state = State {
        budget: Budget::Auto,
        anew: false,
        stopped: false,
    };
    Keeper {
        shared: Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }),
        heats: HashMap::new(),
        looked: Instant::now(),
        refused: false,
    }
}

#[test]
fn boot_programs_first_then_what_is_fetched_most() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("boot/a.efi", 3000, 0),
        ("boot/huge.iso", 20 << 20, 0),
        ("often", 40_000, 5),
        ("rarely", 30_000, 1),
        ("rarely-large", 60_000, 1),
        ("never", 10, 0),
    ];
    let files = files.map(|(path, length, uses)| {
        let file = file(folder.path(), path, length);
        (0..uses).for_each(|_| file.content.count_use());
        file
    });
    let snapshot = Snapshot::new(files.clone(), Vec::new());
    let candidates = keeper().candidates(&snapshot);
    let chosen = |budget| -> Vec<String> {
        let chosen = choose(candidates.clone(), budget);
        chosen.iter().map(|c| c.file.path.to_string()).collect()
    };
    assert_eq!(
        chosen(1 << 30),
        ["boot/a.efi", "often", "rarely", "rarely-large"]
    );
    // What does not fit makes room for what does.
    assert_eq!(chosen(35_000), ["boot/a.efi", "rarely"]);
    assert!(chosen(0).is_empty());
}

#[test]
fn what_nobody_fetches_any_more_cools_down() {
    let mut heat = Heat::default().after(8, 1.0);
    for _ in 0..3 {
        heat = heat.after(8, 0.5);
    }
    assert_eq!(heat.heat, 1.0);
    // The copy was made anew, and counts from nothing.
    assert_eq!(heat.after(2, 1.0).heat, 3.0);
}

#[test]
fn what_is_kept_is_locked_or_read_in_and_let_go_again() {
    let folder = tempfile::tempdir().unwrap();
    let small = file(folder.path(), "boot/a.efi", 3000);
    let large = file(folder.path(), "large", 2 * CHUNK as usize + 5);
    large.content.count_use();
    let snapshot = Snapshot::new([small.clone(), large.clone()], Vec::new());
    let mut keeper = keeper();
    let pinned = keeper.keep(&snapshot, Budget::Bytes(1 << 30));
    let all = small.len() + large.len();
    assert_eq!((pinned.files, pinned.locked + pinned.unlocked), (2, all));
    if pinned.refused {
        eprintln!("nothing may be locked here: only reading in is tested");
    } else {
        assert!(small.content.is_pinned() && large.content.is_pinned());
    }
    let less = keeper.keep(&snapshot, Budget::Bytes(5000));
    assert_eq!(less.files, 1);
    assert!(!large.content.is_pinned());
    assert_eq!(keeper.keep(&snapshot, Budget::Off), Pinned::default());
    assert!(!small.content.is_pinned());
    // A harmed copy is not held, and does no harm.
    large.content.condemn();
    keeper.keep(&snapshot, Budget::Bytes(1 << 30));
    assert!(!large.content.is_pinned());
}

#[test]
fn the_thread_follows_catalog_and_budget_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Catalog::default());
    let (tell, told) = std::sync::mpsc::channel();
    let report = move |pinned: Pinned| tell.send(pinned.files).unwrap();
    let pins = Pins::start(Budget::Auto, Arc::clone(&catalog), report).unwrap();
    let boot = file(folder.path(), "boot/a.efi", 3000);
    catalog.publish(Snapshot::new([boot], Vec::new()));
    let patience = Duration::from_secs(30);
    assert_eq!(told.recv_timeout(patience), Ok(1));
    pins.set_budget(Budget::Off);
    assert_eq!(told.recv_timeout(patience), Ok(0));
    drop(pins);
}
