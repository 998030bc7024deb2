//! Registry hives: a tree of keys and values in the file format of Windows' registry, as boot
//! configuration stores use it.
//!
//! Microsoft documents the tree and not the file; the layout is known from the tools that read it,
//! and hivex judges here what is written.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// A text, ended by NUL: `REG_SZ`.
pub(super) const TEXT: u32 = 1;
/// Bytes: `REG_BINARY`.
pub(super) const BINARY: u32 = 3;
/// 32 bits: `REG_DWORD`.
pub(super) const NUMBER: u32 = 4;
/// Texts, each ended by NUL, and another NUL: `REG_MULTI_SZ`.
pub(super) const TEXTS: u32 = 7;

/// A key with what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name; of any case.
    pub(super) name: String,
    /// Its values.
    pub(super) values: Vec<Value>,
    /// The keys below it.
    pub(super) keys: Vec<Key>,
}

/// A named value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Its name.
    pub(super) name: String,
    /// `REG_SZ` and so on.
    pub(super) kind: u32,
    /// Its bytes; texts are UTF-16, little endian.
    pub(super) data: Vec<u8>,
}

/// Why a file is no hive that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HiveError {
    /// The magic is missing.
    #[error("this is no boot configuration: it does not begin with regf; name a BCD file")]
    NotHive,
    /// The first block was changed, or only half written.
    #[error("the check sum of its first block is wrong; copy the file again")]
    Checksum,
    /// Another version of the format.
    #[error("it is a hive of version {0}, and only version 1 is read")]
    Version(u32),
    /// Something in it makes no sense.
    #[error("it is damaged at byte {at:#x}: {what}; copy the file again")]
    Damaged {
        /// Where, from the start of the file.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Key {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub(super) fn with_value(mut self, name: &str, kind: u32, data: Vec<u8>) -> Self {
        let name = name.to_owned();
        self.values.push(Value { name, kind, data });
        self
    }

    pub(super) fn with_key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// The key below this one, its name in any case.
    pub(super) fn key(&self, name: &str) -> Option<&Self> {
        self.keys
            .iter()
            .find(|key| key.name.eq_ignore_ascii_case(name))
    }

    /// The value of that name, in any case.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .find(|value| value.name.eq_ignore_ascii_case(name))
    }
}

/// UTF-16, little endian, with a NUL at the end.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// The text up to its NUL; what is no UTF-16 becomes U+FFFD.
pub(super) fn text(utf16: &[u8]) -> String {
    let units = utf16
        .as_chunks()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The check sum of a hive's first block: its words up to there, and neither of two values that
/// mean something else.
fn checksum(block: &[u8]) -> u32 {
    let words = block[..CHECKSUM].as_chunks().0.iter();
    match words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word)) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}

/// Makes the check sum of a changed file right again.
#[cfg(test)]
pub(super) fn repair(file: &mut [u8]) {
    let sum = checksum(file);
    file[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Bytes of the first block, before the cells. Every offset in a hive counts from its end.
const BASE: usize = 4096;
/// Where the check sum stands in the first block.
const CHECKSUM: usize = 508;
/// Bytes of a key's cell before its name.
const KEY: usize = 76;
/// Bytes of a value's cell before its name.
const VALUE: usize = 20;
/// No cell.
const NOWHERE: u32 = u32::MAX;
/// In the size of a value: the data stands where its offset would.
const INLINE: u32 = 1 << 31;
/// In a key's flags: the name is Latin-1, not UTF-16.
const KEY_NAME_IS_LATIN: u16 = 0x20;
/// The same in a value's flags.
const VALUE_NAME_IS_LATIN: u16 = 1;
