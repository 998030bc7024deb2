//! XPRESS with Huffman codes, [MS-XCA] section 2.2, as WIM files have it: each chunk by itself,
//! without an end mark.

use super::bits::{Bits, Corrupt, Huffman, copy_match};

const SYMBOLS: usize = 512;
const MIN_MATCH: usize = 3;

/// Decodes chunks, one after the other.
pub(super) struct Xpress {
    code: Huffman,
}

impl Xpress {
    pub(super) fn new() -> Self {
        Self {
            code: Huffman::new(),
        }
    }

    /// Fills `out` from one chunk.
    pub(super) fn decode(&mut self, chunk: &[u8], out: &mut [u8]) -> Result<(), Corrupt> {
        let Some((table, rest)) = chunk.split_at_checked(SYMBOLS / 2) else {
            return Err(Corrupt("its table of codes is cut short"));
        };
        let mut lengths = [0; SYMBOLS];
        for (pair, byte) in lengths.chunks_exact_mut(2).zip(table) {
            pair.copy_from_slice(&[byte & 15, byte >> 4]);
        }
        self.code.build(&lengths)?;
        let mut bits = Bits::new(rest);
        let mut at = 0;
        while at < out.len() {
            let symbol = self.code.symbol(&mut bits)?;
            if symbol < 256 {
                out[at] = symbol as u8;
                at += 1;
                continue;
            }
            bits.fill();
            let length = match_length(symbol & 15, &mut bits)?;
            let offset_bits = (symbol >> 4 & 15) as u32;
            let offset = 1 << offset_bits | bits.read(offset_bits);
            copy_match(out, at, offset as usize, length)?;
            at += length;
        }
        Ok(())
    }
}

/// Lengths beyond the symbol's own lie as bytes behind the word that is being read.
fn match_length(short: usize, bits: &mut Bits<'_>) -> Result<usize, Corrupt> {
    if short < 15 {
        return Ok(short + MIN_MATCH);
    }
    let byte = bits.byte()?;
    let length = if byte < 255 {
        short + usize::from(byte)
    } else {
        usize::from(u16::from_le_bytes([bits.byte()?, bits.byte()?]))
    };
    Ok(length + MIN_MATCH)
}
