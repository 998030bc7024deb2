//! `bootstorm wim` on files that wimlib made.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[path = "../../../tests/fixtures/wimlib.rs"]
mod wimlib;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bootstorm_catalog::Catalog;
use bootstorm_ingest::{Ingest, IngestConfig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootstorm");

struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    /// Two images, the second one boots; `None` where wimlib is missing.
    fn new() -> Option<Self> {
        if !wimlib::is_there() {
            return None;
        }
        let made = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (tree, wim) = (made.at("tree"), made.wim());
        fs::create_dir_all(tree.join("Windows/Boot/EFI")).unwrap();
        fs::write(
            tree.join("Windows/Boot/EFI/bootmgfw.efi"),
            LOADER.repeat(9000),
        )
        .unwrap();
        fs::write(tree.join("Windows/odd\u{1b}[2J.txt"), "text\r\n").unwrap();
        wimlib::pack(&tree, &wim, "One", &["--check", "--compress=LZX"]);
        wimlib::pack(&tree, &wim, "Zwei", &["--check", "--boot"]);
        let arch = "--image-property=WINDOWS/ARCH=9";
        wimlib::imagex(&[&"info", &wim, &"2", &arch, &"--check"]);
        Some(made)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wim(&self) -> PathBuf {
        self.at("made.wim")
    }
}

const LOADER: &[u8] = b"MZ\0\x01not a loader\xff";

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wim(arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["wim", arguments[0]])
        .arg(file)
        .args(&arguments[1..]);
    command
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn winboot_10_info_tells_all_images_and_which_one_boots() {
    let Some(made) = Made::new() else { return };
    let text = said(&mut wim(&["info"], &made.wim()));
    for part in [
        "LZX in chunks of 32768 bytes, 2 images",
        "wimboot boots image 2",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        text.contains("image 1: One\n") && text.contains("image 2: Zwei\n"),
        "{text}"
    );
    assert!(text.contains("for          x64") && text.contains("boots by     bootmgfw.efi"));
    let json = said(&mut wim(&["info", "-o", "json", "--check"], &made.wim()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["boot_index"], &json["boots"]),
        (&2.into(), &2.into())
    );
    assert_eq!(json["integrity"], "right");
    assert_eq!(json["images"][1]["arch"], "x64");
    assert_eq!(json["images"][0]["loaders"][0], "bootmgfw.efi");
    let xml = said(&mut wim(&["info", "--xml"], &made.wim()));
    assert!(
        xml.starts_with("<WIM>") && xml.contains("<NAME>Zwei</NAME>"),
        "{xml}"
    );
}

#[test]
fn winboot_10_ls_lists_and_cat_writes_a_file_of_the_image_that_boots() {
    let Some(made) = Made::new() else { return };
    let listed = said(&mut wim(&["ls"], &made.wim()));
    assert!(
        listed.starts_with("d ") && listed.trim_end().ends_with(" Windows"),
        "{listed}"
    );
    let listed = said(&mut wim(&["ls", "windows", "--image", "1"], &made.wim()));
    assert!(
        listed.contains("odd\u{fffd}[2J.txt"),
        "names cannot harm terminals: {listed}"
    );
    let all = said(&mut wim(&["ls", "-r"], &made.wim()));
    assert!(all.contains("\\Windows\\Boot\\EFI\\bootmgfw.efi"), "{all}");
    let json = said(&mut wim(
        &["ls", "Windows/Boot/EFI", "-o", "json"],
        &made.wim(),
    ));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["size"], 9000 * LOADER.len());
    let cat = ["cat", "\\WINDOWS\\boot\\efi\\BootMgFw.efi"];
    let output = wim(&cat, &made.wim()).output().unwrap();
    assert!(output.status.success() && output.stdout == LOADER.repeat(9000));
}

#[test]
fn what_is_not_there_or_wrong_has_its_exit_code_and_says_what_it_is() {
    let Some(made) = Made::new() else { return };
    let run = |arguments: &[&str], file: &Path| {
        let output = wim(arguments, file).output().unwrap();
        let errors = String::from_utf8(output.stderr.clone()).unwrap();
        (code(&output), errors)
    };
    let (status, errors) = run(&["cat", "Windows/none"], &made.wim());
    assert!(
        status == Some(1) && errors.contains("Windows/none"),
        "{errors}"
    );
    let (status, errors) = run(&["cat", "Windows"], &made.wim());
    assert!(
        status == Some(1) && errors.contains("is a folder"),
        "{errors}"
    );
    let (status, errors) = run(&["ls", "--image", "3"], &made.wim());
    assert!(
        status == Some(2) && errors.contains("no image 3"),
        "{errors}"
    );
    let (status, _) = run(&["cat"], &made.wim());
    assert_eq!(status, Some(2));
    let (status, errors) = run(&["info"], &made.at("missing"));
    assert!(status == Some(1) && errors.contains("missing"), "{errors}");
    let (status, errors) = run(&["info"], &made.at("tree"));
    assert!(status == Some(1) && errors.contains("tree"), "{errors}");
    let (status, errors) = run(&["info"], Path::new(PROGRAM));
    assert!(
        status == Some(1) && errors.contains("no WIM file"),
        "{errors}"
    );
    let mut damaged = fs::read(made.wim()).unwrap();
    damaged[300] ^= 1;
    fs::write(made.at("damaged.wim"), damaged).unwrap();
    let output = wim(&["info", "--check"], &made.at("damaged.wim"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        code(&output) == Some(1) && text.contains("its SHA-1 is another"),
        "{text}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let Some(made) = Made::new() else { return };
    let mut cat = wim(&["cat", "Windows/Boot/EFI/bootmgfw.efi"], &made.wim());
    let mut child = cat
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"MZ");
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (code(&output), output.stderr.len()),
        (Some(0), 0),
        "{output:?}"
    );
}

#[test]
fn check_tells_what_the_images_lack_and_is_good_all_the_same() {
    let Some(made) = Made::new() else { return };
    let config = IngestConfig::new(made.at("images"), made.at("data"));
    fs::create_dir(&config.images).unwrap();
    fs::copy(made.wim(), config.images.join("pe.wim")).unwrap();
    let ingest = Ingest::start(config, Arc::new(Catalog::default()), drop).unwrap();
    assert!(ingest.first_pass());
    drop(ingest);
    let file = made.at("bootstorm.toml");
    let folders = ["images", "data"].map(|name| format!("{name} = {:?}\n", made.at(name)));
    fs::write(&file, folders.concat()).unwrap();
    let text = said(Command::new(PROGRAM).arg("check").arg(&file));
    let lacks = "image pe.wim: image 2 has no Windows\\Boot\\PXE\\bootmgr.exe";
    assert!(
        text.contains(lacks) && text.contains("[wim.no-loader]"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("good"), "{text}");
}
