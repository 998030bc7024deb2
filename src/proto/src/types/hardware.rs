//! Link-layer addresses as DHCP carries them (RFC 2131, section 2: htype, hlen, chaddr).

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Wraps six bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, &self.0)
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacAddress({self})")
    }
}

/// Reads `52:54:00:99:00:01`, `52-54-00-99-00-01`, `5254.0099.0001` and `525400990001`.
impl FromStr for MacAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        hex_bytes::<6>(text, &[':', '-', '.']).map(Self)
    }
}

/// `htype`, `hlen` and `chaddr` of a DHCP header: 1 to 16 bytes of any link type. EDK2 may put the
/// machine GUID here (htype 0, hlen 16); InfiniBand sends htype 32 with an empty address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress {
    htype: u8,
    len: u8,
    bytes: [u8; 16],
}

impl HardwareAddress {
    /// `None` when `hlen` is more than the sixteen bytes that the header has room for.
    #[must_use]
    pub fn new(htype: u8, hlen: u8, chaddr: [u8; 16]) -> Option<Self> {
        (hlen <= 16).then_some(Self {
            htype,
            len: hlen,
            bytes: chaddr,
        })
    }

    /// The link type of the IANA ARP table; 1 is Ethernet.
    #[must_use]
    pub const fn htype(&self) -> u8 {
        self.htype
    }

    /// The significant bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// All sixteen bytes of the header field, padding included.
    #[must_use]
    pub const fn field(&self) -> [u8; 16] {
        self.bytes
    }

    /// The Ethernet address, if this is one.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddress> {
        let bytes: [u8; 6] = self.bytes().try_into().ok()?;
        (self.htype == 1).then_some(MacAddress(bytes))
    }
}

impl From<MacAddress> for HardwareAddress {
    fn from(mac: MacAddress) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&mac.0);
        Self {
            htype: 1,
            len: 6,
            bytes,
        }
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, self.bytes())
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HardwareAddress({}/{self})", self.htype)
    }
}

/// Text that is not an address of the wanted length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnAddress {
    /// What was given.
    pub text: String,
    /// How many bytes were wanted.
    pub wanted: usize,
}

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not {} bytes in hexadecimal",
            self.text.escape_default(),
            self.wanted
        )
    }
}

impl std::error::Error for NotAnAddress {}

/// Reads `N` bytes of hexadecimal digits, skipping `separators`.
pub(super) fn hex_bytes<const N: usize>(
    text: &str,
    separators: &[char],
) -> Result<[u8; N], NotAnAddress> {
    let refuse = || NotAnAddress {
        text: text.chars().take(64).collect(),
        wanted: N,
    };
    let mut bytes = [0; N];
    let mut digits = 0;
    for c in text.chars().filter(|c| !separators.contains(c)) {
        let digit = c
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
            .ok_or_else(refuse)?;
        let byte: &mut u8 = bytes.get_mut(digits / 2).ok_or_else(refuse)?;
        *byte = (*byte << 4) | digit;
        digits += 1;
    }
    if digits == N * 2 {
        Ok(bytes)
    } else {
        Err(refuse())
    }
}

fn write_colons(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            f.write_str(":")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_of_a_mac_is_read() {
        let mac = MacAddress::new([0x52, 0x54, 0, 0x99, 0, 1]);
        for text in [
            "52:54:00:99:00:01",
            "52-54-00-99-00-01",
            "5254.0099.0001",
            "525400990001",
        ] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:99:00:01");
        for text in [
            "",
            "52:54",
            "52:54:00:99:00:0g",
            "52:54:00:99:00:01:02",
            "é",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_ethernet_of_six_bytes_is_a_mac() {
        assert!(HardwareAddress::new(1, 17, [0; 16]).is_none());
        assert!(
            HardwareAddress::new(0, 16, [7; 16])
                .unwrap()
                .mac()
                .is_none()
        );
        assert!(
            HardwareAddress::new(32, 6, [0; 16])
                .unwrap()
                .mac()
                .is_none()
        );
        assert!(HardwareAddress::new(1, 6, [0; 16]).unwrap().mac().is_some());
    }
}
