//! Stores and what is read back; other tools judge in tests/bcd.rs.

use proptest::prelude::*;

use super::*;

fn pe() -> RamdiskEntry {
    RamdiskEntry::new("Windows PE", r"\Boot\boot.wim", r"\Boot\boot.sdi")
}

fn store(firmware: Firmware, entries: Vec<RamdiskEntry>) -> BootStore {
    BootStore {
        firmware,
        entries,
        default: 0,
        menu: Menu::Hidden,
        locale: None,
    }
}

fn shown(store: &BootStore) -> Vec<Object> {
    show(&store.to_bytes().unwrap()).unwrap()
}

fn object(store: &BootStore, kind: ObjectKind) -> Object {
    let objects = shown(store).into_iter();
    objects.clone().find(|object| object.kind == kind).unwrap()
}

fn value(object: &Object, code: u32) -> Option<Value> {
    let mut elements = object.elements.iter();
    let found = elements.find(|element| element.code == code);
    found.map(|element| element.value.clone())
}

#[test]
fn winboot_06_the_loader_is_named_as_the_firmware_wants_it() {
    for (firmware, loader) in [
        (Firmware::Uefi, r"\Windows\System32\boot\winload.efi"),
        (Firmware::Bios, r"\Windows\System32\boot\winload.exe"),
    ] {
        let object = object(&store(firmware, vec![pe()]), ObjectKind::LOADER);
        let path = value(&object, element::PATH);
        assert_eq!(path, Some(Value::Text(loader.into())));
    }
}

#[test]
fn winboot_05_sizes_are_written_as_eight_bytes_when_they_are_configured() {
    let plain = store(Firmware::Uefi, vec![pe()]);
    let options = object(&plain, ObjectKind::DEVICE);
    assert_eq!(value(&options, element::TFTP_BLOCK_SIZE), None);
    assert_eq!(value(&options, element::TFTP_WINDOW_SIZE), None);

    let mut entry = pe();
    entry.block = Some(BlockSize::try_from(1456).unwrap());
    entry.window = Some(WindowSize::try_from(16).unwrap());
    let sized = store(Firmware::Uefi, vec![entry]);
    let root = write::tree(&sized).unwrap();
    let options = root
        .key("Objects")
        .unwrap()
        .key(&object::RAMDISK_OPTIONS.to_string());
    let elements = options.unwrap().key("Elements").unwrap();
    for (code, bytes) in [
        ("35000007", [0xb0, 5, 0, 0, 0, 0, 0, 0]),
        ("35000008", [16, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let value = elements.key(code).unwrap().value("Element").unwrap();
        assert_eq!(
            (value.kind, value.data.as_slice()),
            (hive::BINARY, bytes.as_slice())
        );
    }
}

#[test]
fn sizes_are_read_as_the_reference_prints_their_codes_too() {
    let key = hive::Key::new("36000007");
    let key = key.with_value("Element", hive::BINARY, 4096_u64.to_le_bytes().to_vec());
    let element = element::read(&key).unwrap();
    assert_eq!(element.value, Value::Integer(4096));
    assert_eq!(
        element.name(ObjectKind::DEVICE),
        Some("ramdisktftpblocksize")
    );
}

#[test]
fn winboot_03_one_entry_has_8_kib_with_everything_that_a_tftp_boot_takes() {
    let mut entry = pe();
    let plain = store(Firmware::Uefi, vec![entry.clone()]);
    assert_eq!(plain.to_bytes().unwrap().len(), 8192);
    entry.block = Some(BlockSize::MAX);
    entry.window = Some(WindowSize::DEFAULT);
    assert_eq!(
        store(Firmware::Uefi, vec![entry]).to_bytes().unwrap().len(),
        8192
    );
}

#[test]
fn each_further_entry_costs_8_kib_at_most() {
    let long = |name: &str, n: usize| format!(r"\{n:03}{}", name.repeat(251 / name.len()));
    for count in [1, 2, 3, 20, MAX_ENTRIES] {
        let entries = (0..count).map(|n| RamdiskEntry {
            block: Some(BlockSize::MAX),
            window: Some(WindowSize::DEFAULT),
            variable_window: true,
            test_signing: true,
            ..RamdiskEntry::new(format!("Windows PE {n}"), long("w", n), long("s", n))
        });
        let store = store(Firmware::Bios, entries.collect());
        let bytes = store.to_bytes().unwrap().len();
        assert!(bytes <= 12_288 + 8_192 * (count - 1), "{count}: {bytes}");
        assert_eq!(shown(&store).len(), 1 + 2 * count);
    }
}

#[test]
fn entries_that_are_fetched_alike_share_their_options() {
    let second = RamdiskEntry {
        wim: r"\other.wim".into(),
        ..pe()
    };
    let third = RamdiskEntry {
        sdi: r"\other\boot.sdi".into(),
        ..pe()
    };
    let objects = shown(&store(Firmware::Uefi, vec![pe(), second, third]));
    let options: Vec<_> = objects
        .iter()
        .filter_map(|object| match value(object, element::DEVICE)? {
            Value::Device(Device::RamDisk { options, path }) => Some((path, options)),
            _ => None,
        })
        .collect();
    let [(_, first), (_, second), (_, third)] = options.as_slice() else {
        panic!("{options:?}");
    };
    assert_eq!((first, second), (&object::RAMDISK_OPTIONS, first));
    assert_ne!(third, first);
    let theirs = objects.iter().find(|object| object.id == *third).unwrap();
    let path = value(theirs, element::SDI_PATH);
    assert_eq!(path, Some(Value::Text(r"\other\boot.sdi".into())));
}

#[test]
fn menus_are_hidden_timed_or_wait() {
    let of = |menu, count| {
        let mut store = store(Firmware::Uefi, vec![pe(); count]);
        store.menu = menu;
        store.default = count - 1;
        let manager = object(&store, ObjectKind::BOOTMGR);
        let ids = |code| match value(&manager, code) {
            Some(Value::Objects(ids)) => ids.len(),
            Some(Value::Object(_)) => 1,
            _ => 0,
        };
        (
            ids(element::DEFAULT),
            ids(element::DISPLAY_ORDER),
            value(&manager, element::TIMEOUT),
            value(&manager, element::DISPLAY_BOOT_MENU),
        )
    };
    let (seconds, yes) = (|n| Some(Value::Integer(n)), Some(Value::Boolean(true)));
    let timed = Menu::Timed(Duration::from_millis(9_001));
    assert_eq!(of(Menu::Hidden, 1), (1, 0, None, None));
    assert_eq!(of(Menu::Hidden, 2), (1, 2, seconds(0), None));
    assert_eq!(of(Menu::Timed(Duration::ZERO), 2), (1, 2, seconds(0), None));
    assert_eq!(of(timed, 1), (1, 1, seconds(10), yes.clone()));
    assert_eq!(of(timed, 3), (1, 3, seconds(10), yes.clone()));
    assert_eq!(of(Menu::Waits, 2), (1, 2, None, yes));
}

#[test]
fn options_are_written_when_asked_for() {
    let mut store = store(Firmware::Uefi, vec![pe()]);
    assert_eq!(
        value(&object(&store, ObjectKind::LOADER), element::TEST_SIGNING),
        None
    );
    store.entries[0].test_signing = true;
    store.entries[0].options = Some("DDISABLE_INTEGRITY_CHECKS".into());
    store.entries[0].variable_window = true;
    store.locale = Some("de-DE".into());
    let loader = object(&store, ObjectKind::LOADER);
    let yes = Some(Value::Boolean(true));
    assert_eq!(value(&loader, element::TEST_SIGNING), yes);
    let options = value(&loader, element::LOAD_OPTIONS);
    assert_eq!(
        options,
        Some(Value::Text("DDISABLE_INTEGRITY_CHECKS".into()))
    );
    let disk = object(&store, ObjectKind::DEVICE);
    assert_eq!(value(&disk, element::TFTP_VARIABLE_WINDOW), yes);
    let manager = object(&store, ObjectKind::BOOTMGR);
    assert_eq!(
        value(&manager, element::LOCALE),
        Some(Value::Text("de-DE".into()))
    );
}

#[test]
fn paths_are_spelled_as_the_boot_manager_does() {
    let mut entry = pe();
    entry.wim = "images/Zürich pe.wim".into();
    let loader = object(&store(Firmware::Bios, vec![entry]), ObjectKind::LOADER);
    let Some(Value::Device(Device::RamDisk { path, .. })) = value(&loader, element::DEVICE) else {
        panic!("{loader:?}");
    };
    assert_eq!(path, r"\images\Zürich pe.wim");
}

#[test]
fn what_no_boot_manager_could_read_is_refused() {
    let with = |change: &dyn Fn(&mut BootStore)| {
        let mut store = store(Firmware::Uefi, vec![pe()]);
        change(&mut store);
        store.to_bytes().unwrap_err().code()
    };
    let long = "x".repeat(MAX_TEXT + 1);
    assert_eq!(with(&|store| store.entries.clear()), "bcd.no-entries");
    assert_eq!(
        with(&|store| store.entries = vec![pe(); 65]),
        "bcd.too-many-entries"
    );
    assert_eq!(with(&|store| store.default = 1), "bcd.no-default");
    for path in ["", "/", "\\boot\n.wim", long.as_str()] {
        assert_eq!(
            with(&|store| store.entries[0].wim = path.into()),
            "bcd.bad-path"
        );
        assert_eq!(
            with(&|store| store.entries[0].sdi = path.into()),
            "bcd.bad-path"
        );
    }
    for text in ["", " ", "a\0b", long.as_str()] {
        assert_eq!(
            with(&|store| store.entries[0].title = text.into()),
            "bcd.bad-text"
        );
        assert_eq!(
            with(&|store| store.entries[0].options = Some(text.into())),
            "bcd.bad-text"
        );
        assert_eq!(
            with(&|store| store.locale = Some(text.into())),
            "bcd.bad-text"
        );
    }
}

#[test]
fn every_code_is_on_the_page_of_reasons() {
    let page = include_str!("../../../../docs/reference/reasons.md");
    let (text, path) = (String::new(), String::new());
    let errors = [
        BcdError::NoEntries,
        BcdError::TooManyEntries(65),
        BcdError::NoDefault {
            default: 1,
            entries: 1,
        },
        BcdError::Path { path, fault: "" },
        BcdError::Text {
            what: "title",
            text,
            fault: "",
        },
        BcdError::Hive(HiveError::NotHive),
        BcdError::NoObjects,
    ];
    let rows = page.lines().filter(|line| line.starts_with("| `bcd."));
    assert_eq!(rows.count(), errors.len());
    for error in errors {
        let row = format!("| `{}` |", error.code());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn a_hive_of_something_else_is_named() {
    let hive = hive::write(&hive::Key::new("SAM"));
    assert_eq!(show(&hive), Err(BcdError::NoObjects));
    assert_eq!(show(&[]), Err(BcdError::Hive(HiveError::NotHive)));
}

#[test]
fn what_a_terminal_obeys_is_shown_escaped() {
    let text = Value::Text("a\x1b[2Jb".into());
    assert_eq!(text.to_string(), r"a\u{1b}[2Jb");
    let path = Device::RamDisk {
        options: object::RAMDISK_OPTIONS,
        path: "\\a\rb".into(),
    };
    assert_eq!(
        path.to_string(),
        r"ramdisk=[boot]\a\rb,{ae5534e0-a924-466c-b836-758539a3ee3a}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn winboot_04_a_ram_disk_is_as_long_as_its_path_says(path in "[^\\x00-\\x1f\\x7f-\\x9f]{1,255}") {
        let units = path.encode_utf16().count();
        let device = Device::RamDisk { options: object::RAMDISK_OPTIONS, path };
        let bytes = device.to_bytes();
        prop_assert_eq!(bytes.len(), 16 + 16 + 24 + 12 + 72 + 2 * (units + 1));
        let said = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        prop_assert_eq!(said(24), bytes.len() - 16);
        prop_assert_eq!(said(60), bytes.len() - 56);
        prop_assert_eq!(Device::from_bytes(&bytes), device);
    }

    #[test]
    fn devices_that_nobody_knows_stay_as_they_are(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Device::from_bytes(&bytes).to_bytes(), bytes);
    }
}

/// The next number of a sequence that looks random: xorshift.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn ten_thousand_damaged_stores_are_shown_or_refused() {
    let store = store(Firmware::Uefi, vec![pe(), pe()]).to_bytes().unwrap();
    let (mut state, mut refused) = (0x9e37_79b9_7f4a_7c15, 0);
    for _ in 0..10_000 {
        let mut file = store.clone();
        for _ in 0..1 + next(&mut state) % 4 {
            let at = next(&mut state) % file.len();
            file[at] = u8::try_from(next(&mut state) % 256).unwrap();
        }
        if next(&mut state).is_multiple_of(4) {
            file.truncate(next(&mut state) % file.len());
        }
        // Half of them get past the first block.
        if next(&mut state).is_multiple_of(2) && file.len() > 4096 {
            hive::repair(&mut file);
        }
        match show(&file) {
            Ok(objects) => {
                let said: String = objects
                    .iter()
                    .flat_map(|object| &object.elements)
                    .map(|element| element.value.to_string())
                    .collect();
                assert!(said.len() < 16 * store.len());
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!((1_000..9_900).contains(&refused), "{refused}");
}
