//! What a boot store (BCD) names. Keys are found by their names, without walking the tree: of a
//! store with several loaders that gives the first one.

/// What the boot manager needs of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    /// boot.sdi.
    pub(super) sdi: Option<String>,
    /// The image.
    pub(super) wim: Option<String>,
    /// Bytes of a TFTP block.
    pub(super) block: Option<u16>,
    /// Blocks of a TFTP window.
    pub(super) window: Option<u16>,
}

impl Store {
    /// Reads a registry hive; `None` if it is none.
    pub(super) fn parse(hive: &[u8]) -> Option<Self> {
        if !hive.starts_with(b"regf") {
            return None;
        }
        let number = |key| {
            let bytes: [u8; 8] = element(hive, key)?.try_into().ok()?;
            u16::try_from(u64::from_le_bytes(bytes)).ok()
        };
        Some(Self {
            sdi: element(hive, "32000004").and_then(text),
            // The path stands behind the devices (docs/reference/bcd.md).
            wim: element(hive, "11000001").and_then(|device| text(device.get(140..)?)),
            block: number("35000007").filter(|block| (8..=65_464).contains(block)),
            window: number("35000008").filter(|window| *window > 0),
        })
    }
}

/// Where cells begin, and how long the size in front of each is.
const BINS: usize = 4096;
const SIZE: usize = 4;
/// Where a key's record has its list of values, its name's length and its name.
const VALUES: usize = 40;
const NAME_LENGTH: usize = 72;
const NAME: usize = 76;

/// The only value of the first key of this name.
fn element<'a>(hive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let is_key = |key: &[u8]| {
        let length = key.get(NAME_LENGTH..NAME);
        let length =
            length.and_then(|bytes| Some(u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?])));
        key.starts_with(b"nk") && length.is_some_and(|length| usize::from(length) == name.len())
    };
    let mut names = hive.windows(name.len()).enumerate();
    let key = names.find_map(|(at, found)| {
        let key = hive.get(at.checked_sub(NAME)?..)?;
        (found == name.as_bytes() && is_key(key)).then_some(key)
    })?;
    let list = cell(hive, number(key, VALUES)?)?;
    let value = cell(hive, number(list, 0)?)?;
    if !value.starts_with(b"vk") {
        return None;
    }
    // Data of up to four bytes would stand in the value itself; no element here is so short.
    let length = usize::try_from(number(value, 4)?).ok()?;
    cell(hive, number(value, 8)?)?.get(..length)
}

fn cell(hive: &[u8], offset: u32) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    hive.get(BINS.checked_add(offset)?.checked_add(SIZE)?..)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// UTF-16 up to its NUL; `None` for what is no path.
fn text(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks().0.iter();
    let units = units.map(|unit| u16::from_le_bytes(*unit));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units)
        .ok()
        .filter(|text| text.starts_with('\\'))
}

#[cfg(test)]
mod tests;
