//! Windows images are folders, too.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bootstorm_catalog::Snapshot;
use bootstorm_catalog::wim::WimFile;
use bootstorm_ingest::last_served;

use crate::lab::Lab;
use crate::wimlib::{self, imagex};

/// What a Windows PE for x64 has of all that is looked for, and more.
const TREE: &[(&str, &str)] = &[
    ("Windows/Boot/EFI/bootmgfw.efi", "2011"),
    ("Windows/Boot/EFI/boot.stl", "trusted"),
    ("Windows/Boot/EFI_EX/bootmgfw_EX.efi", "2023"),
    ("Windows/Boot/PXE/bootmgr.exe", "BIOS"),
    ("Windows/Boot/PXE/pxeboot.n12", "before it"),
    ("Windows/Boot/PXE/wdsmgfw.efi", "WDS"),
    ("Windows/Boot/DVD/PCAT/boot.sdi", "the other one"),
    ("Windows/Boot/DVD/EFI/boot.sdi", "a disk"),
    ("Windows/Boot/DVD/PCAT/BCD", "a store"),
    ("Windows/Boot/Fonts/WGL4_boot.ttf", "a font"),
    ("Windows/Boot/Fonts/read me.txt", "no font"),
    ("Windows/Boot/Fonts_EX/wgl4_boot_EX.ttf", "a font of 2023"),
    ("Windows/System32/winload.efi", "stays inside"),
    ("Windows/System32/WinPEshl.ini", "[LaunchApp]"),
];

/// The same, below the image.
const TAKEN: &[(&str, &str)] = &[
    ("BCD", "a store"),
    ("Fonts/wgl4_boot.ttf", "a font"),
    ("Fonts_EX/wgl4_boot.ttf", "a font of 2023"),
    ("boot.sdi", "a disk"),
    ("boot.stl", "trusted"),
    ("bootmgfw.efi", "2011"),
    ("bootmgfw_EX.efi", "2023"),
    ("bootmgr.exe", "BIOS"),
    ("pxeboot.n12", "before it"),
    ("wdsmgfw.efi", "WDS"),
    ("winpeshl.ini", "[LaunchApp]"),
];

/// A WIM file with these images; `None` where wimlib is missing.
fn wim(images: &[&[(&str, &str)]], boot: usize) -> Option<Vec<u8>> {
    packed("LZX", images, boot)
}

fn packed(compression: &str, images: &[&[(&str, &str)]], boot: usize) -> Option<Vec<u8>> {
    if !wimlib::is_there() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.wim");
    for (n, files) in (1..).zip(images) {
        let tree = dir.path().join(format!("tree{n}"));
        fs::create_dir(&tree).unwrap();
        for (name, content) in *files {
            let at = tree.join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, content.repeat(5000)).unwrap();
        }
        let number = n.to_string();
        let compress = format!("--compress={compression}");
        let options: &[&str] = if n == 1 { &[&compress] } else { &[] };
        wimlib::pack(&tree, &path, &number, options);
        let arch = "--image-property=WINDOWS/ARCH=9";
        imagex(&[&"info", &path, &number, &arch]);
        if n == boot {
            imagex(&[&"info", &path, &number, &"--boot"]);
        }
    }
    Some(fs::read(path).unwrap())
}

/// What lies below the image, as one text that was not repeated.
fn below(snapshot: &Snapshot, image: &str) -> BTreeMap<String, String> {
    let prefix = format!("{image}/");
    let inside = snapshot.files().filter_map(|file| {
        let name = file.path.strip_prefix(&prefix)?;
        let text = std::str::from_utf8(&file.content).unwrap();
        let once = &text[..text.len() / 5000];
        assert_eq!(text, once.repeat(5000));
        Some((name.to_owned(), once.to_owned()))
    });
    inside.collect()
}

fn taken() -> BTreeMap<String, String> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    TAKEN.iter().map(owned).collect()
}

#[test]
fn winboot_15_a_wim_alone_brings_its_loaders_and_is_read_once() {
    let Some(winpe) = wim(&[TREE], 1) else { return };
    let lab = Lab::new();
    lab.write("pe/winpe.wim", &winpe);
    let first = lab.start();
    assert_eq!(below(&first.snapshot(), "pe/winpe.wim"), taken());
    assert!(first.said("took 11 files to boot by out of \"pe/winpe.wim\""));
    let file = |name: &str| first.snapshot().tftp_file(name).unwrap().path.to_string();
    assert_eq!(
        file("\\PE\\winpe.wim\\BOOTMGFW.EFI"),
        "pe/winpe.wim/bootmgfw.efi"
    );
    assert_eq!(
        first.snapshot().entries().len(),
        1,
        "loaders are no entries"
    );
    let codes = first.codes();
    assert!(
        codes.iter().all(|(_, code)| *code == "catalog.no-wimboot"),
        "{codes:?}"
    );
    drop(first);
    let second = lab.start();
    assert_eq!(below(&second.snapshot(), "pe/winpe.wim"), taken());
    assert!(!second.said("took"), "{:?}", second.reports());
    drop(second);
    let left = last_served(&lab.config.data);
    assert_eq!(below(&left, "pe/winpe.wim"), taken());
    // Another version of the image; the old one's copies go.
    let other = wim(
        &[&[TREE, &[("Windows/Boot/PXE/wdsnbp.com", "new")]].concat()],
        1,
    )
    .unwrap();
    lab.write("pe/winpe.wim", &other);
    let third = lab.start();
    assert!(third.said("took 12 files"), "{:?}", third.reports());
    fs::remove_file(lab.images().join("pe/winpe.wim")).unwrap();
    third.ingest.rescan();
    third.wait(|snapshot| snapshot.files().count() == 0);
    drop(third);
    assert_eq!(lab.copies(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn winboot_15_the_image_that_the_owner_names_gives_the_loaders() {
    let second = &[("Windows/Boot/EFI/bootmgfw.efi", "of the second")];
    let Some(two) = wim(&[TREE, second], 1) else {
        return;
    };
    let lab = Lab::new();
    lab.write("two.wim", &two);
    let running = lab.start();
    assert_eq!(below(&running.snapshot(), "two.wim"), taken());
    lab.write("two/image.toml", "index = 2\n");
    running.ingest.rescan();
    running.wait(|snapshot| below(snapshot, "two.wim").len() == 1);
    let inside = below(&running.snapshot(), "two.wim");
    assert_eq!(inside["bootmgfw.efi"], "of the second");
}

#[test]
fn winboot_15_what_an_image_lacks_is_said_unless_it_lies_beside() {
    let Some(poor) = wim(&[&[("Windows/notepad.exe", "no boot files")]], 0) else {
        return;
    };
    let lab = Lab::new();
    lab.write("poor.wim", &poor);
    let running = lab.start();
    let said = |snapshot: &Snapshot| -> Vec<(&'static str, String)> {
        let problems = snapshot.problems().iter();
        let windows = problems.filter(|problem| problem.code.starts_with("wim."));
        windows.map(|p| (p.code, p.text.to_string())).collect()
    };
    let texts = said(&running.snapshot());
    let codes: Vec<&str> = texts.iter().map(|(code, _)| *code).collect();
    let missing = "wim.no-loader";
    assert_eq!(codes, [missing, missing, missing, "wim.not-marked"]);
    for name in ["bootmgfw.efi", "bootmgr.exe", "boot.sdi"] {
        assert!(
            texts.iter().any(|(_, text)| text.contains(name)),
            "{name}: {texts:?}"
        );
    }
    for name in ["bootmgfw.efi", "BOOTMGR.exe"] {
        lab.write(&format!("poor/{name}"), "beside");
    }
    running.ingest.rescan();
    running.wait(|snapshot| said(snapshot).len() == 2);
    let texts = said(&running.snapshot());
    assert!(texts[0].1.contains("boot.sdi"), "{texts:?}");
    drop(running);
    assert_eq!(
        said(&last_served(&lab.config.data)),
        texts,
        "doctor says it, too"
    );
}

#[test]
fn winboot_15_a_damaged_image_is_named_and_serves_what_is_whole() {
    let Some(mut winpe) = packed("none", &[TREE], 1) else {
        return;
    };
    let file = WimFile::open(&winpe).unwrap();
    let tree = file.tree(1).unwrap();
    let loader = tree.find("Windows/Boot/PXE/bootmgr.exe").unwrap();
    let place = file.range(loader).unwrap().unwrap();
    winpe[place.start as usize] ^= 0xff;
    let lab = Lab::new();
    lab.write("winpe.wim", &winpe);
    let running = lab.start();
    let damaged = ("winpe.wim/bootmgr.exe".to_owned(), "wim.bad-digest");
    assert!(running.codes().contains(&damaged), "{:?}", running.codes());
    assert_eq!(
        below(&running.snapshot(), "winpe.wim").len(),
        TAKEN.len() - 1
    );
    drop(running);
    let left = last_served(&lab.config.data);
    assert!(left.problems().iter().any(|p| p.code == damaged.1));
    // Without a tree there is nothing, but the file itself is still served.
    let lookup = u64::from_le_bytes(std::array::from_fn(|i| winpe[56 + i])) as usize;
    for entry in winpe[lookup..].chunks_exact_mut(50).take(TREE.len() + 1) {
        entry[8] ^= 0xff;
    }
    lab.write("winpe.wim", &winpe);
    let running = lab.start();
    assert_eq!(below(&running.snapshot(), "winpe.wim").len(), 0);
    assert!(running.snapshot().file("winpe.wim").is_ok());
    let codes = running.codes();
    assert!(
        codes
            .iter()
            .any(|(path, code)| path == "winpe.wim" && code.starts_with("wim.")),
        "{codes:?}"
    );
}

#[test]
fn a_loader_that_was_tampered_with_is_taken_out_anew() {
    let Some(winpe) = wim(&[TREE], 1) else { return };
    let lab = Lab::new();
    lab.write("winpe.wim", &winpe);
    let running = lab.start();
    let loader = running.snapshot().file("winpe.wim/bootmgfw.efi").unwrap();
    let forge = |copy: &Path| {
        fs::set_permissions(copy, Permissions::from_mode(0o600)).unwrap();
        fs::write(copy, "forged").unwrap();
    };
    forge(loader.content.origin());
    running.ingest.rescan();
    running.wait(|snapshot| {
        let served = snapshot.file("winpe.wim/bootmgfw.efi");
        !loader.is_intact() && served.is_ok_and(|file| file.is_intact())
    });
    assert_eq!(below(&running.snapshot(), "winpe.wim"), taken());
    assert!(running.said("ingest.copy-harmed"));
    drop(running);
    // While the server is off.
    forge(loader.content.origin());
    let again = lab.start();
    assert_eq!(below(&again.snapshot(), "winpe.wim"), taken());
}
