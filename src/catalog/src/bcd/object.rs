//! Objects: the boot manager, loaders, and options that they share.

use std::fmt;
use std::str::FromStr;

use super::element::{self, Element};
use super::hive::{Key, NUMBER};

/// An object of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What others call it by.
    pub id: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
    /// What it says, in the order of the file.
    pub elements: Vec<Element>,
}

/// A GUID: some are the same in every store, loaders have their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(u128);

/// What an object is: bits of its class and, for an application, which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKind(pub u32);

pub(super) const BOOTMGR: ObjectId = ObjectId(0x9dea862c_5cdd_4e70_acc1_f32b344d4795);
pub(super) const RAMDISK_OPTIONS: ObjectId = ObjectId(0xae5534e0_a924_466c_b836_758539a3ee3a);

/// Identifiers that bcdedit shows by name.
const NAMES: &[(ObjectId, &str)] = &[
    (BOOTMGR, "bootmgr"),
    (RAMDISK_OPTIONS, "ramdiskoptions"),
    (
        ObjectId(0x7ea2e1ac_2e61_4728_aaa3_896d9d0a9f0e),
        "globalsettings",
    ),
    (
        ObjectId(0x6efb52bf_1766_41db_a6b3_0ee5eff72bd7),
        "bootloadersettings",
    ),
    (
        ObjectId(0x4636856e_540f_4170_a130_a84776f4c654),
        "dbgsettings",
    ),
    (
        ObjectId(0x0ce4991b_e6b3_4b16_b23c_5e0d9250e5d9),
        "emssettings",
    ),
];

impl ObjectId {
    pub(super) const fn new(id: u128) -> Self {
        Self(id)
    }

    /// What bcdedit calls it in every store.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let mut names = NAMES.iter();
        names.find(|(id, _)| *id == self).map(|(_, name)| *name)
    }

    /// As devices hold it: the first three fields are little endian.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        swapped(self.0.to_be_bytes())
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(swapped(bytes)))
    }
}

fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (a, rest) = digits.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{{{a}-{b}-{c}-{d}-{e}}}")
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// A text that is no GUID in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no GUID in braces")]
pub struct NotAnId;

impl FromStr for ObjectId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let inner = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let inner = inner.ok_or(NotAnId)?;
        let is_shaped = inner.len() == 36
            && inner.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !is_shaped {
            return Err(NotAnId);
        }
        u128::from_str_radix(&inner.replace('-', ""), 16)
            .map(Self)
            .map_err(|_| NotAnId)
    }
}

impl ObjectKind {
    /// The boot manager.
    pub const BOOTMGR: Self = Self(0x1010_0002);
    /// A loader of Windows.
    pub const LOADER: Self = Self(0x1020_0003);
    /// Options of a device.
    pub const DEVICE: Self = Self(0x3000_0000);

    /// What bcdedit heads it with.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self.0 {
            0x1010_0001 => "Firmware Boot Manager",
            0x1010_0002 => "Windows Boot Manager",
            0x1020_0003 => "Windows Boot Loader",
            0x1020_0004 => "Resume from Hibernate",
            0x1020_0005 => "Windows Memory Tester",
            0x1030_0006 => "Windows Legacy OS Loader",
            0x3000_0000..=0x3fff_ffff => "Device options",
            0x2000_0000..=0x2fff_ffff => "Inherited settings",
            _ => "Other object",
        }
    }
}

/// The key of an object.
pub(super) fn write(object: &Object) -> Key {
    let mut elements = Key::new("Elements");
    for element in &object.elements {
        elements = elements.with_key(element::write(element));
    }
    let kind = object.kind.0.to_le_bytes().to_vec();
    Key::new(object.id.to_string())
        .with_key(Key::new("Description").with_value("Type", NUMBER, kind))
        .with_key(elements)
}

/// The object of a key; none if the key is no object's.
pub(super) fn read(key: &Key) -> Option<Object> {
    let kind = &key.key("Description")?.value("Type")?.data;
    let kind = u32::from_le_bytes(*kind.first_chunk()?);
    let elements = key.key("Elements").map(|elements| &elements.keys);
    Some(Object {
        id: key.name.parse().ok()?,
        kind: ObjectKind(kind),
        elements: elements
            .into_iter()
            .flatten()
            .filter_map(element::read)
            .collect(),
    })
}
