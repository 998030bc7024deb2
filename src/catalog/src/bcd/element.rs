//! Elements: what an object says.
//!
//! A code's first digit tells whose it is (library, application, device, template), the second the
//! format of its value; "BcdElementType" of Microsoft's reference.

use std::fmt;

use super::device::Device;
use super::hive::{self, BINARY, Key, TEXT, TEXTS, utf16};
use super::object::{ObjectId, ObjectKind};

/// One thing that an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Which.
    pub code: u32,
    /// Its value.
    pub value: Value,
}

/// The value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Where something is.
    Device(Device),
    /// A text.
    Text(String),
    /// Another object.
    Object(ObjectId),
    /// Other objects, in order.
    Objects(Vec<ObjectId>),
    /// A number.
    Integer(u64),
    /// Yes or no.
    Boolean(bool),
    /// Numbers.
    Integers(Vec<u64>),
    /// What does not fit the code's format.
    Bytes(Vec<u8>),
}

pub(super) const DEVICE: u32 = 0x1100_0001;
pub(super) const PATH: u32 = 0x1200_0002;
pub(super) const DESCRIPTION: u32 = 0x1200_0004;
pub(super) const LOCALE: u32 = 0x1200_0005;
pub(super) const LOAD_OPTIONS: u32 = 0x1200_0030;
pub(super) const TEST_SIGNING: u32 = 0x1600_0049;

pub(super) const DEFAULT: u32 = 0x2300_0003;
pub(super) const DISPLAY_ORDER: u32 = 0x2400_0001;
pub(super) const TIMEOUT: u32 = 0x2500_0004;
pub(super) const DISPLAY_BOOT_MENU: u32 = 0x2600_0020;

pub(super) const OS_DEVICE: u32 = 0x2100_0001;
pub(super) const SYSTEM_ROOT: u32 = 0x2200_0002;
pub(super) const DETECT_HAL: u32 = 0x2600_0010;
pub(super) const WINPE: u32 = 0x2600_0022;

pub(super) const SDI_DEVICE: u32 = 0x3100_0003;
pub(super) const SDI_PATH: u32 = 0x3200_0004;
pub(super) const TFTP_BLOCK_SIZE: u32 = 0x3500_0007;
pub(super) const TFTP_WINDOW_SIZE: u32 = 0x3500_0008;
pub(super) const TFTP_VARIABLE_WINDOW: u32 = 0x3600_000b;

/// Names as bcdedit has them, of elements that mean the same in every object.
const NAMES: &[(u32, &str)] = &[
    (DEVICE, "device"),
    (PATH, "path"),
    (DESCRIPTION, "description"),
    (LOCALE, "locale"),
    (0x1400_0006, "inherit"),
    (LOAD_OPTIONS, "loadoptions"),
    (0x1600_0048, "nointegritychecks"),
    (TEST_SIGNING, "testsigning"),
    (0x1600_0060, "isolatedcontext"),
    (SDI_DEVICE, "ramdisksdidevice"),
    (SDI_PATH, "ramdisksdipath"),
    (0x3500_0001, "ramdiskimageoffset"),
    (0x3500_0002, "ramdisktftpclientport"),
    (0x3500_0005, "ramdiskimagelength"),
    (0x3600_0006, "exportascd"),
    (TFTP_BLOCK_SIZE, "ramdisktftpblocksize"),
    (TFTP_WINDOW_SIZE, "ramdisktftpwindowsize"),
    // Microsoft's reference prints these two as booleans.
    (0x3600_0007, "ramdisktftpblocksize"),
    (0x3600_0008, "ramdisktftpwindowsize"),
    (0x3600_0009, "ramdiskmcenabled"),
    (0x3600_000a, "ramdiskmctftpfallback"),
    (TFTP_VARIABLE_WINDOW, "ramdisktftpvarwindow"),
];

/// Names of elements of the boot manager.
const MANAGER_NAMES: &[(u32, &str)] = &[
    (DEFAULT, "default"),
    (DISPLAY_ORDER, "displayorder"),
    (TIMEOUT, "timeout"),
    (DISPLAY_BOOT_MENU, "displaybootmenu"),
];

/// Names of elements of loaders.
const LOADER_NAMES: &[(u32, &str)] = &[
    (OS_DEVICE, "osdevice"),
    (SYSTEM_ROOT, "systemroot"),
    (0x2500_0020, "nx"),
    (0x2500_00c2, "bootmenupolicy"),
    (DETECT_HAL, "detecthal"),
    (WINPE, "winpe"),
    (0x2600_00b0, "ems"),
];

impl Element {
    pub(super) const fn new(code: u32, value: Value) -> Self {
        Self { code, value }
    }

    /// What bcdedit calls it in an object of that kind.
    #[must_use]
    pub fn name(&self, object: ObjectKind) -> Option<&'static str> {
        let own = match object {
            ObjectKind::BOOTMGR => MANAGER_NAMES,
            ObjectKind::LOADER => LOADER_NAMES,
            _ => &[],
        };
        let mut names = NAMES.iter().chain(own);
        names
            .find(|(code, _)| *code == self.code)
            .map(|(_, name)| *name)
    }
}

/// The key of an element.
pub(super) fn write(element: &Element) -> Key {
    let (kind, data) = match &element.value {
        Value::Device(device) => (BINARY, device.to_bytes()),
        Value::Text(text) => (TEXT, utf16(text)),
        Value::Object(id) => (TEXT, utf16(&id.to_string())),
        Value::Objects(ids) => {
            let mut texts: Vec<u8> = ids.iter().flat_map(|id| utf16(&id.to_string())).collect();
            texts.extend_from_slice(&[0, 0]);
            (TEXTS, texts)
        }
        Value::Integer(number) => (BINARY, number.to_le_bytes().to_vec()),
        Value::Boolean(is_so) => (BINARY, vec![u8::from(*is_so)]),
        Value::Integers(numbers) => {
            let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
            (BINARY, bytes.collect())
        }
        Value::Bytes(bytes) => (BINARY, bytes.clone()),
    };
    Key::new(format!("{:08x}", element.code)).with_value("Element", kind, data)
}

/// The element of a key; none if the key is no element's.
pub(super) fn read(key: &Key) -> Option<Element> {
    let code = u32::from_str_radix(&key.name, 16).ok()?;
    let data = &key.value("Element")?.data;
    let value = match (code >> 24) & 0xf {
        1 => Some(Value::Device(Device::from_bytes(data))),
        2 => Some(Value::Text(hive::text(data))),
        3 => hive::text(data).parse().map(Value::Object).ok(),
        4 => objects(data),
        // Numbers that the reference has as booleans tell by their length what they are.
        5 | 6 => match *data.as_slice() {
            [is_so @ (0 | 1)] => Some(Value::Boolean(is_so == 1)),
            ref number => number
                .try_into()
                .map(u64::from_le_bytes)
                .map(Value::Integer)
                .ok(),
        },
        7 => integers(data),
        _ => None,
    };
    let value = value.unwrap_or_else(|| Value::Bytes(data.clone()));
    Some(Element { code, value })
}

fn objects(texts: &[u8]) -> Option<Value> {
    let is_nul = |unit: &[u8; 2]| *unit == [0, 0];
    let ids = texts.as_chunks().0.split(is_nul);
    ids.filter(|id| !id.is_empty())
        .map(|id| hive::text(id.as_flattened()).parse().ok())
        .collect::<Option<_>>()
        .map(Value::Objects)
}

fn integers(bytes: &[u8]) -> Option<Value> {
    let (numbers, rest) = bytes.as_chunks();
    let numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    rest.is_empty().then(|| Value::Integers(numbers.collect()))
}

impl fmt::Display for Value {
    /// As bcdedit prints it, lists with a space between; control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "{device}"),
            Self::Text(text) => write_plain(f, text),
            Self::Object(id) => write!(f, "{id}"),
            Self::Objects(ids) => list(f, ids),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(is_so) => f.write_str(if *is_so { "Yes" } else { "No" }),
            Self::Integers(numbers) => list(f, numbers),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// A text of a store may hold what a terminal obeys.
pub(super) fn write_plain(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            write!(f, "{c}")?;
        }
    }
    Ok(())
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        write!(f, "{space}{item}")?;
    }
    Ok(())
}
