//! MAC addresses and machine GUIDs, whole or by their beginning.

use std::fmt;
use std::str::FromStr;

use bootstorm_proto::types::{MacAddress, MachineGuid};

/// A MAC address or the beginning of many: `00:e0:4c:68:00:01`, `00:e0:4c:*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacPattern(Start<6>);

impl MacPattern {
    /// Whether the address is meant.
    #[must_use]
    pub fn matches(&self, mac: MacAddress) -> bool {
        self.0.matches(mac.bytes())
    }
}

/// A machine GUID or the beginning of many, as people read it: `03000200-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuidPattern(Start<16>);

impl GuidPattern {
    /// Whether the GUID is meant.
    #[must_use]
    pub fn matches(&self, guid: MachineGuid) -> bool {
        self.0.matches(guid.as_read())
    }
}

impl FromStr for MacPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Start::read(
            text,
            &[':', '-', '.'],
            "`00:e0:4c:68:00:01` or `00:e0:4c:*`",
        )
        .map(Self)
    }
}

impl FromStr for GuidPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let forms = "`11223344-5566-7788-99aa-bbccddeeff00` or `11223344-*`";
        Start::read(text, &['-', '{', '}'], forms).map(Self)
    }
}

impl fmt::Display for MacPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, ':', |at| at.is_multiple_of(2))
    }
}

impl fmt::Display for GuidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, '-', |at| [8, 12, 16, 20].contains(&at))
    }
}

/// The first digits of a number of `N` bytes; the rest is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Start<const N: usize> {
    bytes: [u8; N],
    digits: usize,
}

impl<const N: usize> Start<N> {
    fn read(text: &str, separators: &[char], forms: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable = || format!("`{plain}` is no such number: write {forms}");
        let text = text.trim();
        let (written, is_start) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let mut start = Self {
            bytes: [0; N],
            digits: 0,
        };
        for digit in written.chars().filter(|c| !separators.contains(c)) {
            let value = digit.to_digit(16).ok_or_else(unreadable)?;
            let byte = start
                .bytes
                .get_mut(start.digits / 2)
                .ok_or_else(unreadable)?;
            let shift = 4 * (1 - start.digits % 2);
            *byte |= (value as u8) << shift;
            start.digits += 1;
        }
        match (start.digits, is_start) {
            (0, true) => Err(format!("`{plain}` means every machine")),
            (digits, _) if digits == 2 * N => Ok(start),
            (_, true) => Ok(start),
            (_, false) => Err(unreadable()),
        }
    }

    fn matches(&self, bytes: [u8; N]) -> bool {
        let whole = self.digits / 2;
        let half = self.digits % 2 == 1;
        bytes[..whole] == self.bytes[..whole] && (!half || bytes[whole] & 0xf0 == self.bytes[whole])
    }

    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        separator: char,
        before: impl Fn(usize) -> bool,
    ) -> fmt::Result {
        for at in 0..self.digits {
            if at > 0 && before(at) {
                write!(f, "{separator}")?;
            }
            let byte = self.bytes[at / 2];
            let digit = if at % 2 == 0 { byte >> 4 } else { byte & 15 };
            write!(f, "{digit:x}")?;
        }
        if self.digits < 2 * N {
            f.write_str("*")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_means_all_that_begin_so() {
        let mac = |pattern: &str, mac: &str| {
            let pattern: MacPattern = pattern.parse().unwrap();
            pattern.matches(mac.parse().unwrap())
        };
        assert!(mac("00:e0:4c:*", "00:e0:4c:68:00:01"));
        assert!(mac("00-E0-4C-68-00-01", "00:e0:4c:68:00:01"));
        assert!(mac("00:e0:4*", "00:e0:4f:00:00:00"));
        assert!(!mac("00:e0:4*", "00:e0:5c:00:00:00"));
        assert!(!mac("00:e0:4c:68:00:01", "00:e0:4c:68:00:02"));
    }

    #[test]
    fn guids_are_compared_as_people_read_them() {
        let guid = |pattern: &str, guid: &str| {
            let pattern: GuidPattern = pattern.parse().unwrap();
            pattern.matches(guid.parse().unwrap())
        };
        let of_a_vendor = "03000200-0400-0500-0006-000700080009";
        assert!(guid("03000200-*", of_a_vendor));
        assert!(guid("0300020*", of_a_vendor));
        assert!(guid(&of_a_vendor.replace('-', ""), of_a_vendor));
        assert!(!guid("00020003-*", of_a_vendor));
    }

    #[test]
    fn patterns_are_shown_as_they_are_read() {
        for text in ["00:e0:4c:*", "00:e0:4*", "00:e0:4c:68:00:01"] {
            // A star stands where the next digit would: a separator before it is not kept.
            let shown = text.replace(":*", "*");
            assert_eq!(text.parse::<MacPattern>().unwrap().to_string(), shown);
        }
        let guid = "11223344-5566-7788-99aa-bbccddeeff00";
        assert_eq!(guid.parse::<GuidPattern>().unwrap().to_string(), guid);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "*",
            "00:e0",
            "00:*:4c",
            "zz:*",
            "00:e0:4c:68:00:01:02",
            "0\u{fc}*",
        ] {
            assert!(bad.parse::<MacPattern>().is_err(), "{bad}");
        }
        for bad in ["", "*", "-*", "11223344", "x*"] {
            assert!(bad.parse::<GuidPattern>().is_err(), "{bad}");
        }
    }
}
