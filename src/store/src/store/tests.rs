use std::fs;
use std::os::unix::fs::PermissionsExt;

use bootstorm_proto::types::{ClientArch, MachineGuid};
use tempfile::TempDir;

use super::*;

fn mac(last: u16) -> MacAddress {
    let [high, low] = last.to_be_bytes();
    MacAddress::new([0x52, 0x54, 0, 0, high, low])
}

fn sighting(last: u16, phase: &str, seconds: u64) -> Sighting {
    Sighting {
        mac: mac(last),
        guid: None,
        arch: None,
        phase: phase.to_owned(),
        has_booted: phase == "booted",
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

async fn fresh() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("bootstorm.db"))
        .await
        .unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_machine_keeps_what_a_later_sighting_does_not_tell() {
    let (_folder, store) = fresh().await;
    let guid = MachineGuid::from_wire([7; 16]);
    let first = Sighting {
        guid: Some(guid),
        arch: Some(ClientArch(7)),
        ..sighting(1, "asked", 10)
    };
    store
        .seen(&[first, sighting(1, "booted", 20), sighting(2, "asked", 5)])
        .await
        .unwrap();
    let machine = store.machine(mac(1)).await.unwrap().unwrap();
    assert_eq!(machine.guid, Some(guid));
    assert_eq!(machine.arch, Some(ClientArch(7)));
    assert_eq!(machine.phase, "booted");
    assert_eq!(
        machine.first_seen,
        SystemTime::UNIX_EPOCH + Duration::from_secs(10)
    );
    assert_eq!(
        machine.last_seen,
        SystemTime::UNIX_EPOCH + Duration::from_secs(20)
    );
    assert_eq!(store.machine(mac(3)).await.unwrap(), None);
}

#[tokio::test]
async fn assignments_survive_a_restart_and_sightings() {
    let (folder, store) = fresh().await;
    store.assign(mac(1), Some("debian-13")).await.unwrap();
    store.assign(mac(2), Some("local")).await.unwrap();
    store.rename(mac(1), Some("lab3-17")).await.unwrap();
    store.seen(&[sighting(1, "asked", 1)]).await.unwrap();
    store.assign(mac(2), None).await.unwrap();
    store.close().await;
    let store = Store::open(&folder.path().join("bootstorm.db"))
        .await
        .unwrap();
    assert_eq!(
        store.assignments().await.unwrap(),
        [(mac(1), "debian-13".to_owned())]
    );
    let machine = store.machine(mac(1)).await.unwrap().unwrap();
    assert_eq!(machine.name.as_deref(), Some("lab3-17"));
    assert!(store.machine(mac(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn pages_follow_each_other_and_are_bounded() {
    let (_folder, store) = fresh().await;
    let all: Vec<_> = (0..1500).map(|n| sighting(n, "asked", 1)).collect();
    store.seen(&all).await.unwrap();
    let first = store.machines(None, u32::MAX).await.unwrap();
    assert_eq!(first.len(), PAGE_MAX as usize);
    let rest = store
        .machines(Some(first[first.len() - 1].mac), 600)
        .await
        .unwrap();
    assert_eq!(rest.len(), 500);
    assert_eq!(rest[0].mac, mac(1000));
}

#[tokio::test]
async fn a_flood_of_machines_drives_out_the_oldest_but_nothing_assigned() {
    let (_folder, mut store) = fresh().await;
    store.machines_max = 100;
    store.assign(mac(0), Some("debian")).await.unwrap();
    store.rename(mac(1), Some("mine")).await.unwrap();
    for batch in 0..20 {
        let flood: Vec<_> = (0..100)
            .map(|n| sighting(2 + batch * 100 + n, "asked", u64::from(batch)))
            .collect();
        store.seen(&flood).await.unwrap();
    }
    let left = store.machines(None, PAGE_MAX).await.unwrap();
    assert_eq!(left.len(), 100);
    assert!(left.iter().any(|m| m.boot.is_some()));
    assert!(left.iter().any(|m| m.name.is_some()));
    assert!(left.iter().any(|m| m.mac == mac(2001)));
}

#[tokio::test]
async fn a_machine_is_known_once_it_booted_or_people_said_something_of_it() {
    let (_folder, store) = fresh().await;
    let seen = ["asked", "booted", "asked", "asked"];
    for (number, phase) in seen.into_iter().enumerate() {
        let one = [sighting(number as u16, phase, 1)];
        store.seen(&one).await.unwrap();
    }
    store.seen(&[sighting(1, "asked", 2)]).await.unwrap();
    store.rename(mac(2), Some("lab3-17")).await.unwrap();
    store.assign(mac(3), Some("local")).await.unwrap();
    store.assign(mac(9), Some("debian")).await.unwrap();
    let mut known = store.known().await.unwrap();
    known.sort();
    assert_eq!(known, [1, 2, 3, 9].map(mac));
}

#[tokio::test]
async fn machines_that_booted_outlive_a_flood_of_those_that_only_ask() {
    let (_folder, mut store) = fresh().await;
    store.machines_max = 100;
    store.seen(&[sighting(0, "booted", 1)]).await.unwrap();
    for batch in 0..20 {
        let flood: Vec<_> = (0..100)
            .map(|n| sighting(1 + batch * 100 + n, "asked", 2 + u64::from(batch)))
            .collect();
        store.seen(&flood).await.unwrap();
    }
    assert_eq!(store.known().await.unwrap(), [mac(0)]);
}

#[tokio::test]
async fn hostile_texts_are_refused_or_cut() {
    let (_folder, store) = fresh().await;
    for text in ["", "a\nb", "x\u{1b}", &"x".repeat(256)] {
        let error = store.assign(mac(1), Some(text)).await.unwrap_err();
        assert_eq!(error.code(), "store.bad-text");
        assert!(!error.to_string().contains(['\n', '\u{1b}']));
    }
    let name = "'); DROP TABLE machines; --";
    store.rename(mac(1), Some(name)).await.unwrap();
    store
        .seen(&[sighting(1, &"é".repeat(300), 1)])
        .await
        .unwrap();
    let machine = store.machine(mac(1)).await.unwrap().unwrap();
    assert_eq!(machine.name.as_deref(), Some(name));
    assert_eq!(machine.phase, "é".repeat(127));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bootstorm.db");
    fs::write(
        &path,
        "this is not a database, but long enough to be looked at".repeat(40),
    )
    .unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert_eq!(error.code(), "store.corrupt", "{error}");
    assert!(error.to_string().contains("restore a copy"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_page_is_found_at_start() {
    let (folder, store) = fresh().await;
    let all: Vec<_> = (0..2000).map(|n| sighting(n, "asked", 1)).collect();
    store.seen(&all).await.unwrap();
    store.close().await;
    let path = folder.path().join("bootstorm.db");
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[len / 2..len / 2 + 8192].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert_eq!(error.code(), "store.corrupt", "{error}");
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let (folder, store) = fresh().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let error = Store::open(&folder.path().join("bootstorm.db"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "store.newer", "{error}");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(&folder.path().join("no/such/bootstorm.db"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "store.unwritable", "{error}");
    assert!(error.to_string().contains("no/such"));
}

#[tokio::test]
async fn only_the_owner_reads_the_file() {
    let (folder, store) = fresh().await;
    store.seen(&[sighting(1, "asked", 1)]).await.unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
}
