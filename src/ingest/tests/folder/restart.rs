//! What survives a restart.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::lab::{BOUND, Lab};

#[test]
fn a_restart_copies_and_hashes_nothing() {
    let lab = Lab::new();
    lab.write("a.bin", "a");
    lab.write("boot/b.efi", "b");
    let first = lab.start();
    assert_eq!(first.copied(), 2);
    let etag = first.snapshot().file("a.bin").unwrap().etag();
    drop(first);
    let second = lab.start();
    assert_eq!(second.copied(), 0, "{:?}", second.reports());
    assert_eq!(second.snapshot().file("a.bin").unwrap().etag(), etag);
    assert_eq!(second.snapshot().files().count(), 2);
}

#[test]
fn what_was_served_before_is_there_at_once_whatever_there_is_to_copy() {
    let lab = Lab::new();
    lab.write("before.img", "before");
    drop(lab.start());
    lab.write("new.img", vec![7; 64 << 20]);
    let second = lab.begin();
    assert!(second.ingest.recalled(BOUND));
    assert!(second.snapshot().file("before.img").is_ok());
}

#[test]
fn what_changed_while_the_server_was_off_is_copied_and_what_went_is_gone() {
    let lab = Lab::new();
    for name in ["same", "changed", "gone"] {
        lab.write(name, name);
    }
    drop(lab.start());
    lab.write("changed", "changed since");
    fs::remove_file(lab.images().join("gone")).unwrap();
    let second = lab.start();
    assert_eq!(second.copied(), 1);
    assert_eq!(
        &*second.snapshot().file("changed").unwrap().content,
        b"changed since"
    );
    assert_eq!(second.snapshot().files().count(), 2);
    assert_eq!(lab.copies().len(), 2);
}

#[test]
fn a_copy_that_was_tampered_with_while_the_server_was_off_is_made_anew() {
    let lab = Lab::new();
    lab.write("a.bin", "honest");
    drop(lab.start());
    let copy = &lab.copies()[0];
    fs::set_permissions(copy, Permissions::from_mode(0o600)).unwrap();
    fs::write(copy, "forged").unwrap();
    let second = lab.start();
    assert_eq!(
        &*second.snapshot().file("a.bin").unwrap().content,
        b"honest"
    );
    assert_eq!(second.copied(), 1);
}

#[test]
fn line_23_a_copy_that_is_truncated_while_it_is_served_is_condemned() {
    let lab = Lab::new();
    lab.write("a.bin", vec![7; 300_000]);
    let running = lab.start();
    let file = running.snapshot().file("a.bin").unwrap();
    let copy = &lab.copies()[0];
    fs::set_permissions(copy, Permissions::from_mode(0o600)).unwrap();
    File::options()
        .write(true)
        .open(copy)
        .unwrap()
        .set_len(10)
        .unwrap();
    running.wait(|_| !file.is_intact());
    assert_eq!(file.content.range(0..10), None);
    running.wait(|s| {
        s.file("a.bin")
            .is_ok_and(|f| f.is_intact() && f.content.len() == 300_000)
    });
    assert!(running.said("ingest.copy-harmed"));
}

#[test]
fn an_index_full_of_rubbish_costs_time_only() {
    let lab = Lab::new();
    lab.write("a.bin", "a");
    drop(lab.start());
    for rubbish in ["", "{", "[]", "{\"version\":99,\"files\":{}}", "\u{0}\u{1}"] {
        fs::write(lab.config.data.join("index.json"), rubbish).unwrap();
        let running = lab.start();
        assert_eq!(running.copied(), 1, "{rubbish:?}");
        assert_eq!(&*running.snapshot().file("a.bin").unwrap().content, b"a");
    }
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let lab = Lab::new();
    drop(lab.start());
    let half = lab.config.data.join("blobs/tmp/half");
    fs::write(&half, "half").unwrap();
    lab.write("a.bin", "a");
    let running = lab.start();
    assert_eq!(&*running.snapshot().file("a.bin").unwrap().content, b"a");
    assert!(!half.exists());
}
