//! Rates as people write them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// The lowest rate in bits a second: below it boot ROMs give up between two packets.
const LOWEST: f64 = 128e3;
/// The highest: faster than any network interface.
const HIGHEST: f64 = 1e13;

/// A rate, written as bits a second: `100M`, `2.5G`, `800k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// Bytes a second.
    #[must_use]
    pub const fn bytes(self) -> NonZeroU64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.escape_default();
        if text.ends_with('B') || text.contains("B/s") {
            return Err(format!(
                "`{plain}`: rates are bits a second without a unit; 100 MB/s are `800M`"
            ));
        }
        let unreadable =
            || format!("`{plain}` is not a rate: write bits a second as `800k`, `100M` or `2.5G`");
        let last = text.chars().next_back().ok_or_else(unreadable)?;
        let factor = match last.to_ascii_lowercase() {
            'k' => 1e3,
            'm' => 1e6,
            'g' => 1e9,
            't' => 1e12,
            _ => return Err(unreadable()),
        };
        let number = &text[..text.len() - last.len_utf8()];
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        if !number.chars().all(is_number) {
            return Err(unreadable());
        }
        let bits = number.parse::<f64>().map_err(|_| unreadable())? * factor;
        if bits < LOWEST {
            return Err(format!(
                "`{plain}` is too slow: machines give up below `128k`"
            ));
        }
        if bits > HIGHEST {
            return Err(format!("`{plain}` is more than any network carries"));
        }
        let bytes = NonZeroU64::new((bits / 8.0) as u64);
        bytes.map(Self).ok_or_else(unreadable)
    }
}

/// The shortest of the forms that are read.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.get() as f64 * 8.0;
        for (unit, factor) in [("T", 1e12), ("G", 1e9), ("M", 1e6)] {
            if bits >= factor {
                return write!(f, "{}{unit}", (bits / factor * 1e3).round() / 1e3);
            }
        }
        write!(f, "{}k", (bits / 1e3).round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_bits_a_second_and_shown_so() {
        for (text, bytes, shown) in [
            ("100M", 12_500_000, "100M"),
            ("2.5G", 312_500_000, "2.5G"),
            ("800k", 100_000, "800k"),
            (" 1000m ", 125_000_000, "1G"),
            ("128K", 16_000, "128k"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.bytes().get(), bytes, "{text}");
            assert_eq!(rate.to_string(), shown);
            assert_eq!(shown.parse(), Ok(rate));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "`100M`"),
            ("100", "`100M`"),
            ("M", "`100M`"),
            ("-1G", "`100M`"),
            ("1e3M", "`100M`"),
            ("1..5G", "`100M`"),
            ("infG", "`100M`"),
            ("100MB", "`800M`"),
            ("12 MB/s", "`800M`"),
            ("127k", "too slow"),
            ("0G", "too slow"),
            ("11T", "more than any"),
            ("1\u{fc}", "`100M`"),
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
