//! The 208 bytes at the start of a WIM file.

use super::{Compression, WimError};

/// Length of the header.
pub(super) const HEADER: usize = 208;

const MAGIC: &[u8; 8] = b"MSWIM\0\0\0";
const VERSION_PLAIN: u32 = 0x0001_0d00;
const VERSION_SOLID: u32 = 0x0000_0e00;
const DEFAULT_CHUNK: u32 = 32_768;

const FLAG_COMPRESSED: u32 = 0x2;
const FLAG_SPANNED: u32 = 0x8;
const FLAG_WRITE_IN_PROGRESS: u32 = 0x40;
const FLAG_XPRESS: u32 = 0x2_0000;
const FLAG_LZX: u32 = 0x4_0000;
const FLAG_LZMS: u32 = 0x8_0000;

const RESOURCE_METADATA: u8 = 0x02;
const RESOURCE_COMPRESSED: u8 = 0x04;
const RESOURCE_SOLID: u8 = 0x10;

/// Bytes of one entry of the lookup table.
pub(super) const LOOKUP_ENTRY: u64 = 50;

/// The fields that matter, checked against the length of the file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) solid: bool,
    pub(super) spanned: bool,
    pub(super) compression: Compression,
    pub(super) chunk_size: u32,
    pub(super) guid: [u8; 16],
    pub(super) part: u16,
    pub(super) parts: u16,
    pub(super) images: u32,
    pub(super) boot_index: u32,
    pub(super) lookup: Resource,
    pub(super) xml: Resource,
    pub(super) integrity: Resource,
}

/// Where something lies in the file: `size` bytes there, `original` when unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) original: u64,
    flags: u8,
}

impl Header {
    pub(super) fn parse(file: &[u8]) -> Result<Self, WimError> {
        let magic = &file[..file.len().min(MAGIC.len())];
        if file.is_empty() || !MAGIC.starts_with(magic) {
            return Err(WimError::NotWim);
        }
        let len = file.len() as u64;
        let Some(header) = file.first_chunk::<HEADER>() else {
            return Err(WimError::Truncated {
                what: "header",
                needs: HEADER as u64,
                has: len,
            });
        };
        let flags = u32_at(header, 16);
        let version = u32_at(header, 12);
        if u32_at(header, 8) as usize != HEADER {
            return Err(WimError::BadHeader("header size"));
        }
        if version != VERSION_PLAIN && version != VERSION_SOLID {
            return Err(WimError::BadHeader("version"));
        }
        if flags & FLAG_WRITE_IN_PROGRESS != 0 {
            return Err(WimError::WriteInProgress);
        }
        let parsed = Self {
            solid: version == VERSION_SOLID,
            spanned: flags & FLAG_SPANNED != 0 || u16_at(header, 42) > 1,
            compression: compression(flags),
            chunk_size: chunk_size(u32_at(header, 20))?,
            guid: std::array::from_fn(|i| header[24 + i]),
            part: u16_at(header, 40),
            parts: u16_at(header, 42),
            images: u32_at(header, 44),
            boot_index: u32_at(header, 120),
            lookup: Resource::at(header, 48),
            xml: Resource::at(header, 72),
            integrity: Resource::at(header, 124),
        };
        parsed.check(header, len)?;
        Ok(parsed)
    }

    fn check(&self, header: &[u8; HEADER], len: u64) -> Result<(), WimError> {
        if self.part == 0 || self.part > self.parts {
            return Err(WimError::BadHeader("part number"));
        }
        if self.boot_index > self.images {
            return Err(WimError::BadHeader("boot index"));
        }
        let lookup = self.lookup;
        lookup.check("lookup table", len)?;
        self.xml.check("XML", len)?;
        Resource::at(header, 96).check("boot metadata", len)?;
        self.integrity.check("integrity table", len)?;
        if !lookup.is_compressed() && !lookup.size.is_multiple_of(LOOKUP_ENTRY) {
            return Err(WimError::BadHeader("lookup table size"));
        }
        if self.xml.is_compressed() || self.xml.size != self.xml.original {
            return Err(WimError::BadXml("it is compressed"));
        }
        Ok(())
    }
}

impl Resource {
    /// Reads the 24 bytes at `at`, which must be there.
    pub(super) fn at(bytes: &[u8], at: usize) -> Self {
        let word = u64_at(bytes, at);
        Self {
            size: word & 0x00ff_ffff_ffff_ffff,
            flags: (word >> 56) as u8,
            offset: u64_at(bytes, at + 8),
            original: u64_at(bytes, at + 16),
        }
    }

    pub(super) const fn is_metadata(&self) -> bool {
        self.flags & RESOURCE_METADATA != 0
    }

    pub(super) const fn is_compressed(&self) -> bool {
        self.flags & RESOURCE_COMPRESSED != 0
    }

    pub(super) const fn is_solid(&self) -> bool {
        self.flags & RESOURCE_SOLID != 0
    }

    /// Its bytes as they lie in the file.
    pub(super) fn bytes<'a>(
        &self,
        file: &'a [u8],
        what: &'static str,
    ) -> Result<&'a [u8], WimError> {
        self.check(what, file.len() as u64)?;
        let range = || {
            let start = usize::try_from(self.offset).ok()?;
            file.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)
        };
        if self.size == 0 {
            return Ok(&[]);
        }
        range().ok_or(WimError::BadOffset {
            what,
            offset: self.offset,
        })
    }

    fn check(&self, what: &'static str, len: u64) -> Result<(), WimError> {
        if self.size == 0 {
            return Ok(());
        }
        let end = self.offset.checked_add(self.size);
        match end {
            Some(_) if self.offset < HEADER as u64 => Err(WimError::BadOffset {
                what,
                offset: self.offset,
            }),
            Some(end) if end <= len => Ok(()),
            // An offset that no disk reaches is rubbish; anything else is a file cut short.
            Some(end) if end < 1 << 60 => Err(WimError::Truncated {
                what,
                needs: end,
                has: len,
            }),
            _ => Err(WimError::BadOffset {
                what,
                offset: self.offset,
            }),
        }
    }
}

fn compression(flags: u32) -> Compression {
    if flags & FLAG_COMPRESSED == 0 {
        return Compression::None;
    }
    match flags & (FLAG_XPRESS | FLAG_LZX | FLAG_LZMS) {
        FLAG_XPRESS => Compression::Xpress,
        FLAG_LZX => Compression::Lzx,
        FLAG_LZMS => Compression::Lzms,
        _ => Compression::Unknown(flags),
    }
}

fn chunk_size(raw: u32) -> Result<u32, WimError> {
    match raw {
        0 => Ok(DEFAULT_CHUNK),
        n if n.is_power_of_two() && (1 << 12..=1 << 30).contains(&n) => Ok(n),
        _ => Err(WimError::BadHeader("chunk size")),
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
