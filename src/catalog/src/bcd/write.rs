//! From entries to the tree of keys.

use std::time::Duration;

use super::device::Device;
use super::element::{Element, Value};
use super::hive::{Key, TEXT, utf16};
use super::object::{BOOTMGR, Object, ObjectId, ObjectKind, RAMDISK_OPTIONS};
use super::{
    BcdError, BootStore, Firmware, MAX_ENTRIES, MAX_PATH, MAX_TEXT, Menu, RamdiskEntry, element,
    object,
};

/// The store's objects below the keys that every store has.
pub(super) fn tree(store: &BootStore) -> Result<Key, BcdError> {
    let mut objects = Key::new("Objects");
    for object in self::objects(store)? {
        objects = objects.with_key(object::write(&object));
    }
    let description = Key::new("Description").with_value("KeyName", TEXT, utf16("BCD00000001"));
    Ok(Key::new("NewStoreRoot")
        .with_key(description)
        .with_key(objects))
}

fn objects(store: &BootStore) -> Result<Vec<Object>, BcdError> {
    match store.entries.len() {
        0 => return Err(BcdError::NoEntries),
        1..=MAX_ENTRIES => {}
        more => return Err(BcdError::TooManyEntries(more)),
    }
    let mut disks = Vec::new();
    let mut loaders = Vec::with_capacity(store.entries.len());
    for (number, entry) in (0..).zip(&store.entries) {
        let disk = RamDisk::of(entry)?;
        let options = disks.iter().position(|known| *known == disk);
        let options = options.unwrap_or_else(|| {
            disks.push(disk);
            disks.len() - 1
        });
        loaders.push(loader(number, options_id(options), entry, store.firmware)?);
    }
    let ids: Vec<ObjectId> = loaders.iter().map(|loader| loader.id).collect();
    let default = ids.get(store.default).ok_or(BcdError::NoDefault {
        default: store.default,
        entries: ids.len(),
    })?;
    let manager = boot_manager(store, *default, &ids)?;
    let disks = (0..).zip(&disks).map(|(number, disk)| Object {
        id: options_id(number),
        kind: ObjectKind::DEVICE,
        elements: disk.elements(),
    });
    Ok([manager].into_iter().chain(disks).chain(loaders).collect())
}

fn boot_manager(
    store: &BootStore,
    default: ObjectId,
    ids: &[ObjectId],
) -> Result<Object, BcdError> {
    let mut elements = Vec::new();
    if let Some(locale) = &store.locale {
        let locale = text("language", locale)?;
        elements.push(Element::new(element::LOCALE, Value::Text(locale)));
    }
    elements.push(Element::new(element::DEFAULT, Value::Object(default)));
    let seconds = match store.menu {
        Menu::Hidden => Some(0),
        Menu::Timed(time) => Some(whole_seconds(time)),
        // Without a time-out the menu waits for ever.
        Menu::Waits => None,
    };
    let is_shown = seconds != Some(0);
    if is_shown || ids.len() > 1 {
        let order = Value::Objects(ids.to_vec());
        elements.push(Element::new(element::DISPLAY_ORDER, order));
        if let Some(seconds) = seconds {
            let timeout = Value::Integer(seconds);
            elements.push(Element::new(element::TIMEOUT, timeout));
        }
    }
    if is_shown {
        let shown = Value::Boolean(true);
        elements.push(Element::new(element::DISPLAY_BOOT_MENU, shown));
    }
    Ok(Object {
        id: BOOTMGR,
        kind: ObjectKind::BOOTMGR,
        elements,
    })
}

/// The menu counts seconds.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}

fn loader(
    number: u128,
    options: ObjectId,
    entry: &RamdiskEntry,
    firmware: Firmware,
) -> Result<Object, BcdError> {
    let device = Value::Device(Device::RamDisk {
        options,
        path: path(&entry.wim)?,
    });
    let program = match firmware {
        Firmware::Bios => r"\Windows\System32\boot\winload.exe",
        Firmware::Uefi => r"\Windows\System32\boot\winload.efi",
    };
    let mut elements = vec![
        Element::new(element::DEVICE, device.clone()),
        Element::new(element::PATH, Value::Text(program.into())),
        Element::new(
            element::DESCRIPTION,
            Value::Text(text("title", &entry.title)?),
        ),
        Element::new(element::OS_DEVICE, device),
        Element::new(element::SYSTEM_ROOT, Value::Text(r"\Windows".into())),
        Element::new(element::DETECT_HAL, Value::Boolean(true)),
        Element::new(element::WINPE, Value::Boolean(true)),
    ];
    if let Some(options) = &entry.options {
        let options = Value::Text(text("options", options)?);
        elements.push(Element::new(element::LOAD_OPTIONS, options));
    }
    if entry.test_signing {
        let allowed = Value::Boolean(true);
        elements.push(Element::new(element::TEST_SIGNING, allowed));
    }
    Ok(Object {
        id: ObjectId::new(LOADERS + number),
        kind: ObjectKind::LOADER,
        elements,
    })
}

/// Loaders have identifiers that only this store has to tell apart.
const LOADERS: u128 = 0xb007_5702_0000_4000_8000_0000_0000_0000;
/// Options of RAM disks besides the first, likewise.
const MORE_OPTIONS: u128 = 0xb007_5702_0000_4000_8001_0000_0000_0000;

/// Bootmgr's own identifier for the options of the first.
const fn options_id(number: usize) -> ObjectId {
    match number {
        0 => RAMDISK_OPTIONS,
        n => ObjectId::new(MORE_OPTIONS + n as u128),
    }
}

/// How the files of an entry are fetched. Entries with the same share one object.
#[derive(Debug, PartialEq, Eq)]
struct RamDisk {
    sdi: String,
    block: Option<u16>,
    window: Option<u16>,
    variable_window: bool,
}

impl RamDisk {
    fn of(entry: &RamdiskEntry) -> Result<Self, BcdError> {
        Ok(Self {
            sdi: path(&entry.sdi)?,
            block: entry.block.map(|size| size.get()),
            window: entry.window.map(|size| size.get()),
            variable_window: entry.variable_window,
        })
    }

    fn elements(&self) -> Vec<Element> {
        let mut elements = vec![
            Element::new(element::SDI_DEVICE, Value::Device(Device::Boot)),
            Element::new(element::SDI_PATH, Value::Text(self.sdi.clone())),
        ];
        let sizes = [
            (element::TFTP_BLOCK_SIZE, self.block),
            (element::TFTP_WINDOW_SIZE, self.window),
        ];
        for (code, size) in sizes {
            if let Some(size) = size {
                elements.push(Element::new(code, Value::Integer(size.into())));
            }
        }
        if self.variable_window {
            let varies = Value::Boolean(true);
            elements.push(Element::new(element::TFTP_VARIABLE_WINDOW, varies));
        }
        elements
    }
}

/// As the boot manager spells it: `\Boot\boot.wim`.
fn path(given: &str) -> Result<String, BcdError> {
    let fault = |fault| BcdError::Path {
        path: given.to_owned(),
        fault,
    };
    let path = format!(r"\{}", given.trim_start_matches(['/', '\\'])).replace('/', r"\");
    if path == r"\" {
        return Err(fault("it is empty"));
    }
    if path.chars().any(char::is_control) {
        return Err(fault("it holds a control character"));
    }
    if path.encode_utf16().count() > MAX_PATH {
        return Err(fault("it is longer than 255 characters"));
    }
    Ok(path)
}

fn text(what: &'static str, given: &str) -> Result<String, BcdError> {
    let fault = |fault| BcdError::Text {
        what,
        text: given.to_owned(),
        fault,
    };
    if given.trim().is_empty() {
        return Err(fault("is empty"));
    }
    if given.chars().any(char::is_control) {
        return Err(fault("holds a control character"));
    }
    if given.encode_utf16().count() > MAX_TEXT {
        return Err(fault("is longer than 512 characters"));
    }
    Ok(given.to_owned())
}
