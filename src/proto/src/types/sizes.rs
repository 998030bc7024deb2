//! TFTP sizes: RFC 2348 (block size) and RFC 7440 (window size).

use std::fmt;

/// Bytes of file data in one DATA packet: 8 to 65464 (RFC 2348, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u16);

impl BlockSize {
    /// What a transfer uses when nothing was negotiated (RFC 1350).
    pub const DEFAULT: Self = Self(512);
    /// The smallest that can be negotiated.
    pub const MIN: Self = Self(8);
    /// The largest that can be negotiated.
    pub const MAX: Self = Self(65464);

    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = OutOfRange;

    fn try_from(value: u32) -> Result<Self, OutOfRange> {
        in_range(value, 8, 65464).map(Self)
    }
}

/// Blocks that are sent before an acknowledgement is awaited: 1 to 65535 (RFC 7440, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowSize(u16);

impl WindowSize {
    /// What a transfer uses when nothing was negotiated (RFC 1350: lock-step).
    pub const DEFAULT: Self = Self(1);

    /// The size in blocks.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u32> for WindowSize {
    type Error = OutOfRange;

    fn try_from(value: u32) -> Result<Self, OutOfRange> {
        in_range(value, 1, 65535).map(Self)
    }
}

/// A number outside the range that its RFC allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// What was asked for.
    pub value: u32,
    /// The smallest allowed.
    pub min: u16,
    /// The largest allowed.
    pub max: u16,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not between {} and {}",
            self.value, self.min, self.max
        )
    }
}

impl std::error::Error for OutOfRange {}

fn in_range(value: u32, min: u16, max: u16) -> Result<u16, OutOfRange> {
    match u16::try_from(value) {
        Ok(small) if (min..=max).contains(&small) => Ok(small),
        _ => Err(OutOfRange { value, min, max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_their_rfc_are_refused() {
        assert!(BlockSize::try_from(7).is_err());
        assert!(BlockSize::try_from(65465).is_err());
        assert_eq!(BlockSize::try_from(1468).unwrap().get(), 1468);
        assert!(WindowSize::try_from(0).is_err());
        assert!(WindowSize::try_from(65536).is_err());
        assert_eq!(WindowSize::try_from(65535).unwrap().get(), 65535);
    }
}
