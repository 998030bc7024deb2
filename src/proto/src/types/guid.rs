//! The machine's identity: option 97 (RFC 4578, section 2.3) and the SMBIOS system UUID.

use std::fmt;
use std::str::FromStr;

/// A machine GUID, kept in the order of the wire (SMBIOS: first three fields little-endian) and
/// shown in the order that people and vendor tools read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineGuid([u8; 16]);

impl MachineGuid {
    /// Takes the sixteen bytes behind the type byte of option 97.
    #[must_use]
    pub const fn from_wire(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as option 97 carries them.
    #[must_use]
    pub const fn wire(self) -> [u8; 16] {
        self.0
    }

    /// The bytes in the order of the text form.
    #[must_use]
    pub fn as_read(self) -> [u8; 16] {
        READ_ORDER.map(|index| self.0[index])
    }

    /// All zero or all ones: the vendor never wrote an identity.
    #[must_use]
    pub fn is_blank(self) -> bool {
        self.0 == [0; 16] || self.0 == [0xff; 16]
    }
}

impl fmt::Display for MachineGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.as_read().into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MachineGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineGuid({self})")
    }
}

/// Reads the order that people write: `11223344-5566-7788-99aa-bbccddeeff00`, with or without
/// dashes or braces.
impl FromStr for MachineGuid {
    type Err = super::NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut wire = [0; 16];
        let digits = super::hardware::hex_bytes::<16>(text, &['-', '{', '}'])?;
        for (index, byte) in READ_ORDER.iter().zip(digits) {
            wire[*index] = byte;
        }
        Ok(Self(wire))
    }
}

/// Where in the wire order each byte of the text form stands.
const READ_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_swaps_the_first_three_fields() {
        let wire = [
            0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
            0xff, 0x00,
        ];
        let guid = MachineGuid::from_wire(wire);
        assert_eq!(guid.to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!("{11223344-5566-7788-99AA-BBCCDDEEFF00}".parse(), Ok(guid));
        assert!("11223344".parse::<MachineGuid>().is_err());
        assert!(MachineGuid::from_wire([0xff; 16]).is_blank());
    }
}
