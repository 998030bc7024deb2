//! Reading, of files that anybody may have made.

use super::{
    BASE, CHECKSUM, HiveError, INLINE, KEY, KEY_NAME_IS_LATIN, Key, NOWHERE, VALUE,
    VALUE_NAME_IS_LATIN, Value, checksum, text,
};

/// Boot stores are five keys deep.
const MAX_DEPTH: usize = 16;

/// The whole tree. Costs time and memory in proportion to the file at most.
pub(in super::super) fn read(file: &[u8]) -> Result<Key, HiveError> {
    let block = file.get(..BASE).ok_or(HiveError::NotHive)?;
    if !block.starts_with(b"regf") {
        return Err(HiveError::NotHive);
    }
    if word(block, CHECKSUM) != Some(checksum(block)) {
        return Err(HiveError::Checksum);
    }
    let version = word(block, 20).unwrap_or_default();
    if version != 1 {
        return Err(HiveError::Version(version));
    }
    let said = word(block, 40).unwrap_or_default() as usize;
    let cells = &file[BASE..];
    let mut cells = Cells {
        left: cells.len(),
        bytes: cells.get(..said).unwrap_or(cells),
    };
    cells.key(word(block, 36).unwrap_or_default(), MAX_DEPTH)
}

/// Where cells are found by their offsets.
struct Cells<'a> {
    bytes: &'a [u8],
    /// Each cell belongs to one place, so all that are visited have no more bytes than the file.
    /// A file whose cells point in circles, or to the same cell again and again, uses this up.
    left: usize,
}

impl<'a> Cells<'a> {
    /// The content of a cell that is in use.
    fn cell(&mut self, at: u32) -> Result<Cell<'a>, HiveError> {
        let start = at as usize;
        let fault = |what| damaged(start, what);
        let size = word(self.bytes, start).ok_or(fault("a cell begins behind the end"))?;
        let size = size.wrapping_neg();
        if size > i32::MAX.unsigned_abs() || size < 8 {
            return Err(fault("a cell that is needed is free"));
        }
        let content = self.bytes[start..]
            .get(4..size as usize)
            .ok_or(fault("a cell ends behind the end"))?;
        self.left = self
            .left
            .checked_sub(size as usize)
            .ok_or(fault("cells point in circles"))?;
        Ok(Cell { start, content })
    }

    fn key(&mut self, at: u32, depth: usize) -> Result<Key, HiveError> {
        let cell = self.cell(at)?;
        cell.magic(b"nk", "there is no key")?;
        let depth = depth
            .checked_sub(1)
            .ok_or(cell.fault("keys are nested too deep"))?;
        let name = cell.name(KEY, cell.half(72)?, cell.half(2)? & KEY_NAME_IS_LATIN != 0)?;
        let mut key = Key::new(name);
        if cell.word(20)? > 0 {
            self.keys(cell.word(28)?, depth, &mut key.keys)?;
        }
        let values = cell.word(36)?;
        if values > 0 {
            let list = self.cell(cell.word(40)?)?;
            for n in 0..values as usize {
                key.values.push(self.value(list.word(4 * n)?)?);
            }
        }
        Ok(key)
    }

    /// Lists of keys, in any of their four forms.
    fn keys(&mut self, at: u32, depth: usize, keys: &mut Vec<Key>) -> Result<(), HiveError> {
        let list = self.cell(at)?;
        let entries = usize::from(list.half(2)?);
        let entry = match list.content.get(..2) {
            Some(b"lf" | b"lh") => 8,
            Some(b"li" | b"ri") => 4,
            _ => return Err(list.fault("there is no list of keys")),
        };
        let is_of_lists = list.content.starts_with(b"ri");
        let depth = depth
            .checked_sub(1)
            .ok_or(list.fault("lists are nested too deep"))?;
        for n in 0..entries {
            let at = list.word(4 + entry * n)?;
            if is_of_lists {
                self.keys(at, depth, keys)?;
            } else {
                keys.push(self.key(at, depth)?);
            }
        }
        Ok(())
    }

    fn value(&mut self, at: u32) -> Result<Value, HiveError> {
        let cell = self.cell(at)?;
        cell.magic(b"vk", "there is no value")?;
        let is_latin = cell.half(16)? & VALUE_NAME_IS_LATIN != 0;
        let name = cell.name(VALUE, cell.half(2)?, is_latin)?;
        let (size, place) = (cell.word(4)?, cell.word(8)?);
        let length = (size & !INLINE) as usize;
        let data = if size & INLINE != 0 {
            let inline = place.to_le_bytes();
            inline
                .get(..length)
                .ok_or(cell.fault("a value of more than 4 bytes has no cell"))?
                .to_vec()
        } else if length == 0 || place == NOWHERE {
            Vec::new()
        } else {
            let data = self.cell(place)?;
            data.content
                .get(..length)
                .ok_or(data.fault("a value is longer than its cell"))?
                .to_vec()
        };
        let kind = cell.word(12)?;
        Ok(Value { name, kind, data })
    }
}

/// A cell's content, and where the cell begins.
struct Cell<'a> {
    start: usize,
    content: &'a [u8],
}

impl Cell<'_> {
    fn fault(&self, what: &'static str) -> HiveError {
        damaged(self.start, what)
    }

    fn magic(&self, magic: &[u8; 2], what: &'static str) -> Result<(), HiveError> {
        if self.content.starts_with(magic) {
            Ok(())
        } else {
            Err(self.fault(what))
        }
    }

    fn word(&self, at: usize) -> Result<u32, HiveError> {
        word(self.content, at).ok_or(self.fault("a cell is too short"))
    }

    fn half(&self, at: usize) -> Result<u16, HiveError> {
        let bytes = self.content.get(at..).and_then(<[u8]>::first_chunk);
        let bytes = bytes.ok_or(self.fault("a cell is too short"))?;
        Ok(u16::from_le_bytes(*bytes))
    }

    fn name(&self, at: usize, length: u16, is_latin: bool) -> Result<String, HiveError> {
        let name = self.content.get(at..at + usize::from(length));
        let name = name.ok_or(self.fault("a name is longer than its cell"))?;
        Ok(if is_latin {
            name.iter().copied().map(char::from).collect()
        } else {
            text(name)
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_le_bytes(*word))
}

fn damaged(cell: usize, what: &'static str) -> HiveError {
    HiveError::Damaged {
        at: BASE.saturating_add(cell),
        what,
    }
}
