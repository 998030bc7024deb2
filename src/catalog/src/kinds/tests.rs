use std::fs;
use std::time::SystemTime;

use bootstorm_proto::types::Family;
use proptest::prelude::*;

use super::wim::sample::Sample;
use super::*;
use crate::{EntryKind, Mapping, Snapshot, WimLoader};

/// A folder whose files make a snapshot.
pub(super) struct Folder(tempfile::TempDir, Vec<Arc<File>>, BTreeSet<String>);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Vec::new(), BTreeSet::new())
    }

    pub(super) fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let blob = self.0.path().join(self.1.len().to_string());
        fs::write(&blob, content).unwrap();
        self.1.push(Arc::new(File {
            path: path.into(),
            content: Mapping::open(&blob).unwrap(),
            sha256: [0; 32],
            modified: SystemTime::UNIX_EPOCH,
        }));
        self
    }

    pub(super) fn pending(mut self, path: &str) -> Self {
        self.2.insert(path.into());
        self
    }

    pub(super) fn build(&self) -> Snapshot {
        Snapshot::build(self.1.clone(), &self.2)
    }
}

/// Nothing but what tells the processor: a PE header, with Linux's boot sector when `linux`.
pub(super) fn program(machine: u16, linux: bool) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    bytes[0x84 + 20 + 68] = 10;
    if linux {
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
    }
    bytes
}

fn iso(volume: &str, platforms: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 * 2048];
    let primary = 16 * 2048;
    bytes[primary] = 1;
    bytes[primary + 1..primary + 6].copy_from_slice(b"CD001");
    bytes[primary + 40..primary + 72].copy_from_slice(format!("{volume:32}").as_bytes());
    if !platforms.is_empty() {
        let record = 17 * 2048;
        bytes[record + 1..record + 6].copy_from_slice(b"CD001");
        bytes[record + 7..record + 30].copy_from_slice(b"EL TORITO SPECIFICATION");
        bytes[record + 71] = 19;
        let catalogue = 19 * 2048;
        bytes[catalogue] = 1;
        bytes[catalogue + 1] = platforms[0];
        bytes[catalogue + 30..catalogue + 32].copy_from_slice(&[0x55, 0xaa]);
        bytes[catalogue + 32] = 0x88;
        for (n, platform) in platforms.iter().enumerate().skip(1) {
            let at = catalogue + n * 64;
            bytes[at..at + 2].copy_from_slice(&[0x91, *platform]);
            bytes[at + 32] = 0x88;
        }
    }
    bytes[18 * 2048] = 255;
    bytes
}

pub(super) fn only(snapshot: &Snapshot) -> &Entry {
    assert_eq!(snapshot.entries().len(), 1, "{:?}", snapshot.entries());
    &snapshot.entries()[0]
}

pub(super) fn why(entry: &Entry) -> &'static str {
    entry.unbootable.as_ref().map_or("", |reason| reason.code)
}

pub(super) fn codes(snapshot: &Snapshot) -> Vec<&'static str> {
    snapshot.problems().iter().map(|p| p.code).collect()
}

#[test]
fn an_empty_folder_has_no_entries_and_no_problems() {
    let snapshot = Folder::new().build();
    assert!(snapshot.entries().is_empty() && snapshot.problems().is_empty());
}

#[test]
fn a_folder_with_a_kernel_is_linux_with_sorted_initrds_and_its_command_line() {
    let snapshot = Folder::new()
        .with("Debian 12/vmlinuz", program(0x8664, true))
        .with("Debian 12/initrd2.gz", "2")
        .with("Debian 12/initrd1.gz", "1")
        .with("Debian 12/initrd1.gz.sha256", "no")
        .with("Debian 12/cmdline", "  console=ttyS0 quiet\n")
        .build();
    let entry = only(&snapshot);
    assert_eq!(
        (entry.id.as_str(), entry.title.as_str()),
        ("debian-12", "Debian 12")
    );
    assert_eq!(entry.families, [Family::Bios, Family::X64]);
    assert_eq!(
        entry.kind,
        EntryKind::Linux {
            kernel: "Debian 12/vmlinuz".into(),
            initrds: vec!["Debian 12/initrd1.gz".into(), "Debian 12/initrd2.gz".into()],
            cmdline: "console=ttyS0 quiet".into(),
        }
    );
    assert!(entry.boots(Family::X64) && !entry.boots(Family::Arm64));
}

#[test]
fn two_kernels_in_a_folder_each_take_their_own_initrd() {
    let snapshot = Folder::new()
        .with("d/vmlinuz-6.1", "")
        .with("d/initrd.img-6.1", "")
        .with("d/vmlinuz-6.12", "")
        .with("d/initrd.img-6.12", "")
        .build();
    let ids: Vec<_> = snapshot.entries().iter().map(|e| e.id.as_str()).collect();
    assert_eq!(ids, ["d-vmlinuz-6.1", "d-vmlinuz-6.12"]);
    for (entry, version) in snapshot.entries().iter().zip(["6.1", "6.12"]) {
        let EntryKind::Linux { initrds, .. } = &entry.kind else {
            panic!("{entry:?}")
        };
        assert_eq!(initrds, &[format!("d/initrd.img-{version}")]);
    }
}

#[test]
fn a_command_line_of_two_lines_or_with_control_characters_is_refused_with_a_reason() {
    for text in [
        "quiet\nchain http://evil",
        "a\u{1b}[2J",
        "a\0b",
        &"x".repeat(3000),
    ] {
        let snapshot = Folder::new()
            .with("d/linux", "")
            .with("d/cmdline", text)
            .build();
        assert_eq!(why(only(&snapshot)), "linux.bad-cmdline", "{text:?}");
        assert_eq!(codes(&snapshot), ["linux.bad-cmdline"]);
    }
}

#[test]
fn an_entry_waits_for_files_that_are_still_being_copied() {
    let folder = Folder::new().with("d/linux", "").pending("d/initrd.gz");
    assert_eq!(why(only(&folder.build())), "catalog.copying");
    let wim = Folder::new()
        .with("boot/wimboot", program(0x8664, true))
        .with("pe.wim", Sample::winpe().build())
        .pending("pe/winpeshl.ini");
    assert_eq!(why(only(&wim.build())), "catalog.copying");
}

#[test]
fn boot_programs_are_no_entries_but_known_by_family() {
    let snapshot = Folder::new()
        .with("boot/snponly.efi", program(0x8664, false))
        .with("boot/arm64/snponly.efi", program(0xaa64, false))
        .with("Boot/undionly.kpxe", "x")
        .with("boot/ipxe.efi", "")
        .with("boot/vmlinuz", "")
        .with("boot/x.wim", "")
        .build();
    assert!(snapshot.entries().is_empty(), "{:?}", snapshot.entries());
    let programs = snapshot.boot_programs();
    let family = |path: &str| &programs.iter().find(|p| p.path == path).unwrap().families;
    assert_eq!(family("boot/snponly.efi"), &[Family::X64]);
    assert_eq!(family("boot/arm64/snponly.efi"), &[Family::Arm64]);
    assert_eq!(family("Boot/undionly.kpxe"), &[Family::Bios]);
    assert!(codes(&snapshot).contains(&"catalog.empty-file"));
}

#[test]
fn a_wim_boots_through_wimboot_with_the_files_of_its_sibling_folder() {
    let snapshot = Folder::new()
        .with("boot/wimboot", program(0x8664, true))
        .with("WinPE.wim", Sample::winpe().build())
        .with("winpe/winpeshl.ini", "[LaunchApps]")
        .with("winpe/vmlinuz", "no linux entry")
        .with("winpe/tool.efi", "no efi entry")
        .with("winpe/a-name-that-is-longer-than-thirty-one", "")
        .with("winpe/sub/file", "")
        .with("winpe/other.wim", "")
        .with("winpe/has space", "")
        .build();
    let entry = only(&snapshot);
    assert_eq!(
        (entry.id.as_str(), entry.title.as_str(), why(entry)),
        ("winpe", "WinPE", "")
    );
    assert_eq!(entry.families, [Family::Bios, Family::X64]);
    let EntryKind::Wim {
        wim,
        index,
        inject,
        wimboot,
        ..
    } = &entry.kind
    else {
        panic!()
    };
    assert_eq!(
        (wim.as_str(), *index, wimboot.as_str()),
        ("WinPE.wim", 1, "boot/wimboot")
    );
    let names: Vec<_> = inject.iter().map(|file| file.name.as_str()).collect();
    let made = ["bootstorm.json", "bootstorm.ini", "ca.crt"];
    assert_eq!(names[..3], made);
    assert_eq!(names[3..], ["vmlinuz", "winpeshl.ini"]);
    assert_eq!(codes(&snapshot), ["wim.inject-name"; 5]);
}

#[test]
fn more_injected_files_than_wimboot_takes_are_left_out_and_named() {
    let mut folder = Folder::new()
        .with("boot/wimboot", "x")
        .with("pe.wim", Sample::winpe().build());
    for n in 0..70 {
        folder = folder.with(&format!("pe/{n:02}.ini"), "");
    }
    let snapshot = folder.build();
    let EntryKind::Wim { inject, .. } = &only(&snapshot).kind else {
        panic!()
    };
    assert_eq!(inject.len(), 62);
    assert_eq!(
        codes(&snapshot)
            .iter()
            .filter(|c| **c == "wim.inject-count")
            .count(),
        8 + 3
    );
}

#[test]
fn a_wim_that_cannot_boot_is_listed_with_its_reason() {
    let case = |wim: &[u8], wimboot: Option<Vec<u8>>| {
        let mut folder = Folder::new().with("pe.wim", wim);
        if let Some(wimboot) = wimboot {
            folder = folder.with("boot/wimboot", wimboot);
        }
        why(only(&folder.build()))
    };
    let good = Sample::winpe().build();
    let x64 = Some(program(0x8664, true));
    assert_eq!(case(&good, None), "catalog.no-wimboot");
    assert_eq!(
        case(&good, Some(program(0xaa64, false))),
        "catalog.no-wimboot"
    );
    assert_eq!(case(&good[..300], x64.clone()), "wim.truncated");
    assert_eq!(case(b"", x64.clone()), "wim.not-a-wim");
    assert_eq!(
        case(
            &Sample {
                version: 0xe00,
                ..Sample::winpe()
            }
            .build(),
            x64.clone()
        ),
        "wim.solid"
    );
    assert_eq!(case(&good, x64), "");
}

#[test]
fn the_wimboot_of_the_images_architecture_is_chosen() {
    let arm = Sample::winpe().with_images(&["<WINDOWS><ARCH>12</ARCH></WINDOWS>"]);
    let snapshot = Folder::new()
        .with("boot/wimboot", program(0x8664, true))
        .with("boot/wimboot.arm64", program(0xaa64, false))
        .with("pe.wim", arm.build())
        .build();
    let entry = only(&snapshot);
    assert_eq!(entry.families, [Family::Arm64]);
    assert!(
        matches!(&entry.kind, EntryKind::Wim { wimboot, .. } if wimboot == "boot/wimboot.arm64")
    );
}

#[test]
fn efi_programs_are_for_the_family_of_their_header() {
    let snapshot = Folder::new()
        .with("shell.efi", program(0x8664, false))
        .with("tools/memtest.efi", program(0x014c, false))
        .with("broken.efi", "MZ")
        .with("medium/EFI/BOOT/BOOTX64.EFI", program(0x8664, false))
        .with("linux/vmlinuz", "")
        .with("linux/stub.efi", program(0x8664, false))
        .build();
    let efi: Vec<_> = snapshot
        .entries()
        .iter()
        .filter(|e| e.kind.name() == "efi")
        .map(|e| (e.id.as_str(), e.families.clone(), why(e)))
        .collect();
    assert_eq!(
        efi,
        [
            ("broken", vec![], "efi.not-a-program"),
            ("shell", vec![Family::X64], ""),
            ("tools-memtest", vec![Family::Ia32], ""),
        ]
    );
}

#[test]
fn isos_are_called_by_their_volume_and_boot_where_el_torito_says() {
    let snapshot = Folder::new()
        .with("a.iso", iso("Debian 12 amd64", &[0, 0xef]))
        .with("b.iso", iso("Rescue", &[0]))
        .with("c.iso", iso("Data", &[]))
        .with("d.iso", "rubbish")
        .build();
    let found = |id: &str| snapshot.entry(id).unwrap();
    assert_eq!(found("a").title, "Debian 12 amd64");
    assert!(found("a").families.is_empty() && why(found("a")).is_empty());
    assert_eq!(found("b").families, [Family::Bios]);
    assert_eq!(why(found("c")), "iso.not-bootable");
    assert_eq!(why(found("d")), "iso.not-an-iso");
}

#[test]
fn image_toml_overrides_title_arguments_families_and_hides() {
    let text = "title = 'Rescue'\nargs = 'a=b'\nfamilies = ['x64']\nhidden = true\n";
    let snapshot = Folder::new()
        .with("d/linux", "")
        .with("d/image.toml", text)
        .build();
    let entry = only(&snapshot);
    assert_eq!((entry.title.as_str(), entry.hidden), ("Rescue", true));
    assert_eq!(entry.families, [Family::X64]);
    assert!(matches!(&entry.kind, EntryKind::Linux { cmdline, .. } if cmdline == "a=b"));
    assert!(snapshot.problems().is_empty());
}

#[test]
fn a_mistake_in_image_toml_is_told_with_its_line_and_the_entry_still_shows() {
    let case = |text: &str| {
        let snapshot = Folder::new()
            .with("d/linux", "")
            .with("d/image.toml", text)
            .build();
        assert_eq!(why(only(&snapshot)), "", "{text}");
        let problem = &snapshot.problems()[0];
        assert_eq!(problem.code, "catalog.image-toml");
        problem.path.clone()
    };
    assert_eq!(case("title = 'x'\ntilte = 'y'\n"), "d/image.toml:2");
    assert_eq!(case("\n\nfamilies = ['x65']\n"), "d/image.toml:3");
    assert_eq!(case("args = \"a\\nb\"\n"), "d/image.toml:1");
    assert_eq!(case("title = \n"), "d/image.toml:1");
    assert_eq!(case("index = 0\n"), "d/image.toml:1");
}

#[test]
fn image_toml_beside_more_than_one_image_is_refused_as_ambiguous() {
    let wim = Sample::winpe().build();
    let base = || {
        Folder::new()
            .with("boot/wimboot", "x")
            .with("a.wim", &wim)
            .with("image.toml", "title = 'T'")
    };
    assert_eq!(only(&base().build()).title, "T");
    let two = base()
        .with("b.wim", &wim)
        .with("b/image.toml", "title = 'B'")
        .build();
    let titles: Vec<_> = two.entries().iter().map(|e| e.title.as_str()).collect();
    assert_eq!(titles, ["a", "B"]);
    assert_eq!(codes(&two), ["catalog.image-toml-ambiguous"]);
}

#[test]
fn ids_are_unique_and_titles_can_be_told_apart() {
    let snapshot = Folder::new()
        .with("x y.iso", iso("Same", &[0]))
        .with("x-y.iso", iso("Same", &[0]))
        .with("x.y/linux", "")
        .with("日本.efi", program(0x8664, false))
        .build();
    let ids: BTreeSet<_> = snapshot.entries().iter().map(|e| e.id.clone()).collect();
    assert_eq!(ids.len(), 4);
    let titles: BTreeSet<_> = snapshot.entries().iter().map(|e| e.title.clone()).collect();
    assert_eq!(titles.len(), 4);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    assert!(
        ids.iter().all(|id| !id.is_empty() && id.chars().all(plain)),
        "{ids:?}"
    );
    assert_eq!(snapshot.entry("x.y/linux").unwrap().id, "x.y");
}

proptest! {
    #[test]
    fn any_listing_of_odd_names_is_taken_without_a_panic(
        paths in prop::collection::btree_set("([a-cİß]|boot|image\\.toml|linux|initrd|cmdline|/|\\.wim|\\.efi|\\.iso|\\.| ){1,8}", 1..12),
    ) {
        let mut folder = Folder::new();
        for path in &paths {
            folder = folder.with(path, path);
        }
        let snapshot = folder.build();
        let ids: BTreeSet<_> = snapshot.entries().iter().map(|e| &e.id).collect();
        prop_assert_eq!(ids.len(), snapshot.entries().len());
    }

    #[test]
    fn any_program_or_iso_is_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = boot_families(&bytes);
        if bytes.len() > 0x40 {
            bytes[..2].copy_from_slice(b"MZ");
            let _ = headers::efi_family(&bytes);
        }
        let mut image = iso("x", &[0, 0xef]);
        for (n, byte) in bytes.iter().enumerate() {
            image[17 * 2048 + n * 2] = *byte;
        }
        let _ = iso::Iso::parse(&image);
    }
}

/// A Windows PE of which these files were taken, and what its image.toml says.
fn by_boot_manager(settings: &str, loaders: &[&str]) -> Entry {
    let folder = Folder::new()
        .with("WinPE.wim", Sample::winpe().build())
        .with("winpe/image.toml", settings);
    let with = |folder: Folder, name: &&str| folder.with(&format!("WinPE.wim/{name}"), "x");
    let snapshot = loaders.iter().fold(folder, with).build();
    snapshot.entry("winpe").unwrap().clone()
}

#[test]
fn winboot_14_an_image_is_for_the_machines_that_it_has_loaders_for() {
    let bootmgr = "loader = \"bootmgr\"";
    let all = ["bootmgfw.efi", "pxeboot.n12", "bootmgr.exe"];
    let families = |settings: &str, loaders: &[&str]| by_boot_manager(settings, loaders).families;
    assert_eq!(families(bootmgr, &all), [Family::Bios, Family::X64]);
    assert_eq!(families(bootmgr, &all[..1]), [Family::X64]);
    assert_eq!(families(bootmgr, &all[1..]), [Family::Bios]);
    assert_eq!(families(bootmgr, &["BootMgFW_EX.efi"]), [Family::X64]);
    let entry = by_boot_manager(bootmgr, &all);
    assert_eq!(why(&entry), "", "it needs no wimboot");
    let EntryKind::Wim { loader, .. } = entry.kind else {
        panic!()
    };
    assert_eq!(loader, WimLoader::BootManager(None));
}

#[test]
fn winboot_14_the_signature_that_is_asked_for_has_to_be_there() {
    let signed = |year: &str| format!("loader = \"bootmgr\"\nsigning = \"{year}\"");
    let entry = |year, loaders: &[&str]| by_boot_manager(&signed(year), loaders);
    assert_eq!(why(&entry("2023", &["bootmgfw_EX.efi"])), "");
    assert_eq!(why(&entry("2011", &["bootmgfw.efi"])), "");
    for (year, loaders) in [
        ("2023", &["bootmgfw.efi"][..]),
        ("2011", &["bootmgfw_EX.efi"]),
        ("2011", &["pxeboot.n12"]),
        ("2023", &[]),
    ] {
        let entry = entry(year, loaders);
        assert_eq!(why(&entry), "catalog.no-boot-manager", "{year} {loaders:?}");
    }
    assert_eq!(
        why(&by_boot_manager("", &["bootmgfw.efi"])),
        "catalog.no-wimboot"
    );
}

#[test]
fn files_to_inject_are_told_of_where_no_wimboot_injects_them() {
    let snapshot = Folder::new()
        .with("pe.wim", Sample::winpe().build())
        .with("pe.wim/bootmgfw.efi", "x")
        .with("pe/image.toml", "loader = \"bootmgr\"")
        .with("pe/startnet.cmd", "wpeinit")
        .build();
    let EntryKind::Wim { inject, .. } = &snapshot.entry("pe").unwrap().kind else {
        panic!()
    };
    assert!(inject.is_empty());
    assert!(codes(&snapshot).contains(&"wim.not-injected"));
}

#[test]
fn winboot_10_a_boot_manager_boots_the_image_that_the_header_marks() {
    let why_of = |marked, settings: &str| {
        let mut sample = Sample::winpe();
        sample.boot_index = marked;
        let snapshot = Folder::new()
            .with("pe.wim", sample.build())
            .with("pe.wim/bootmgfw.efi", "x")
            .with("pe/image.toml", format!("loader = \"bootmgr\"\n{settings}"))
            .build();
        why(snapshot.entry("pe").unwrap()).to_owned()
    };
    assert_eq!(why_of(1, ""), "");
    assert_eq!(why_of(1, "index = 1"), "");
    assert_eq!(why_of(0, "index = 1"), "wim.boots-another");
    assert_eq!(why_of(0, ""), "wim.boots-another");
}
