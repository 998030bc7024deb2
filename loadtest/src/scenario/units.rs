//! Values as people write them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::machine::plan::Network;

/// Bytes, written as a whole number and a unit: `20MB`, `64kB`, `1GiB`, `512B`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub(crate) struct Size(pub(crate) u64);

/// Bits a second, written as `tc` has them: `56kbit`, `1.544mbit`, `1gbit`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub(crate) struct Rate(pub(crate) u64);

/// A share in thousandths of a percent, written as `5%` or `0.5%`; at most `100%`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub(crate) struct Percent(u32);

/// How many, written as a number, in all, or as `"2 per machine"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// In all.
    InAll(u32),
    /// For each machine.
    PerMachine(u32),
}

/// An IPv4 network, written as `10.99.8.0/21`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Cidr(pub(crate) Network);

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const RATES: [(&str, u64); 3] = [
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
];

/// The most of either: a terabyte, a terabit a second.
const MOST: u64 = 1_000_000_000_000;

/// Digits behind the point.
const FRACTION: u32 = 3;

impl Percent {
    /// Of 1.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.0) / 100_000.0
    }

    /// How many of `all` that is, to the nearest one, but one at least.
    pub(crate) fn of(self, all: u32) -> u32 {
        let exact = u64::from(self.0) * u64::from(all);
        let nearest = u32::try_from((exact + 50_000) / 100_000).unwrap_or(all);
        nearest.max(u32::from(exact > 0))
    }
}

impl Count {
    /// How many that is with so many machines.
    pub(crate) fn of(self, machines: u32) -> u64 {
        match self {
            Self::InAll(count) => count.into(),
            Self::PerMachine(count) => u64::from(count) * u64::from(machines),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("how many: write `2000`, or `\"2 per machine\"`")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
                let count = u32::try_from(number);
                count
                    .map(Count::InAll)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
                let count = text.strip_suffix(" per machine");
                count
                    .and_then(|count| count.parse().ok())
                    .map(Count::PerMachine)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        from.deserialize_any(Written)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable = || format!("`{plain}` is not a size: write `64kB`, `20MB` or `1GiB`");
        let (number, unit) = split(text);
        let factor = factor(&SIZES, unit).ok_or_else(unreadable)?;
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        let bytes = number.checked_mul(factor).filter(|bytes| *bytes <= MOST);
        match bytes {
            Some(0) => Err(format!("`{plain}` is nothing")),
            Some(bytes) => Ok(Self(bytes)),
            None => Err(format!("`{plain}` is more than 1000 GB")),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable = || {
            format!(
                "`{plain}` is not a rate: write bits a second as `56kbit`, `1.5mbit` or `1gbit`"
            )
        };
        let (number, unit) = split(text);
        let factor = factor(&RATES, unit).ok_or_else(unreadable)?;
        let thousandths = thousandths(number).ok_or_else(unreadable)?;
        let bits = thousandths.checked_mul(factor).map(|bits| bits / 1_000);
        match bits {
            Some(0) => Err(format!("`{plain}` is nothing")),
            Some(bits) if bits <= MOST => Ok(Self(bits)),
            _ => Err(format!("`{plain}` is more than 1000 gbit")),
        }
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let (number, unit) = split(text);
        let share = thousandths(number).filter(|_| unit == "%");
        match share.map(u32::try_from) {
            Some(Ok(share)) if share <= 100_000 => Ok(Self(share)),
            Some(_) => Err(format!("`{plain}` is more than all")),
            None => Err(format!("`{plain}` is not a share: write `5%` or `0.5%`")),
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable = || format!("`{plain}` is not a network: write `10.99.8.0/21`");
        let (base, bits) = text.split_once('/').ok_or_else(unreadable)?;
        let base: Ipv4Addr = base.parse().map_err(|_| unreadable())?;
        let bits = bits.parse().map_err(|_| unreadable())?;
        if !(8..=30).contains(&bits) {
            return Err(format!("`{plain}`: a network has from 8 to 30 bits"));
        }
        let first = Ipv4Addr::from(u32::from(base) & (u32::MAX << (32 - u32::from(bits))));
        if first == base {
            Ok(Self(Network { base, bits }))
        } else {
            Err(format!(
                "`{plain}` begins in the middle of a network: did you mean `{first}/{bits}`?"
            ))
        }
    }
}

/// In the largest unit that leaves a whole number.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = SIZES[..4].iter().rev();
        let unit = decimal
            .into_iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (name, factor) = unit.unwrap_or(&SIZES[0]);
        write!(f, "{} {name}", self.0 / factor)
    }
}

/// For people: `1.544 Mb/s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = match self.0 {
            1_000_000_000.. => ("Gb/s", 1e9),
            1_000_000.. => ("Mb/s", 1e6),
            _ => ("kb/s", 1e3),
        };
        write!(f, "{} {name}", (self.0 as f64 / factor * 1e3).round() / 1e3)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 1e3)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InAll(count) => write!(f, "{count}"),
            Self::PerMachine(count) => write!(f, "{count} per machine"),
        }
    }
}

/// What stands before the unit, and the unit.
fn split(text: &str) -> (&str, &str) {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let found = units.iter().find(|(name, _)| *name == unit);
    found.map(|(_, factor)| *factor)
}

/// A decimal number with at most three digits behind the point, times 1000.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = u32::try_from(fraction.len()).ok()?;
    if fraction.is_empty() || digits > FRACTION {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction = fraction.parse::<u64>().ok()? * 10_u64.pow(FRACTION - digits);
    whole.checked_mul(1_000)?.checked_add(fraction)
}

/// Serde reads them all as strings.
macro_rules! from_string {
    ($($name:ident)+) => {
        $(impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        })+
    };
}

from_string!(Size Rate Percent Cidr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them_and_shown_so() {
        for (text, bytes, shown) in [
            ("300MB", 300_000_000, "300 MB"),
            ("1500kB", 1_500_000, "1500 kB"),
            ("1GiB", 1 << 30, "1073741824 B"),
            ("512B", 512, "512 B"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, &*size.to_string()), (bytes, shown));
        }
        for (text, bits, shown) in [
            ("56kbit", 56_000, "56 kb/s"),
            ("33.6kbit", 33_600, "33.6 kb/s"),
            ("1.544mbit", 1_544_000, "1.544 Mb/s"),
            ("10gbit", 10_000_000_000, "10 Gb/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.0, &*rate.to_string()), (bits, shown));
        }
        for (text, share, shown) in [("5%", 0.05, "5 %"), ("0.5%", 0.005, "0.5 %")] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent.share(), &*percent.to_string()), (share, shown));
        }
        let Cidr(network) = "10.99.8.0/21".parse().unwrap();
        assert_eq!(network.host(0), Some(Ipv4Addr::new(10, 99, 8, 1)));
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "`20MB`"),
            ("20", "`20MB`"),
            ("20 MB", "`20MB`"),
            ("20mb", "`20MB`"),
            ("-1MB", "`20MB`"),
            ("1.5GB", "`20MB`"),
            ("0MB", "nothing"),
            ("1001GB", "1000 GB"),
            ("99999999999999999999B", "`20MB`"),
        ] {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (text, says) in [
            ("", "`1gbit`"),
            ("100", "`1gbit`"),
            ("100M", "`1gbit`"),
            ("1.2345mbit", "`1gbit`"),
            ("1.mbit", "`1gbit`"),
            (".mbit", "`1gbit`"),
            ("1.2.3mbit", "`1gbit`"),
            ("-1mbit", "`1gbit`"),
            ("0kbit", "nothing"),
            ("18446744073709551615gbit", "`1gbit`"),
            ("1001gbit", "1000 gbit"),
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (text, says) in [
            ("5", "`0.5%`"),
            ("%", "`0.5%`"),
            ("5 %", "`0.5%`"),
            ("100.001%", "more than all"),
            ("5000000000%", "more than all"),
        ] {
            let error = text.parse::<Percent>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (text, says) in [
            ("10.99.8.0", "`10.99.8.0/21`"),
            ("10.99.8/21", "`10.99.8.0/21`"),
            ("10.99.8.0/7", "from 8 to 30"),
            ("10.99.8.0/31", "from 8 to 30"),
            ("10.99.9.1/21", "`10.99.8.0/21`?"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_of_few_machines_is_one_at_least() {
        let percent: Percent = "5%".parse().unwrap();
        assert_eq!(
            [0, 1, 10, 50, 1000].map(|all| percent.of(all)),
            [0, 1, 1, 3, 50]
        );
        assert_eq!(Percent::default().of(1000), 0);
    }
}
