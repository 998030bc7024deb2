//! `bootstorm bcd` as somebody types it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn bcd(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
    command.current_dir(folder).arg("bcd").args(words);
    command.output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn fails(folder: &Path, words: &[&str], code: i32, with: &str) {
    let output = bcd(folder, words);
    let error = said(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(with), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_store_that_was_made_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = bcd(
        folder,
        &[
            "make",
            "--uefi",
            "--wim",
            r"\winpe.wim",
            "--block",
            "1456",
            "--window",
            "16",
            "-o",
            "BCD",
        ],
    );
    assert_eq!(
        (made.status.code(), made.stdout.as_slice()),
        (Some(0), &b""[..])
    );
    assert_eq!(fs::metadata(folder.join("BCD")).unwrap().len(), 8192);
    let shown = bcd(folder, &["show", "BCD"]);
    assert_eq!(
        said(&shown.stdout),
        r"Windows Boot Manager
  identifier              {9dea862c-5cdd-4e70-acc1-f32b344d4795}  {bootmgr}
  default                 {b0075702-0000-4000-8000-000000000000}

Device options
  identifier              {ae5534e0-a924-466c-b836-758539a3ee3a}  {ramdiskoptions}
  ramdisksdidevice        boot
  ramdisksdipath          \Boot\boot.sdi
  ramdisktftpblocksize    1456
  ramdisktftpwindowsize   16

Windows Boot Loader
  identifier              {b0075702-0000-4000-8000-000000000000}
  device                  ramdisk=[boot]\winpe.wim,{ae5534e0-a924-466c-b836-758539a3ee3a}
  path                    \Windows\System32\boot\winload.efi
  description             winpe
  osdevice                ramdisk=[boot]\winpe.wim,{ae5534e0-a924-466c-b836-758539a3ee3a}
  systemroot              \Windows
  detecthal               Yes
  winpe                   Yes
"
    );
}

#[test]
fn several_images_make_a_menu_and_json_names_everything() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let words = [
        "make",
        "--bios",
        "--wim",
        "a/one.wim",
        "--wim",
        r"\two.wim",
        "--title",
        "First",
        "--default",
        "2",
        "--test-signing",
        "-o",
        "-",
    ];
    let made = bcd(folder, &words);
    assert!(made.status.success(), "{}", said(&made.stderr));
    fs::write(folder.join("BCD"), &made.stdout).unwrap();
    let shown = bcd(folder, &["show", "BCD", "-o", "json"]);
    let objects: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let value = |object: usize, name: &str| {
        let elements = objects[object]["elements"].as_array().unwrap();
        let element = elements.iter().find(|element| element["name"] == name);
        element.unwrap()["value"].clone()
    };
    let [first, second] = [0, 1].map(|n| format!("{{b0075702-0000-4000-8000-{n:012}}}"));
    assert_eq!(objects[0]["name"], "bootmgr");
    assert_eq!(value(0, "default"), json!(second));
    assert_eq!(value(0, "displayorder"), json!([first, second]));
    assert_eq!(value(0, "timeout"), json!(30));
    assert_eq!(value(0, "displaybootmenu"), json!(true));
    assert_eq!(value(1, "ramdisksdidevice"), json!({"device": "boot"}));
    assert_eq!(value(2, "description"), json!("First"));
    assert_eq!(value(3, "description"), json!("two"));
    assert_eq!(value(3, "testsigning"), json!(true));
    assert_eq!(
        value(2, "path"),
        json!(r"\Windows\System32\boot\winload.exe")
    );
    assert_eq!(
        value(2, "device"),
        json!({"device": "ramdisk", "path": r"\a\one.wim", "options": objects[1]["id"]})
    );
}

#[test]
fn a_store_goes_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let made = bcd(
        folder.path(),
        &["make", "--uefi", "--wim", "a.wim", "-o", "-"],
    );
    let mut show = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
    let mut show = show
        .args(["bcd", "show", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    show.stdin.take().unwrap().write_all(&made.stdout).unwrap();
    let shown = show.wait_with_output().unwrap();
    assert!(said(&shown.stdout).contains(r"ramdisk=[boot]\a.wim"));
}

#[test]
fn what_cannot_be_made_or_shown_is_told_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let make = ["make", "--uefi", "--wim", "a.wim", "-o", "BCD"];
    assert!(bcd(folder, &make).status.success());
    fails(folder, &make, 1, "--force writes over it");
    let longer = [make.as_slice(), &["--wim", "b.wim", "--force"]].concat();
    assert!(bcd(folder, &longer).status.success());

    fails(
        folder,
        &["make", "--uefi", "--bios", "--wim", "a", "-o", "x"],
        2,
        "cannot be used with",
    );
    fails(folder, &["make", "--wim", "a", "-o", "x"], 2, "required");
    fails(
        folder,
        &["make", "--uefi", "--wim", "", "-o", "x"],
        2,
        "[bcd.bad-path]",
    );
    fails(
        folder,
        &["make", "--uefi", "--wim", "a", "--default", "2", "-o", "x"],
        2,
        "counts from 1",
    );
    fails(
        folder,
        &["make", "--uefi", "--wim", "a", "--default", "0", "-o", "x"],
        2,
        "counts from 1",
    );
    fails(
        folder,
        &["make", "--uefi", "--wim", "a", "--block", "7", "-o", "x"],
        2,
        "between 8 and 65464",
    );
    fails(
        folder,
        &["make", "--uefi", "--wim", "a", "--window", "0", "-o", "x"],
        2,
        "between 1 and 65535",
    );
    let titles = [
        "make", "--uefi", "--wim", "a", "--title", "1", "--title", "2", "-o", "x",
    ];
    fails(folder, &titles, 2, "more --title than --wim");
    fails(
        folder,
        &["make", "--uefi", "--wim", "a", "-o", "no/where"],
        1,
        "cannot write no/where",
    );
    assert!(!folder.join("x").exists());

    fs::write(folder.join("text"), "no store").unwrap();
    fails(folder, &["show", "text"], 1, "[bcd.damaged]");
    fails(folder, &["show", "missing"], 1, "cannot read missing");
    let half = fs::read(folder.join("BCD")).unwrap();
    fs::write(folder.join("half"), &half[..5000]).unwrap();
    fails(folder, &["show", "half"], 1, "half: it is damaged at byte");
}
