//! Writing: one bin that holds every cell in the order of the tree.

use super::{
    BASE, CHECKSUM, INLINE, KEY, KEY_NAME_IS_LATIN, Key, NOWHERE, VALUE, VALUE_NAME_IS_LATIN,
    Value, checksum,
};

/// Bins are as large as whole pages.
const PAGE: usize = 4096;
/// Bytes of a bin's own header.
const BIN: usize = 32;
/// The root: it has no parent in this file, and nobody may delete it.
const KEY_IS_ROOT: u16 = 0x4 | 0x8;

/// SYSTEM and the administrators may do everything, here and below; nobody else anything.
/// A self-relative descriptor as \[MS-DTYP\] 2.4.6 has it: the header, the list with its two
/// entries, owner and group.
const SECURITY: &[u8; 100] = b"\
    \x01\0\x04\x80\x48\0\0\0\x58\0\0\0\0\0\0\0\x14\0\0\0\
    \x02\0\x34\0\x02\0\0\0\
    \0\x02\x14\0\x3f\0\x0f\0\x01\x01\0\0\0\0\0\x05\x12\0\0\0\
    \0\x02\x18\0\x3f\0\x0f\0\x01\x02\0\0\0\0\0\x05\x20\0\0\0\x20\x02\0\0\
    \x01\x02\0\0\0\0\0\x05\x20\0\0\0\x20\x02\0\0\
    \x01\x01\0\0\0\0\0\x05\x12\0\0\0";

/// The hive of a tree whose names are ASCII. The same tree gives the same bytes: no time is
/// written, and keys are sorted as the format wants it.
pub(in super::super) fn write(root: &Key) -> Vec<u8> {
    let mut bin = Bin {
        bytes: vec![0; BIN],
        security: 0,
    };
    // Its place is what the keys point to, so the root stands before it.
    let first = bin.reserve(KEY + root.name.len());
    bin.security = bin.security_cell(count(root));
    bin.fill_key(first, root, NOWHERE, KEY_IS_ROOT);
    let bytes = bin.finish();
    let mut hive = base_block(first, bytes.len());
    hive.extend_from_slice(&bytes);
    hive
}

fn base_block(root: u32, bins: usize) -> Vec<u8> {
    let mut block = vec![0; BASE];
    put(&mut block, 0, b"regf");
    // Equal: nothing was half written.
    put(&mut block, 4, &1_u32.to_le_bytes());
    put(&mut block, 8, &1_u32.to_le_bytes());
    // Version 1.3, as boot managers' own stores have it: lists of keys are `lf`.
    put(&mut block, 20, &1_u32.to_le_bytes());
    put(&mut block, 24, &3_u32.to_le_bytes());
    // Laid out as in memory.
    put(&mut block, 32, &1_u32.to_le_bytes());
    put(&mut block, 36, &root.to_le_bytes());
    put(&mut block, 40, &number(bins).to_le_bytes());
    put(&mut block, 44, &1_u32.to_le_bytes());
    let sum = checksum(&block);
    put(&mut block, CHECKSUM, &sum.to_le_bytes());
    block
}

/// The only bin, while it grows.
struct Bin {
    bytes: Vec<u8>,
    /// The descriptor that all keys share.
    security: u32,
}

impl Bin {
    /// A cell for so many bytes, all 0. Sizes are negative in cells that are in use.
    fn reserve(&mut self, bytes: usize) -> u32 {
        let at = self.bytes.len();
        let size = (4 + bytes).next_multiple_of(8);
        self.bytes.resize(at + size, 0);
        put(
            &mut self.bytes,
            at,
            &number(size).wrapping_neg().to_le_bytes(),
        );
        number(at)
    }

    fn cell(&mut self, content: &[u8]) -> u32 {
        let cell = self.reserve(content.len());
        self.put(cell, 0, content);
        cell
    }

    /// Writes into the content of a cell.
    fn put(&mut self, cell: u32, at: usize, content: &[u8]) {
        put(&mut self.bytes, cell as usize + 4 + at, content);
    }

    fn security_cell(&mut self, keys: u32) -> u32 {
        let cell = self.reserve(20 + SECURITY.len());
        self.put(cell, 0, b"sk");
        // A ring of one.
        self.put(cell, 4, &cell.to_le_bytes());
        self.put(cell, 8, &cell.to_le_bytes());
        self.put(cell, 12, &keys.to_le_bytes());
        self.put(cell, 16, &number(SECURITY.len()).to_le_bytes());
        self.put(cell, 20, SECURITY);
        cell
    }

    fn key(&mut self, key: &Key, parent: u32) -> u32 {
        let cell = self.reserve(KEY + key.name.len());
        self.fill_key(cell, key, parent, 0);
        cell
    }

    fn fill_key(&mut self, cell: u32, key: &Key, parent: u32, flags: u16) {
        let keys = self.key_list(&key.keys, cell);
        let values = self.value_list(&key.values);
        let longest = |lengths: &mut dyn Iterator<Item = usize>| number(lengths.max().unwrap_or(0));
        // Of names, as UTF-16 would have them.
        let key_name = longest(&mut key.keys.iter().map(|key| 2 * key.name.len()));
        let value_name = longest(&mut key.values.iter().map(|value| 2 * value.name.len()));
        let data = longest(&mut key.values.iter().map(|value| value.data.len()));
        self.put(cell, 0, b"nk");
        self.put(cell, 2, &(flags | KEY_NAME_IS_LATIN).to_le_bytes());
        let words = [
            (16, parent),
            (20, number(key.keys.len())),
            (28, keys),
            (32, NOWHERE),
            (36, number(key.values.len())),
            (40, values),
            (44, self.security),
            (48, NOWHERE),
            (52, key_name),
            (60, value_name),
            (64, data),
            (72, number(key.name.len())),
        ];
        for (at, word) in words {
            self.put(cell, at, &word.to_le_bytes());
        }
        self.put(cell, KEY, key.name.as_bytes());
    }

    /// A list sorted by name, each entry with the first letters of the name.
    fn key_list(&mut self, keys: &[Key], parent: u32) -> u32 {
        if keys.is_empty() {
            return NOWHERE;
        }
        let mut sorted: Vec<&Key> = keys.iter().collect();
        sorted.sort_by_cached_key(|key| key.name.to_ascii_uppercase());
        let mut list = vec![b'l', b'f'];
        list.extend_from_slice(&number(keys.len()).to_le_bytes()[..2]);
        for key in sorted {
            list.extend_from_slice(&self.key(key, parent).to_le_bytes());
            let mut letters = [0; 4];
            for (letter, byte) in letters.iter_mut().zip(key.name.bytes()) {
                *letter = byte;
            }
            list.extend_from_slice(&letters);
        }
        self.cell(&list)
    }

    fn value_list(&mut self, values: &[Value]) -> u32 {
        if values.is_empty() {
            return NOWHERE;
        }
        let mut list = Vec::with_capacity(4 * values.len());
        for value in values {
            list.extend_from_slice(&self.value(value).to_le_bytes());
        }
        self.cell(&list)
    }

    fn value(&mut self, value: &Value) -> u32 {
        let cell = self.reserve(VALUE + value.name.len());
        let (size, data) = match value.data.as_slice() {
            short if short.len() <= 4 => {
                let mut bytes = [0; 4];
                put(&mut bytes, 0, short);
                (number(short.len()) | INLINE, u32::from_le_bytes(bytes))
            }
            long => (number(long.len()), self.cell(long)),
        };
        self.put(cell, 0, b"vk");
        self.put(cell, 2, &number(value.name.len()).to_le_bytes()[..2]);
        self.put(cell, 4, &size.to_le_bytes());
        self.put(cell, 8, &data.to_le_bytes());
        self.put(cell, 12, &value.kind.to_le_bytes());
        self.put(cell, 16, &VALUE_NAME_IS_LATIN.to_le_bytes());
        self.put(cell, VALUE, value.name.as_bytes());
        cell
    }

    /// The rest of the last page is one free cell.
    fn finish(mut self) -> Vec<u8> {
        let used = self.bytes.len();
        let size = used.next_multiple_of(PAGE);
        self.bytes.resize(size, 0);
        if size > used {
            put(&mut self.bytes, used, &number(size - used).to_le_bytes());
        }
        put(&mut self.bytes, 0, b"hbin");
        put(&mut self.bytes, 8, &number(size).to_le_bytes());
        self.bytes
    }
}

fn count(key: &Key) -> u32 {
    1 + key.keys.iter().map(count).sum::<u32>()
}

fn put(bytes: &mut [u8], at: usize, content: &[u8]) {
    bytes[at..at + content.len()].copy_from_slice(content);
}

/// Stores are far smaller than 4 GiB.
#[expect(
    clippy::cast_possible_truncation,
    reason = "stores have at most some hundred KiB"
)]
fn number(size: usize) -> u32 {
    size as u32
}
