//! What hivex, which knows nothing of this code, finds in stores that are made here.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bootstorm_catalog::bcd::{BootStore, Firmware, Menu, RamdiskEntry};
use bootstorm_proto::types::{BlockSize, WindowSize};

const LOADER: &str = r"\Objects\{b0075702-0000-4000-8000-000000000000}\Elements";
const OPTIONS: &str = r"\Objects\{ae5534e0-a924-466c-b836-758539a3ee3a}\Elements";

fn pe() -> BootStore {
    let mut entry = RamdiskEntry::new("Windows PE", r"\Boot\boot.wim", r"\Boot\boot.sdi");
    entry.block = Some(BlockSize::try_from(1456).unwrap());
    entry.window = Some(WindowSize::try_from(16).unwrap());
    BootStore {
        firmware: Firmware::Uefi,
        entries: vec![entry],
        default: 0,
        menu: Menu::Hidden,
        locale: None,
    }
}

/// Everything that a store can say.
fn menu() -> BootStore {
    let second = RamdiskEntry {
        variable_window: true,
        test_signing: true,
        options: Some("DDISABLE_INTEGRITY_CHECKS".into()),
        ..RamdiskEntry::new("Zürich & Söhne", "images/z.wim", "images/z.wim/boot.sdi")
    };
    BootStore {
        firmware: Firmware::Bios,
        entries: [pe().entries, vec![second]].concat(),
        default: 1,
        menu: Menu::Timed(Duration::from_secs(10)),
        locale: Some("de-DE".into()),
    }
}

/// What a program of hivex says of a file; none where it is not installed, which fails in CI.
fn hivex(program: &str, file: &Path, more: &[&str]) -> Option<Vec<u8>> {
    let said = Command::new(program).arg(file).args(more).output();
    match said {
        Ok(said) => {
            let error = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(
                said.status.success() && error.is_empty(),
                "{program}: {error}"
            );
            Some(said.stdout)
        }
        Err(error) => {
            let is_needed = std::env::var_os("CI").is_some();
            assert!(!is_needed, "{program} (Debian's libhivex-bin): {error}");
            eprintln!("skipped: there is no {program}");
            None
        }
    }
}

/// The store's file, gone with the folder.
fn written(store: &BootStore) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("BCD");
    fs::write(&file, store.to_bytes().unwrap()).unwrap();
    (folder, file)
}

/// The tree alone, a line for each key and value: without where each lies in the file.
fn tree(xml: &str) -> String {
    let mut pieces = xml.split("<byte_runs>");
    let mut tree = pieces.next().unwrap().to_owned();
    for piece in pieces {
        tree += piece.split_once("</byte_runs>").unwrap().1;
    }
    let tree = tree
        .replace("><node", ">\n<node")
        .replace("><value", ">\n<value");
    tree.trim_end().to_owned() + "\n"
}

#[test]
fn winboot_03_hivexml_finds_the_objects_and_elements_of_the_golden_files() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bcd");
    for (store, size, name) in [(pe(), 8192, "uefi.xml"), (menu(), 12_288, "bios-menu.xml")] {
        assert_eq!(store.to_bytes().unwrap().len(), size, "{name}");
        let (_folder, file) = written(&store);
        let Some(said) = hivex("hivexml", &file, &[]) else {
            return;
        };
        let found = tree(&String::from_utf8(said).unwrap());
        let golden = goldens.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap();
        assert_eq!(
            found, wanted,
            "if it is meant: UPDATE=1 cargo test --test bcd"
        );
    }
}

#[test]
fn winboot_04_devices_are_those_that_windows_writes_byte_by_byte() {
    // As bcdedit wrote them for `\Boot\boot.wim`, in the store of github.com/NiKiZe/wimboot-bcd.
    let boot: [&[u8]; 3] = [&[0; 16], &[5, 0, 0, 0, 0, 0, 0, 0, 0x48], &[0; 63]];
    let ram_disk: [&[u8]; 9] = [
        b"\xe0\x34\x55\xae\x24\xa9\x6c\x46\xb8\x36\x75\x85\x39\xa3\xee\x3a",
        b"\0\0\0\0\x01\0\0\0\x9a\0\0\0\0\0\0\0\x03\0\0\0",
        &[0; 20],
        b"\x01\0\0\0\x72\0\0\0\x05\0\0\0",
        b"\x05\0\0\0\0\0\0\0\x48",
        &[0; 63],
        b"\\\0B\0o\0o\0t\0\\\0",
        b"b\0o\0o\0t\0.\0w\0i\0m\0",
        &[0; 2],
    ];
    let (boot, ram_disk) = (boot.concat(), ram_disk.concat());
    assert_eq!((boot.len(), ram_disk.len()), (88, 170));
    let (_folder, file) = written(&pe());
    for (elements, code, wanted) in [
        (LOADER, "11000001", &ram_disk),
        (LOADER, "21000001", &ram_disk),
        (OPTIONS, "31000003", &boot),
    ] {
        let key = format!(r"{elements}\{code}");
        if let Some(found) = hivex("hivexget", &file, &[&key, "Element"]) {
            assert_eq!(&found, wanted, "{key}");
        }
    }
}

#[test]
fn winboot_05_hivexget_finds_sizes_of_eight_bytes() {
    let (_folder, file) = written(&pe());
    for (code, wanted) in [("35000007", 1456_u64), ("35000008", 16)] {
        let key = format!(r"{OPTIONS}\{code}");
        if let Some(found) = hivex("hivexget", &file, &[&key, "Element"]) {
            assert_eq!(found, wanted.to_le_bytes(), "{key}");
        }
    }
}

#[test]
fn winboot_06_hivexget_finds_the_loader_of_the_firmware() {
    for (store, loader) in [(pe(), "winload.efi"), (menu(), "winload.exe")] {
        let (_folder, file) = written(&store);
        let key = format!(r"{LOADER}\12000002");
        if let Some(found) = hivex("hivexget", &file, &[&key, "Element"]) {
            let found = String::from_utf8(found).unwrap();
            assert_eq!(
                found.trim_end(),
                format!(r"\Windows\System32\boot\{loader}")
            );
        }
    }
}
