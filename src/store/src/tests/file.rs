use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::lab::{Lab, on_each, sighting};
use crate::{Location, Store};

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
    let error = Store::open(&Location::File(path.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "store.corrupt", "{error}");
    assert!(error.to_string().contains("restore a copy"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_page_is_found_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::in_folder(folder.path());
    let store = Store::open(&location).await.unwrap();
    let all: Vec<_> = (0..2000).map(|n| sighting(n, "asked", 1)).collect();
    store.seen(&all).await.unwrap();
    store.close().await;
    let path = folder.path().join("bootstorm.db");
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[len / 2..len / 2 + 8192].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&location).await.unwrap_err();
    assert_eq!(error.code(), "store.corrupt", "{error}");
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    on_each(async |lab: Lab| {
        let store = lab.open().await;
        let later = "INSERT INTO _sqlx_migrations \
             (version, description, success, checksum, execution_time) \
             SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        sqlx::query(later).execute(&store.pool()).await.unwrap();
        store.close().await;
        let error = Store::open(&lab.location).await.unwrap_err();
        assert_eq!(error.code(), "store.newer", "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::in_folder(&folder.path().join("no/such"));
    let error = Store::open(&location).await.unwrap_err();
    assert_eq!(error.code(), "store.unwritable", "{error}");
    assert!(error.to_string().contains("no/such"));
}

#[tokio::test]
async fn only_the_owner_reads_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::in_folder(folder.path()))
        .await
        .unwrap();
    store.seen(&[sighting(1, "asked", 1)]).await.unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_name_of_a_file_may_hold_anything() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("50% of? the#day é");
    fs::create_dir(&odd).unwrap();
    let store = Store::open(&Location::in_folder(&odd)).await.unwrap();
    store.seen(&[sighting(1, "asked", 1)]).await.unwrap();
    store.close().await;
    assert!(fs::metadata(odd.join("bootstorm.db")).unwrap().len() > 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
