//! The ingest at work on real folders with real change notices. Conditions are waited for, with a
//! bound that only a broken ingest reaches.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod bad_input;
mod lab;
mod restart;
#[path = "../../../../tests/fixtures/wimlib.rs"]
mod wimlib;
mod windows;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bootstorm_catalog::LookupError;
use bootstorm_ingest::Fallback;
use lab::Lab;

/// Half of the SHA-256 of `nbp`.
const ETAG_OF_NBP: &str = "\"ce3f8f4e779774eb15860ec3cf68fa11\"";

#[test]
fn first_pass_serves_everything_whole_and_by_its_digest() {
    let lab = Lab::new();
    let big: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    lab.write("images of all/big.bin", &big);
    lab.write("boot/ipxe.efi", "nbp");
    lab.write("debian/vmlinuz", "kernel");
    lab.write("debian/initrd.gz", "ramdisk");
    lab.write("empty", "");
    let running = lab.start();
    let snapshot = running.snapshot();
    assert_eq!(snapshot.files().count(), 5);
    assert_eq!(
        &*snapshot.file("images of all/big.bin").unwrap().content,
        &big[..]
    );
    assert!(snapshot.file("empty").unwrap().is_empty());
    let file = snapshot.tftp_file("ipxe.efi").unwrap();
    assert_eq!(&*file.etag(), ETAG_OF_NBP);
    assert_eq!(snapshot.entries()[0].id, "debian");
    assert!(
        running.said("copied \"boot/ipxe.efi\" 3 B in"),
        "{:?}",
        running.reports()
    );
    assert!(snapshot.problems().is_empty(), "{:?}", snapshot.problems());
}

#[test]
fn every_reason_code_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let reasons = fs::read_to_string(root.join("docs/reference/reasons.md")).unwrap();
    let mut folders = vec![root.join("src/catalog/src"), root.join("src/ingest/src")];
    let mut codes = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for child in fs::read_dir(folder).unwrap() {
            let path = child.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for text in fs::read_to_string(path).unwrap().split('"') {
                let areas = ["catalog.", "efi.", "ingest.", "iso.", "linux.", "wim."];
                let area = areas.iter().find_map(|area| text.strip_prefix(area));
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if area.is_some_and(|rest| rest.contains('-') && rest.chars().all(plain)) {
                    codes.insert(text.to_owned());
                }
            }
        }
    }
    assert!(codes.len() > 30, "{codes:?}");
    let missing: Vec<_> = codes
        .iter()
        .filter(|c| !reasons.contains(&format!("| `{c}` |")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_empty_images_folder_is_ready_with_nothing() {
    let lab = Lab::new();
    assert_eq!(lab.start().snapshot().files().count(), 0);
}

#[test]
fn new_changed_and_removed_files_show_in_the_snapshot() {
    let lab = Lab::new();
    let running = lab.start();
    lab.write("sub/deeper/a.bin", "one");
    running.wait_for("sub/deeper/a.bin", b"one");
    let old = running.snapshot().file("sub/deeper/a.bin").unwrap();
    lab.write("sub/deeper/a.bin", "another");
    running.wait_for("sub/deeper/a.bin", b"another");
    assert_eq!(
        &*old.content, b"one",
        "a transfer under way keeps its version"
    );
    fs::rename(lab.images().join("sub"), lab.images().join("moved")).unwrap();
    running.wait_for("moved/deeper/a.bin", b"another");
    running.wait(|s| s.file("sub/deeper/a.bin").err() == Some(LookupError::NotFound));
    fs::remove_dir_all(lab.images().join("moved")).unwrap();
    running.wait(|s| s.files().count() == 0);
    running.wait(|_| lab.copies().is_empty());
    assert_eq!(&*old.content, b"one", "removing the copy leaves the map");
}

#[test]
fn a_file_that_is_written_slowly_is_never_served_half() {
    let lab = Lab::new();
    let running = lab.start();
    let path = lab.images().join("slow.bin");
    let written = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&written);
    let writer = thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        for _ in 0..12 {
            file.write_all(&[7; 100_000]).unwrap();
            thread::sleep(Duration::from_millis(120));
        }
        done.store(true, Ordering::SeqCst);
    });
    running.wait(|snapshot| {
        let whole = written.load(Ordering::SeqCst);
        let Ok(file) = snapshot.file("slow.bin") else {
            return false;
        };
        assert!(
            whole || file.len() == 1_200_000,
            "served at {} bytes",
            file.len()
        );
        file.len() == 1_200_000
    });
    writer.join().unwrap();
}

#[test]
fn an_entry_shows_once_all_its_files_are_there() {
    let lab = Lab::new();
    lab.write("linux/vmlinuz", "kernel");
    let running = lab.start();
    lab.write("linux/initrd.gz", "ramdisk");
    lab.write("linux/cmdline", "quiet\n");
    running.wait(|s| {
        s.entries().first().is_some_and(|e| {
            e.unbootable.is_none()
                && format!("{:?}", e.kind)
                    .contains("initrds: [\"linux/initrd.gz\"], cmdline: \"quiet\"")
        })
    });
}

#[test]
fn fallbacks_fill_gaps_and_give_way_to_own_files() {
    let mut lab = Lab::new();
    let system = tempfile::tempdir().unwrap();
    fs::create_dir(system.path().join("ipxe")).unwrap();
    fs::write(system.path().join("ipxe/snponly.efi"), "packaged").unwrap();
    fs::write(system.path().join("ipxe/undionly.kpxe"), "bios").unwrap();
    fs::write(system.path().join("shimx64.efi.signed"), "shim").unwrap();
    let fallback = |path: &str, source: &str| Fallback {
        path: path.into(),
        source: system.path().join(source),
    };
    lab.config.fallbacks = vec![
        fallback("boot", "ipxe"),
        fallback("boot/shimx64.efi", "shimx64.efi.signed"),
        fallback("boot/grubx64.efi", "missing.efi.signed"),
    ];
    lab.write("Boot/SNPONLY.EFI", "own");
    let running = lab.start();
    let content = |name: &str| {
        running
            .snapshot()
            .tftp_file(name)
            .map(|f| f.content.to_vec())
    };
    assert_eq!(content("snponly.efi").unwrap(), b"own");
    assert_eq!(content("undionly.kpxe").unwrap(), b"bios");
    assert_eq!(content("shimx64.efi").unwrap(), b"shim");
    assert!(content("grubx64.efi").is_err());
    fs::remove_file(lab.images().join("Boot/SNPONLY.EFI")).unwrap();
    running.wait_for("boot/snponly.efi", b"packaged");
}

#[test]
fn the_data_folder_inside_the_images_folder_is_not_served() {
    let mut lab = Lab::new();
    lab.config.data = lab.images().join("state");
    fs::create_dir_all(&lab.config.data).unwrap();
    fs::write(lab.config.data.join("admin.token"), "secret").unwrap();
    lab.write("a.bin", "a");
    let running = lab.start();
    lab.write("b.bin", "b");
    running.wait_for("b.bin", b"b");
    let paths: Vec<String> = running
        .snapshot()
        .files()
        .map(|f| f.path.to_string())
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
}

#[test]
fn two_files_with_the_same_content_share_one_copy() {
    let lab = Lab::new();
    lab.write("a.bin", "same");
    lab.write("b.bin", "same");
    let running = lab.start();
    assert_eq!(lab.copies().len(), 1);
    fs::remove_file(lab.images().join("a.bin")).unwrap();
    running.wait(|s| s.file("a.bin").is_err());
    assert_eq!(&*running.snapshot().file("b.bin").unwrap().content, b"same");
    assert_eq!(lab.copies().len(), 1);
}

#[test]
fn temporary_names_are_left_alone_until_they_are_renamed() {
    let lab = Lab::new();
    for name in ["a.iso.part", ".a.iso.Xy12Zq", "b.wim.tmp", "c.swp", "d~"] {
        lab.write(name, "half");
    }
    lab.write(".treeinfo", "served");
    let running = lab.start();
    assert_eq!(running.snapshot().files().count(), 1);
    fs::rename(
        lab.images().join(".a.iso.Xy12Zq"),
        lab.images().join("a.iso"),
    )
    .unwrap();
    running.wait_for("a.iso", b"half");
}
