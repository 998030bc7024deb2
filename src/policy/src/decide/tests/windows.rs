//! Windows' own boot manager.

use bootstorm_catalog::{LoadOptions, WimLoader};
use bootstorm_config::Signing;

use super::*;
use crate::Tokens;
use crate::windows::WindowsFile;

const FILES: [&str; 9] = [
    "boot/snponly.efi",
    "pe/lab.wim",
    "pe/lab.wim/bootmgfw.efi",
    "pe/lab.wim/bootmgfw_EX.efi",
    "pe/lab.wim/pxeboot.n12",
    "pe/lab.wim/bootmgr.exe",
    "pe/lab.wim/boot.sdi",
    "pe/lab.wim/Fonts/wgl4_boot.ttf",
    "pe/lab.wim/Fonts_EX/wgl4_boot.ttf",
];

fn pe(id: &str, wim: &str, loader: WimLoader) -> Entry {
    let kind = EntryKind::Wim {
        wim: wim.to_owned(),
        index: 1,
        inject: Vec::new(),
        wimboot: String::new(),
        args: String::new(),
        loader,
        options: LoadOptions::default(),
    };
    Entry {
        families: vec![Family::Bios, Family::X64],
        ..Entry::new(id, id, kind)
    }
}

/// A policy whose machine boots `lab` by its boot manager.
fn lab(change: impl FnOnce(&mut Config)) -> Policy {
    let entries = vec![
        pe("lab", "pe/lab.wim", WimLoader::BootManager(None)),
        pe("office", "office.wim", WimLoader::Wimboot),
    ];
    let policy = policy(catalog(&FILES, entries), |config| {
        config.machines.push(Machine {
            mac: Some(MAC),
            guid: None,
            name: None,
            boot: Some("lab".to_owned()),
        });
        change(config);
    });
    policy.sealing(Tokens::new(&[7; 32]))
}

fn answered(
    policy: &Policy,
    arch: u16,
) -> (String, Option<Arc<bootstorm_proto::dhcp::WindowsFiles>>) {
    match policy.dhcp(&client(Asker::Firmware, &[arch])) {
        Answer::Boot { file, windows, .. } => (file.to_string(), windows),
        other => panic!("{other:?}"),
    }
}

fn file(policy: &Policy, name: &str, family: Family) -> Result<Arc<File>, &'static str> {
    match content(policy, name, family)? {
        WindowsContent::File(file) => Ok(file),
        WindowsContent::Made(_) => panic!("{name} was made"),
    }
}

fn content(policy: &Policy, name: &str, family: Family) -> Result<WindowsContent, &'static str> {
    let facts = Facts {
        mac: Some(MAC),
        family: Some(family),
        ..Facts::default()
    };
    let plan = policy.boot(&facts);
    let wanted = WindowsFile::of_name(name).unwrap();
    policy
        .windows_file(&wanted, &plan, &facts, std::iter::empty())
        .map_err(|reason| reason.code)
}

fn store(policy: &Policy, family: Family) -> Vec<u8> {
    match content(policy, "\\Boot\\BCD", family).unwrap() {
        WindowsContent::Made(store) => store,
        WindowsContent::File(file) => panic!("{file:?}"),
    }
}

fn says(store: &[u8], text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    store.windows(text.len()).any(|part| part == text)
}

#[test]
fn winboot_14_firmware_loads_the_boot_manager_out_of_the_image() {
    let policy = lab(|_| {});
    assert_eq!(answered(&policy, 7).0, "pe/lab.wim/bootmgfw.efi");
    assert_eq!(answered(&policy, 0).0, "pe/lab.wim/pxeboot.n12");
    let policy = lab(|config| config.boot.windows.signing = Signing::Ca2023);
    assert_eq!(answered(&policy, 7).0, "pe/lab.wim/bootmgfw_EX.efi");
}

#[test]
fn the_default_is_booted_by_its_boot_manager_where_nothing_can_show_the_menu() {
    let entries = || vec![pe("lab", "pe/lab.wim", WimLoader::BootManager(None))];
    let usual = |files: &[&str]| {
        policy(catalog(files, entries()), |config| {
            config.boot.default = Some("lab".to_owned());
        })
        .sealing(Tokens::new(&[7; 32]))
    };
    let without = &FILES[1..];
    let (program, told) = answered(&usual(without), 7);
    assert_eq!(program, "pe/lab.wim/bootmgfw.efi");
    assert!(told.is_some());
    assert_eq!(answered(&usual(without), 0).0, "pe/lab.wim/pxeboot.n12");
    // iPXE shows it.
    assert_eq!(answered(&usual(&FILES), 7).0, "snponly.efi");
    // Nobody boots Windows PE unasked.
    let local = policy(catalog(without, entries()), |config| {
        config.boot.default = None
    });
    let answer = local.dhcp(&client(Asker::Firmware, &[7]));
    assert!(
        matches!(
            answer,
            Answer::Silent {
                code: "policy.no-nbp",
                ..
            }
        ),
        "{answer:?}"
    );
}

#[test]
fn wds_17_names_of_files_are_sealed_for_the_machine_that_is_told() {
    let policy = lab(|_| {});
    let (_, told) = answered(&policy, 7);
    let told = told.unwrap();
    assert_eq!(told.variables, None);
    let Some(WindowsFile::Sealed(name)) = WindowsFile::of_name(&told.store) else {
        panic!("{told:?}");
    };
    let machine = |mac| Identity {
        mac: Some(mac),
        ..Identity::default()
    };
    let (tokens, now) = (Tokens::new(&[7; 32]), SystemTime::now());
    assert!(tokens.is_named(&name, &machine(MAC), now));
    let other = MacAddress::new([2, 0, 0, 0, 0, 9]);
    assert!(!tokens.is_named(&name, &machine(other), now));
    // Nobody else is told any.
    let elsewhere = lab(|config| config.machines[0].boot = Some("office".to_owned()));
    assert_eq!(answered(&elsewhere, 7), ("snponly.efi".to_owned(), None));
}

#[test]
fn wds_17_variables_are_told_of_where_the_machine_has_some() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{MAC}.var")), "secret").unwrap();
    let policy = lab(|config| config.boot.windows.variables = Some(folder.path().to_owned()));
    let told = answered(&policy, 7).1.unwrap();
    assert!(told.variables.as_ref().unwrap().ends_with("}.boot.var"));
    let facts = Facts {
        mac: Some(MAC),
        ..Facts::default()
    };
    let Asked::Decided(decision) = policy.decide(&facts, SystemTime::now()) else {
        panic!()
    };
    let read = policy.variables(&decision, &facts).unwrap();
    assert_eq!(read.bytes(), b"secret");
    let nobody = policy.variables(&decision, &Facts::default());
    assert_eq!(nobody.unwrap_err().code, "tftp.not-found");
}

#[test]
fn a_store_has_the_image_of_its_machine_alone() {
    let policy = lab(|_| {});
    let uefi = store(&policy, Family::X64);
    assert!(says(&uefi, "\\pe\\lab.wim") && says(&uefi, "\\pe\\lab.wim\\boot.sdi"));
    assert!(says(&uefi, "winload.efi") && !says(&uefi, "office"));
    assert!(says(&store(&policy, Family::Bios), "winload.exe"));
    assert_eq!(store(&policy, Family::X64), uefi);
}

#[test]
fn the_boot_manager_is_told_what_the_image_says_besides() {
    let mut entry = pe("lab", "pe/lab.wim", WimLoader::BootManager(None));
    if let EntryKind::Wim { options, .. } = &mut entry.kind {
        options.text = Some("DDISABLE_INTEGRITY_CHECKS".to_owned());
    }
    let policy = policy(catalog(&FILES, vec![entry]), |config| {
        config.boot.default = Some("lab".to_owned());
    });
    let told = store(&policy, Family::X64);
    assert!(says(&told, "DDISABLE_INTEGRITY_CHECKS"));
    assert!(!says(
        &store(&lab(|_| {}), Family::X64),
        "DDISABLE_INTEGRITY_CHECKS"
    ));
}

#[test]
fn winboot_01_what_a_boot_manager_asks_for_next_is_that_of_the_image() {
    let policy = lab(|_| {});
    let path = |name, family| file(&policy, name, family).map(|file| file.path.to_string());
    let own = |name: &str| Ok(format!("pe/lab.wim/{name}"));
    assert_eq!(path("\\Boot\\boot.sdi", Family::X64), own("boot.sdi"));
    assert_eq!(path("\\smsboot\\BOOT.SDI", Family::X64), own("boot.sdi"));
    assert_eq!(
        path("Boot\\x64\\bootmgfw.efi", Family::X64),
        own("bootmgfw.efi")
    );
    assert_eq!(path("bootmgr.exe", Family::Bios), own("bootmgr.exe"));
    let font = "\\Boot\\Fonts\\wgl4_boot.ttf";
    assert_eq!(path(font, Family::X64), own("Fonts/wgl4_boot.ttf"));
    let image = path("\\Sources\\boot.wim", Family::X64);
    assert_eq!(image, Ok("pe/lab.wim".to_owned()));
    assert_eq!(path("\\Boot\\boot.stl", Family::X64), Err("tftp.not-found"));
    let newer = lab(|config| config.boot.windows.signing = Signing::Ca2023);
    let font = file(&newer, font, Family::X64).unwrap();
    assert_eq!(&*font.path, "pe/lab.wim/Fonts_EX/wgl4_boot.ttf");
}

#[test]
fn what_keeps_a_machine_from_booting_windows_is_told() {
    let why = |boot: &str| {
        let policy = lab(|config| config.machines[0].boot = Some(boot.to_owned()));
        content(&policy, "\\Boot\\BCD", Family::X64).err()
    };
    assert_eq!(why("local"), Some("windows.no-image"));
    assert_eq!(why("office"), Some("windows.no-sdi"));
    let banned = lab(|config| config.policy.answer = AnswerTo::None);
    let told = content(&banned, "\\Boot\\BCD", Family::X64).err();
    assert!(told.is_some_and(|code| code.starts_with("policy.")));
}
