//! Durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// The longest: ten years.
const LONGEST: u64 = 10 * 365 * 86_400;

/// The units, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration, written as a whole number and a unit: `500ms`, `10s`, `5m`, `2h`, `90d`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.escape_default();
        let unreadable =
            || format!("`{plain}` is not a duration: write `500ms`, `10s`, `5m`, `2h` or `90d`");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, millis) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim_start())
            .ok_or_else(unreadable)?;
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        number
            .checked_mul(*millis)
            .filter(|millis| *millis <= LONGEST * 1000)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| format!("`{plain}` is more than ten years"))
    }
}

/// In the largest unit that leaves a whole number.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = |unit: &&(&str, u64)| millis.is_multiple_of(u128::from(unit.1));
        match UNITS.iter().find(whole) {
            Some((name, unit)) if millis > 0 => write!(f, "{}{name}", millis / u128::from(*unit)),
            _ => write!(f, "{}ms", millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them_and_shown_so() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("10s", 10_000, "10s"),
            (" 5 m ", 300_000, "5m"),
            ("120m", 7_200_000, "2h"),
            ("90d", 7_776_000_000, "90d"),
            ("1500ms", 1500, "1500ms"),
            ("0s", 0, "0ms"),
        ] {
            let Span(read) = text.parse().unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(Span(read).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Span(read)));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "`10s`"),
            ("10", "`10s`"),
            ("s", "`10s`"),
            ("-1s", "`10s`"),
            ("1.5s", "`10s`"),
            ("1y", "`10s`"),
            ("1s2", "`10s`"),
            ("99999999999999999999s", "`10s`"),
            ("18446744073709551615d", "ten years"),
            ("3651d", "ten years"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
