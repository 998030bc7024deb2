//! Bits and Huffman codes, as XPRESS and LZX write them: words of 16 bits, low byte first, the
//! highest bit first.

/// Why a compressed chunk cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt(pub(super) &'static str);

/// Longest code of either method.
const MAX_BITS: usize = 16;

/// Codes up to this length are decoded by one look into a table.
const FAST_BITS: usize = 10;

/// Reads a chunk bit by bit. Behind its end are zeros: both methods look ahead.
pub(super) struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    /// The bits that were read ahead, from the highest one down.
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            held: 0,
            count: 0,
        }
    }

    /// The next `count` bits, 16 at most.
    pub(super) fn read(&mut self, count: u32) -> u32 {
        self.fill();
        let value = if count == 0 {
            0
        } else {
            self.held >> (32 - count)
        };
        self.skip(count);
        value
    }

    /// Makes sure that 16 bits are held, but no whole word more than that: what follows them in
    /// the input may be bytes.
    pub(super) fn fill(&mut self) {
        if self.count < 16 {
            let low = self.input.get(self.at).copied().unwrap_or(0);
            let high = self.input.get(self.at + 1).copied().unwrap_or(0);
            self.at += 2;
            self.held |= u32::from(u16::from_le_bytes([low, high])) << (16 - self.count);
            self.count += 16;
        }
    }

    /// The next byte behind the words that are held.
    pub(super) fn byte(&mut self) -> Result<u8, Corrupt> {
        let byte = self.input.get(self.at).copied().ok_or(SHORT)?;
        self.at += 1;
        Ok(byte)
    }

    /// Goes to the next word that no bit was read of, at least one bit on.
    pub(super) fn align(&mut self) {
        let read = self.at * 8 - self.count as usize;
        self.at = (read / 16 + 1) * 2;
        self.held = 0;
        self.count = 0;
    }

    /// The next bytes; only behind [`Bits::align`].
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Corrupt> {
        let rest = self.input.get(self.at..).ok_or(SHORT)?;
        let bytes = rest.get(..count).ok_or(SHORT)?;
        self.at += count;
        Ok(bytes)
    }

    /// Every byte was used up long ago.
    pub(super) fn is_spent(&self) -> bool {
        self.at > self.input.len() + 4
    }

    fn skip(&mut self, count: u32) {
        self.held = self.held.checked_shl(count).unwrap_or(0);
        self.count -= count;
    }
}

const SHORT: Corrupt = Corrupt("it ends too early");

/// A canonical Huffman code.
pub(super) struct Huffman {
    /// Symbol and length by the next bits; 0 where the code is longer.
    fast: Box<[u16; 1 << FAST_BITS]>,
    /// The symbols, by length and value.
    sorted: Vec<u16>,
    /// By length: the first code that is no longer of it, and where its symbols lie in `sorted`
    /// when a code is added.
    limit: [u32; MAX_BITS + 1],
    place: [u32; MAX_BITS + 1],
}

impl Huffman {
    pub(super) fn new() -> Self {
        Self {
            fast: Box::new([0; 1 << FAST_BITS]),
            sorted: Vec::new(),
            limit: [0; MAX_BITS + 1],
            place: [0; MAX_BITS + 1],
        }
    }

    /// Makes the code from the length of each symbol, 16 at most; 0 is a symbol that is not used.
    /// A code without any symbol is good as long as none is read.
    pub(super) fn build(&mut self, lengths: &[u8]) -> Result<(), Corrupt> {
        let mut counts = [0_u32; MAX_BITS + 1];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        let (mut code, mut index) = (0_u32, 0_u32);
        let mut next = [0_u32; MAX_BITS + 1];
        for length in 1..=MAX_BITS {
            code <<= 1;
            next[length] = index;
            self.place[length] = index.wrapping_sub(code);
            code += counts[length];
            index += counts[length];
            self.limit[length] = code;
        }
        if code != 1 << MAX_BITS && index != 0 {
            return Err(Corrupt("a Huffman code is not complete"));
        }
        self.sorted.clear();
        self.sorted.resize(index as usize, 0);
        for (symbol, length) in (0_u16..).zip(lengths).filter(|(_, length)| **length != 0) {
            let slot = &mut next[usize::from(*length)];
            self.sorted[*slot as usize] = symbol;
            *slot += 1;
        }
        self.fill_fast(lengths);
        Ok(())
    }

    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Corrupt> {
        bits.fill();
        let window = bits.held >> 16;
        let entry = self.fast[(window >> (16 - FAST_BITS)) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry & 15));
            return Ok(usize::from(entry >> 4));
        }
        for length in FAST_BITS + 1..=MAX_BITS {
            let code = window >> (16 - length);
            if code < self.limit[length] {
                bits.skip(length as u32);
                let place = code.wrapping_add(self.place[length]) as usize;
                let symbol = self.sorted.get(place).copied();
                return symbol.map(usize::from).ok_or(NO_CODE);
            }
        }
        Err(NO_CODE)
    }

    fn fill_fast(&mut self, lengths: &[u8]) {
        self.fast.fill(0);
        let mut at = 0;
        for symbol in &self.sorted {
            let length = usize::from(lengths[usize::from(*symbol)]);
            if length > FAST_BITS {
                return;
            }
            let run = 1 << (FAST_BITS - length);
            self.fast[at..at + run].fill(symbol << 4 | length as u16);
            at += run;
        }
    }
}

const NO_CODE: Corrupt = Corrupt("it uses a Huffman code that has no symbol");

/// Repeats `length` bytes from `offset` bytes back. Checked: hostile input asks for anything.
pub(super) fn copy_match(
    out: &mut [u8],
    at: usize,
    offset: usize,
    length: usize,
) -> Result<(), Corrupt> {
    if offset == 0 || offset > at || length > out.len() - at {
        return Err(Corrupt("it repeats bytes that are not there"));
    }
    if offset >= length {
        out.copy_within(at - offset..at - offset + length, at);
    } else {
        for i in at..at + length {
            out[i] = out[i - offset];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_top_of_each_word_and_bytes_from_behind_it() {
        let mut bits = Bits::new(&[0b0000_0001, 0b1010_0000, 7, 8, 9]);
        assert_eq!((bits.read(1), bits.read(3), bits.read(12)), (1, 0b010, 1));
        bits.fill();
        assert_eq!(bits.byte(), Ok(9));
        assert_eq!(bits.byte(), Err(SHORT));
        assert_eq!(bits.read(16), 0x0807);
        assert_eq!(bits.read(16), 0, "zeros behind the end");
    }

    #[test]
    fn alignment_drops_what_is_left_of_a_word_or_a_whole_one() {
        let mut bits = Bits::new(&[0, 0, 1, 2, 3]);
        bits.read(3);
        bits.align();
        assert_eq!(bits.bytes(3), Ok(&[1, 2, 3][..]));
        let mut bits = Bits::new(&[0, 0, 1, 2, 3]);
        bits.read(16);
        bits.align();
        assert_eq!(bits.bytes(1), Ok(&[3][..]));
        assert_eq!(bits.bytes(1), Err(SHORT));
    }

    #[test]
    fn short_and_long_codes_are_decoded_and_incomplete_ones_refused() {
        let mut code = Huffman::new();
        // 1, 2, 3 ... 15, 16, 16 bits: 0, 10, 110 ...
        let lengths: Vec<u8> = (1..=16).chain([16]).collect();
        assert_eq!(code.build(&lengths), Ok(()));
        for (symbol, ones) in (0_usize..16).map(|n| (n, n)).chain([(16, 16)]) {
            let word = !(0xffff_u32 >> ones) as u16;
            let mut bits = Bits {
                input: &[],
                at: 0,
                held: u32::from(word) << 16,
                count: 16,
            };
            assert_eq!(code.symbol(&mut bits), Ok(symbol), "{ones}");
            assert_eq!(bits.count, 16 - u32::from(lengths[symbol]));
        }
        assert!(code.build(&[1, 2]).is_err());
        assert!(code.build(&[1, 1, 1]).is_err());
        assert_eq!(code.build(&[0, 0]), Ok(()));
        assert_eq!(code.symbol(&mut Bits::new(&[0; 4])), Err(NO_CODE));
    }
}
