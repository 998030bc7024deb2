//! LZX as WIM files have it: [MS-PATCH] but for each chunk by itself, a window of the chunk's
//! size, block sizes that are mostly left out, and calls translated as if the file had 12,000,000
//! bytes.

use super::bits::{Bits, Corrupt, Huffman, copy_match};

/// Least and most bytes of a chunk.
pub(super) const CHUNKS: std::ops::RangeInclusive<u32> = 1 << 15..=1 << 21;

const LITERALS: usize = 256;
const LENGTH_SYMBOLS: usize = 249;
const ALIGNED_SYMBOLS: usize = 8;
const PRE_SYMBOLS: usize = 20;
const DEFAULT_BLOCK: usize = 32_768;
const MIN_MATCH: usize = 2;
const FILE_SIZE: i32 = 12_000_000;

/// Decodes chunks, one after the other.
pub(super) struct Lzx {
    /// Bits of a block's size where it is written out.
    size_bits: u32,
    slots: Vec<Slot>,
    main: Huffman,
    length: Huffman,
    aligned: Huffman,
    pre: Huffman,
    main_lengths: Vec<u8>,
    length_lengths: [u8; LENGTH_SYMBOLS],
}

/// A range of distances.
#[derive(Clone, Copy)]
struct Slot {
    base: u32,
    bits: u32,
}

/// The last three distances.
type Recent = [u32; 3];

impl Lzx {
    /// For chunks of this many bytes, a power of two among [`CHUNKS`].
    pub(super) fn new(chunk: u32) -> Self {
        let slots = slots(chunk);
        Self {
            size_bits: if chunk < 1 << 16 { 16 } else { 24 },
            main_lengths: vec![0; LITERALS + 8 * slots.len()],
            slots,
            main: Huffman::new(),
            length: Huffman::new(),
            aligned: Huffman::new(),
            pre: Huffman::new(),
            length_lengths: [0; LENGTH_SYMBOLS],
        }
    }

    /// Fills `out` from one chunk.
    pub(super) fn decode(&mut self, chunk: &[u8], out: &mut [u8]) -> Result<(), Corrupt> {
        self.main_lengths.fill(0);
        self.length_lengths.fill(0);
        let mut bits = Bits::new(chunk);
        let mut recent = [1; 3];
        let mut at = 0;
        while at < out.len() {
            let kind = bits.read(3);
            let size = self.block_size(&mut bits);
            if size == 0 || size > out.len() - at || bits.is_spent() {
                return Err(Corrupt("a block has a wrong size"));
            }
            let end = at + size;
            match kind {
                1 | 2 => {
                    self.read_codes(&mut bits, kind == 2)?;
                    self.block(&mut bits, kind == 2, &mut recent, &mut out[..end], at)?;
                }
                3 => stored(&mut bits, &mut recent, &mut out[at..end])?,
                _ => return Err(Corrupt("a block is of no known kind")),
            }
            at = end;
        }
        restore_calls(out);
        Ok(())
    }

    fn block_size(&self, bits: &mut Bits<'_>) -> usize {
        if bits.read(1) == 1 {
            return DEFAULT_BLOCK;
        }
        let size = bits.read(16);
        if self.size_bits == 24 {
            return (size << 8 | bits.read(8)) as usize;
        }
        size as usize
    }

    fn read_codes(&mut self, bits: &mut Bits<'_>, aligned: bool) -> Result<(), Corrupt> {
        if aligned {
            let lengths: [u8; ALIGNED_SYMBOLS] = std::array::from_fn(|_| bits.read(3) as u8);
            self.aligned.build(&lengths)?;
        }
        let (literals, matches) = self.main_lengths.split_at_mut(LITERALS);
        read_lengths(&mut self.pre, bits, literals)?;
        read_lengths(&mut self.pre, bits, matches)?;
        self.main.build(&self.main_lengths)?;
        read_lengths(&mut self.pre, bits, &mut self.length_lengths)?;
        self.length.build(&self.length_lengths)
    }

    /// Decodes from `at` to the end of `out`.
    fn block(
        &self,
        bits: &mut Bits<'_>,
        aligned: bool,
        recent: &mut Recent,
        out: &mut [u8],
        mut at: usize,
    ) -> Result<(), Corrupt> {
        while at < out.len() {
            let symbol = self.main.symbol(bits)?;
            let Some(symbol) = symbol.checked_sub(LITERALS) else {
                out[at] = symbol as u8;
                at += 1;
                continue;
            };
            let mut length = (symbol & 7) + MIN_MATCH;
            if symbol & 7 == 7 {
                length += self.length.symbol(bits)?;
            }
            let offset = self.offset(bits, symbol >> 3, aligned, recent)?;
            copy_match(out, at, offset as usize, length)?;
            at += length;
        }
        Ok(())
    }

    fn offset(
        &self,
        bits: &mut Bits<'_>,
        slot: usize,
        aligned: bool,
        recent: &mut Recent,
    ) -> Result<u32, Corrupt> {
        if slot < 3 {
            recent.swap(0, slot);
            return Ok(recent[0]);
        }
        let slot = self.slots[slot];
        let mut offset = slot.base;
        if aligned && slot.bits >= 3 {
            offset += read_long(bits, slot.bits - 3) << 3;
            offset += self.aligned.symbol(bits)? as u32;
        } else {
            offset += read_long(bits, slot.bits);
        }
        // The first two values stand for the last distances.
        offset -= 2;
        *recent = [offset, recent[0], recent[1]];
        Ok(offset)
    }
}

/// Every slot that distances below `window` need. Each but the first two pairs has one bit more,
/// up to 17.
fn slots(window: u32) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut base = 0;
    // The largest distance is three bytes short of the window, and counted from two.
    while base < window {
        let bits = (slots.len() as u32 / 2).saturating_sub(1).min(17);
        slots.push(Slot { base, bits });
        base += 1 << bits;
    }
    slots
}

/// Up to 17 bits.
fn read_long(bits: &mut Bits<'_>, count: u32) -> u32 {
    if count <= 16 {
        return bits.read(count);
    }
    bits.read(count - 16) << 16 | bits.read(16)
}

/// Lengths of codes, told by what they differ from those of the block before.
fn read_lengths(pre: &mut Huffman, bits: &mut Bits<'_>, lengths: &mut [u8]) -> Result<(), Corrupt> {
    let own: [u8; PRE_SYMBOLS] = std::array::from_fn(|_| bits.read(4) as u8);
    pre.build(&own)?;
    let differ = |old: u8, by: usize| ((17 + usize::from(old) - by) % 17) as u8;
    let mut at = 0;
    while at < lengths.len() {
        let left = lengths.len() - at;
        let (run, value) = match pre.symbol(bits)? {
            17 => (4 + bits.read(4) as usize, 0),
            18 => (20 + bits.read(5) as usize, 0),
            19 => {
                let run = 4 + bits.read(1) as usize;
                let by = pre.symbol(bits)?;
                if by > 16 {
                    return Err(Corrupt("a length of a code makes no sense"));
                }
                (run, differ(lengths[at], by))
            }
            by => (1, differ(lengths[at], by)),
        };
        // Encoders may let the last run stand over.
        let run = run.min(left);
        lengths[at..at + run].fill(value);
        at += run;
    }
    Ok(())
}

/// A block that is not compressed.
fn stored(bits: &mut Bits<'_>, recent: &mut Recent, out: &mut [u8]) -> Result<(), Corrupt> {
    bits.align();
    for distance in recent {
        let bytes = bits.bytes(4)?;
        *distance = u32::from_le_bytes(std::array::from_fn(|i| bytes[i]));
    }
    out.copy_from_slice(bits.bytes(out.len())?);
    if out.len() % 2 == 1 {
        // The last chunk may leave the filling out.
        let _ = bits.bytes(1);
    }
    Ok(())
}

/// The encoder made the targets of x86 calls absolute, which repeats more often; this makes them
/// relative again.
fn restore_calls(data: &mut [u8]) {
    let mut at = 0;
    let end = data.len().saturating_sub(10);
    while at < end {
        if data[at] != 0xe8 {
            at += 1;
            continue;
        }
        let Some(target) = data.get_mut(at + 1..at + 5) else {
            return;
        };
        let absolute = i32::from_le_bytes(std::array::from_fn(|i| target[i]));
        let here = at as i32;
        let relative = match absolute {
            0..FILE_SIZE => Some(absolute - here),
            _ if (-here..0).contains(&absolute) => Some(absolute + FILE_SIZE),
            _ => None,
        };
        if let Some(relative) = relative {
            target.copy_from_slice(&relative.to_le_bytes());
        }
        at += 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_as_many_slots_as_microsoft_says() {
        let count = |order: u32| slots(1 << order).len();
        let counts: Vec<usize> = (15..=21).map(count).collect();
        assert_eq!(counts, [30, 32, 34, 36, 38, 42, 50]);
        let last = slots(1 << 15)[29];
        assert_eq!((last.base, last.bits), (24_576, 13));
    }

    #[test]
    fn calls_are_relative_again_but_near_the_end() {
        let mut data = vec![0; 32];
        let call = |data: &mut Vec<u8>, at: usize, target: i32| {
            data[at] = 0xe8;
            data[at + 1..at + 5].copy_from_slice(&target.to_le_bytes());
        };
        call(&mut data, 3, 1003);
        call(&mut data, 8, -8);
        call(&mut data, 13, FILE_SIZE);
        call(&mut data, 22, 1003);
        restore_calls(&mut data);
        let read = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| data[at + 1 + i]));
        assert_eq!(
            [read(3), read(8), read(13), read(22)],
            [1000, FILE_SIZE - 8, FILE_SIZE, 1003]
        );
        restore_calls(&mut []);
    }

    #[test]
    fn a_stored_block_is_aligned_and_padded() {
        // Kind 3, no default size, 5 bytes: 011 0 0000000000000101, then the rest of that word.
        let mut chunk = vec![0x00, 0x60, 0x00, 0x50];
        for distance in [1_u32, 1, 1] {
            chunk.extend(distance.to_le_bytes());
        }
        chunk.extend(b"hello");
        let mut out = [0; 5];
        assert_eq!(Lzx::new(1 << 15).decode(&chunk, &mut out), Ok(()));
        assert_eq!(&out, b"hello");
        let cut = &chunk[..chunk.len() - 1];
        assert!(Lzx::new(1 << 15).decode(cut, &mut out).is_err());
    }
}
