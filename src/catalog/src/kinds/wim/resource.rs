//! What lies packed in the file, unpacked chunk by chunk.

use super::bits::Corrupt;
use super::header::{Header, Resource};
use super::lzx::{self, Lzx};
use super::xpress::Xpress;
use super::{Compression, WimError};

/// What is not compressed is given out in pieces of this size.
const PIECE: usize = 1 << 20;

/// Chunks that XPRESS can have, in bytes.
const XPRESS_CHUNKS: std::ops::RangeInclusive<u32> = 1 << 12..=1 << 16;

/// Unpacks one resource from its beginning to its end.
pub(super) struct Unpacker<'a> {
    what: &'static str,
    resource: Resource,
    left: u64,
    form: Form<'a>,
}

enum Form<'a> {
    Plain(&'a [u8]),
    Packed(Box<Chunks<'a>>),
}

struct Chunks<'a> {
    /// Where each chunk but the first begins in `data`.
    table: &'a [u8],
    wide: bool,
    data: &'a [u8],
    next: usize,
    decoder: Decoder,
    buffer: Vec<u8>,
}

enum Decoder {
    Xpress(Xpress),
    Lzx(Box<Lzx>),
}

impl<'a> Unpacker<'a> {
    /// Checks what can be checked without unpacking. `what` is for errors.
    pub(super) fn new(
        file: &'a [u8],
        header: &Header,
        resource: &Resource,
        what: &'static str,
    ) -> Result<Self, WimError> {
        if resource.is_solid() {
            return Err(WimError::Solid);
        }
        let bytes = resource.bytes(file, what)?;
        let bad = |why| WimError::BadResource {
            what,
            offset: resource.offset,
            why,
        };
        let form = if resource.is_compressed() {
            let chunk = header.chunk_size;
            let decoder = Decoder::new(header.compression, chunk)?;
            let count = resource.original.div_ceil(u64::from(chunk));
            let wide = resource.original > u64::from(u32::MAX);
            let entries = count.saturating_sub(1);
            let size = usize::try_from(entries.saturating_mul(if wide { 8 } else { 4 }));
            let split = size.ok().and_then(|size| bytes.split_at_checked(size));
            let (table, data) = split.ok_or_else(|| bad("its table of chunks is cut short"))?;
            Form::Packed(Box::new(Chunks {
                table,
                wide,
                data,
                next: 0,
                decoder,
                buffer: vec![0; chunk as usize],
            }))
        } else if resource.size == resource.original {
            Form::Plain(bytes)
        } else {
            return Err(bad("it is not compressed, but has two sizes"));
        };
        Ok(Self {
            what,
            resource: *resource,
            left: resource.original,
            form,
        })
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, WimError> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match &mut self.form {
            Form::Plain(bytes) => {
                let (piece, rest) = bytes.split_at(bytes.len().min(PIECE));
                *bytes = rest;
                Ok(piece)
            }
            Form::Packed(chunks) => chunks.next(self.left),
        };
        let piece = piece.map_err(|Corrupt(why)| WimError::BadResource {
            what: self.what,
            offset: self.resource.offset,
            why,
        })?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Some(piece))
    }
}

impl Chunks<'_> {
    fn next(&mut self, left: u64) -> Result<&[u8], Corrupt> {
        const TABLE: Corrupt = Corrupt("its table of chunks makes no sense");
        let start = match self.next {
            0 => Some(0),
            n => self.start_of(n),
        };
        // Behind the last entry the data ends.
        let end = self.start_of(self.next + 1).or(Some(self.data.len()));
        let (start, end) = start.zip(end).ok_or(TABLE)?;
        let packed = self.data.get(start..end).ok_or(TABLE)?;
        let size = usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        self.next += 1;
        if packed.len() == size {
            return Ok(packed);
        }
        if packed.len() > size {
            return Err(TABLE);
        }
        let out = &mut self.buffer[..size];
        match &mut self.decoder {
            Decoder::Xpress(xpress) => xpress.decode(packed, out)?,
            Decoder::Lzx(lzx) => lzx.decode(packed, out)?,
        }
        Ok(out)
    }

    fn start_of(&self, chunk: usize) -> Option<usize> {
        let width = if self.wide { 8 } else { 4 };
        let at = chunk.checked_sub(1)?.checked_mul(width)?;
        let entry = self.table.get(at..at + width)?;
        let mut word = [0; 8];
        word[..width].copy_from_slice(entry);
        Some(usize::try_from(u64::from_le_bytes(word)).unwrap_or(usize::MAX))
    }
}

impl Decoder {
    fn new(compression: Compression, chunk: u32) -> Result<Self, WimError> {
        match compression {
            Compression::Xpress if XPRESS_CHUNKS.contains(&chunk) => {
                Ok(Self::Xpress(Xpress::new()))
            }
            Compression::Lzx if lzx::CHUNKS.contains(&chunk) => {
                Ok(Self::Lzx(Box::new(Lzx::new(chunk))))
            }
            Compression::Xpress | Compression::Lzx => Err(WimError::ChunkSize(chunk)),
            Compression::Lzms => Err(WimError::Lzms),
            Compression::Unknown(flags) => Err(WimError::UnknownCompression(flags)),
            Compression::None => Err(WimError::BadHeader("compression")),
        }
    }
}

/// Unpacks a whole resource of `most` bytes at most.
pub(super) fn read(
    file: &[u8],
    header: &Header,
    resource: &Resource,
    what: &'static str,
    most: u64,
) -> Result<Vec<u8>, WimError> {
    if resource.original > most {
        return Err(WimError::TooLarge {
            what,
            size: resource.original,
            most,
        });
    }
    let mut unpacker = Unpacker::new(file, header, resource, what)?;
    // Not made large at once: the size is only what the file says of itself.
    let mut all = Vec::new();
    while let Some(piece) = unpacker.next()? {
        all.extend_from_slice(piece);
    }
    Ok(all)
}
