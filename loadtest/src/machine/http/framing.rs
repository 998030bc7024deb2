//! Where a body ends.

use crate::finding::{Code, Finding};

/// How a body is delimited, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// It ends with the connection.
    ToEnd,
}

/// Where in its chunks a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the line that gives a chunk's size.
    Size {
        /// What was read of it.
        size: u64,
        /// A digit was read.
        begun: bool,
        /// Behind the digits, where extensions are.
        extension: bool,
        /// Bytes of the line.
        length: u16,
    },
    /// So many bytes of a chunk are still to come.
    Data(u64),
    /// In the line break behind a chunk.
    Break,
    /// In the lines behind the last chunk.
    Trailer {
        /// Bytes of the line.
        line: u16,
        /// Bytes of all lines.
        all: u16,
    },
    /// Behind everything.
    End,
}

/// Bytes of a chunk's line, and of all trailers.
const LINE_MAX: u16 = 4096;

impl Framing {
    /// A body in chunks.
    pub(crate) const fn chunked() -> Self {
        Self::Chunked(Chunk::NEXT)
    }

    /// Whether the body is complete.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::End))
    }

    /// Takes what belongs to the body off the front of `bytes` and hands it on.
    ///
    /// # Errors
    /// [`Code::HttpBadChunk`].
    pub(crate) fn take(
        &mut self,
        bytes: &mut &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), Finding> {
        match self {
            Self::Length(left) => sink(cut(bytes, left)),
            Self::ToEnd => sink(std::mem::take(bytes)),
            Self::Chunked(chunk) => {
                while !bytes.is_empty() && *chunk != Chunk::End {
                    if let Chunk::Data(left) = chunk {
                        sink(cut(bytes, left));
                        if *left == 0 {
                            *chunk = Chunk::Break;
                        }
                    } else if let Some((byte, rest)) = bytes.split_first() {
                        *bytes = rest;
                        chunk.step(*byte)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Chunk {
    const NEXT: Self = Self::Size {
        size: 0,
        begun: false,
        extension: false,
        length: 0,
    };

    /// Takes a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<(), Finding> {
        let bad = |what: &str| {
            let evidence = format!("{what}: byte 0x{byte:02x}");
            Err(Finding::new(Code::HttpBadChunk, evidence))
        };
        match self {
            Self::Size {
                size,
                begun,
                extension,
                length,
            } => {
                *length += 1;
                let digit = char::from(byte).to_digit(16).filter(|_| !*extension);
                match (byte, digit) {
                    _ if *length > LINE_MAX => return bad("a chunk's size of more than 4 KiB"),
                    (_, Some(digit)) => {
                        if *size >> 60 != 0 {
                            return bad("a chunk's size of more than 64 bits");
                        }
                        *size = *size << 4 | u64::from(digit);
                        *begun = true;
                    }
                    (b'\n', _) if *begun => {
                        *self = match *size {
                            0 => Self::Trailer { line: 0, all: 0 },
                            size => Self::Data(size),
                        };
                    }
                    (b'\r' | b';' | b' ' | b'\t', _) if *begun => *extension = true,
                    _ if *extension => {}
                    _ => return bad("no chunk's size"),
                }
            }
            Self::Break => match byte {
                b'\r' => {}
                b'\n' => *self = Self::NEXT,
                _ => return bad("a chunk that is longer than its size"),
            },
            Self::Trailer { line, all } => {
                *all += 1;
                match byte {
                    _ if *all > LINE_MAX => return bad("trailers of more than 4 KiB"),
                    b'\r' => {}
                    b'\n' if *line == 0 => *self = Self::End,
                    b'\n' => *line = 0,
                    _ => *line += 1,
                }
            }
            Self::Data(_) | Self::End => {}
        }
        Ok(())
    }
}

/// Cuts up to `left` bytes off the front.
fn cut<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    *left -= taken.len() as u64;
    taken
}
