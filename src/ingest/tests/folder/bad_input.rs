//! What people and disks do to an images folder.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::Arc;

use bootstorm_catalog::Catalog;
use bootstorm_ingest::{Ingest, IngestError};

use crate::lab::Lab;

fn refusal(lab: &Lab) -> &'static str {
    let started = Ingest::start(lab.config.clone(), Arc::new(Catalog::default()), |_| {});
    started.err().as_ref().map_or("", IngestError::code)
}

#[test]
fn a_missing_images_folder_is_made_and_said() {
    let lab = Lab::new();
    fs::remove_dir(lab.images()).unwrap();
    let running = lab.start();
    assert!(running.said("made the images folder"));
    lab.write("a", "a");
    running.wait_for("a", b"a");
}

#[test]
fn folders_that_cannot_be_used_are_refused_with_a_code() {
    let mut lab = Lab::new();
    fs::write(lab.images().join("file"), "").unwrap();
    let images = lab.images();
    lab.config.images = images.join("file");
    assert_eq!(refusal(&lab), "ingest.images-folder");
    lab.config.images = images.join("file/below");
    assert_eq!(refusal(&lab), "ingest.images-folder");
    lab.config.images = images.clone();
    lab.config.data = images.clone();
    assert_eq!(refusal(&lab), "ingest.same-folder");
    lab.config.data = images.join("file");
    assert_eq!(refusal(&lab), "ingest.data-folder");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let lab = Lab::new();
    let running = lab.start();
    assert_eq!(refusal(&lab), "ingest.data-in-use");
    drop(running);
    assert_eq!(refusal(&lab), "");
}

#[test]
fn line_21_links_are_followed_inside_the_folder_and_refused_out_of_it() {
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    lab.write("real/file", "content");
    let link = |to: &str, name: &str| symlink(to, lab.images().join(name)).unwrap();
    link("real/file", "inside");
    link("real", "folder");
    link(outside.path().join("secret").to_str().unwrap(), "out-file");
    link(outside.path().to_str().unwrap(), "out-folder");
    link("../data", "out-data");
    link("nowhere", "broken");
    link("..", "real/up");
    link("self", "self");
    let running = lab.start();
    let snapshot = running.snapshot();
    assert_eq!(&*snapshot.file("inside").unwrap().content, b"content");
    assert_eq!(&*snapshot.file("folder/file").unwrap().content, b"content");
    assert!(
        snapshot.files().all(|f| &*f.content == b"content"),
        "{:?}",
        snapshot
    );
    let codes = running.codes();
    let has = |path: &str, code: &str| {
        assert!(
            codes.iter().any(|c| (c.0.as_str(), c.1) == (path, code)),
            "{path} {codes:?}"
        )
    };
    has("out-file", "ingest.link-outside");
    has("out-folder", "ingest.link-outside");
    has("out-data", "ingest.link-outside");
    has("broken", "ingest.broken-link");
    has("self", "ingest.broken-link");
    has("real/up", "ingest.link-loop");
}

#[test]
fn odd_files_are_ignored_or_named() {
    let lab = Lab::new();
    let pipe = lab.images().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(lab.images().join("socket")).unwrap();
    fs::write(lab.images().join(OsStr::from_bytes(b"caf\xe9.iso")), "x").unwrap();
    fs::write(lab.images().join("back\\slash"), "x").unwrap();
    fs::write(lab.images().join("new\nline"), "x").unwrap();
    lab.write("File", "first");
    lab.write("file", "second");
    let running = lab.start();
    running.wait(|s| s.problems().len() >= 3);
    let mut codes: Vec<_> = running.codes().into_iter().map(|(_, code)| code).collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "catalog.same-name",
            "catalog.unreachable-name",
            "ingest.name-not-utf8"
        ],
        "{:?}",
        running.codes()
    );
    assert_eq!(&*running.snapshot().file("FILE").unwrap().content, b"first");
}

#[test]
fn folders_that_are_too_deep_are_named_and_the_rest_is_served() {
    let lab = Lab::new();
    lab.write(&format!("{}file", "d/".repeat(40)), "deep");
    lab.write("file", "x");
    let running = lab.start();
    assert_eq!(running.snapshot().files().count(), 1);
    assert_eq!(running.codes()[0].1, "ingest.too-deep");
}

#[test]
fn an_unreadable_file_is_named_and_served_once_it_can_be_read() {
    let lab = Lab::new();
    lab.write("locked", "x");
    lab.write("fine", "y");
    let path = lab.images().join("locked");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let may_read_anyway = File::open(&path).is_ok();
    let running = lab.start();
    assert_eq!(&*running.snapshot().file("fine").unwrap().content, b"y");
    if !may_read_anyway {
        assert_eq!(
            running.codes(),
            [("locked".to_owned(), "ingest.unreadable")]
        );
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    running.wait_for("locked", b"x");
    running.wait(|s| s.problems().is_empty());
}

#[test]
fn the_images_folder_may_vanish_and_come_back() {
    let lab = Lab::new();
    lab.write("a", "a");
    let running = lab.start();
    let aside = lab.images().with_extension("aside");
    fs::rename(lab.images(), &aside).unwrap();
    running.ingest.rescan();
    running.wait(|s| s.problems().iter().any(|p| p.code == "ingest.unreadable"));
    assert_eq!(&*running.snapshot().file("a").unwrap().content, b"a");
    fs::create_dir(lab.images()).unwrap();
    running.ingest.rescan();
    running.wait(|s| s.files().count() == 0);
    lab.write("b", "b");
    running.wait_for("b", b"b");
}

const SMALL_DISK: &str = "BOOTSTORM_TEST_SMALL_DISK";

/// Runs the next test on a file system of 4 MiB, in namespaces of its own.
#[test]
fn a_full_disk_keeps_the_old_version_and_heals() {
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m none \"$1\" || exit 77; \
                  exec \"$0\" --exact bad_input::on_a_small_disk --ignored --nocapture";
    let done = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(env::current_exe().unwrap())
        .arg(disk.path())
        .env(SMALL_DISK, disk.path())
        .output();
    let Ok(done) = done else {
        return eprintln!("skipped: no unshare");
    };
    let text = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(77) || text.contains("unshare failed") {
        return eprintln!("skipped: no user namespaces here: {text}");
    }
    assert!(done.status.success(), "{text}");
    let ran = String::from_utf8_lossy(&done.stdout);
    assert!(
        ran.contains("1 passed"),
        "the test on the small disk did not run: {ran}"
    );
}

#[test]
#[ignore = "run by a_full_disk_keeps_the_old_version_and_heals"]
fn on_a_small_disk() {
    let mut lab = Lab::new();
    lab.config.data = env::var_os(SMALL_DISK).unwrap().into();
    lab.write("a.bin", vec![1; 1_000_000]);
    let running = lab.start();
    lab.write("a.bin", vec![2; 8_000_000]);
    running.wait(|s| {
        s.problems()
            .iter()
            .any(|p| (p.path.as_str(), p.code) == ("a.bin", "ingest.disk-full"))
    });
    assert_eq!(
        &*running.snapshot().file("a.bin").unwrap().content,
        &[1; 1_000_000]
    );
    assert_eq!(
        fs::read_dir(lab.config.data.join("blobs/tmp"))
            .unwrap()
            .count(),
        0
    );
    lab.write("small.bin", "still works");
    running.wait_for("small.bin", b"still works");
    drop(running);
    let again = lab.start();
    assert_eq!(
        &*again.snapshot().file("a.bin").unwrap().content,
        &[1; 1_000_000]
    );
    lab.write("a.bin", vec![3; 1_500_000]);
    again.wait_for("a.bin", &[3; 1_500_000]);
    again.wait(|s| s.problems().is_empty());
}
