//! BIOS versions, compared as people mean them.

use std::cmp::Ordering;

/// A BIOS version (SMBIOS type 0) in the order in which its vendor publishes them: 1.9 comes before
/// 1.10, A09 before A10.
///
/// What vendors write around the version does not count: HP's `P01 Ver. 02.21` and `L01 v02.78` are
/// 2.21 and 2.78, Lenovo's `N2IET98W (1.76 )` is 1.76. Where Lenovo writes no number in brackets
/// (`M1AKT59A`), the two characters before the last one count, 9 before A. HP's `F.2A` is
/// hexadecimal. Nought at the end and in front of a number do not count: 1.0.0 is 1, 02.21 is 2.21.
/// A letter comes before a number: Dell went from A25 to 1.0.0.
///
/// Versions that are equal so far are told apart by their dates, where both have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BiosVersion {
    parts: Vec<Part>,
    date: Option<Date>,
}

impl BiosVersion {
    /// Reads a version; any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text: String = text.chars().take(LENGTH_MAX).collect();
        let text = text.trim().to_ascii_uppercase();
        let text = essence(&text);
        let mut parts = lenovo(text)
            .or_else(|| hewlett(text))
            .unwrap_or_else(|| natural(text));
        let end = parts.iter().rposition(|part| !part.is_nought());
        parts.truncate(end.map_or(0, |last| last + 1));
        Self { parts, date: None }
    }

    /// With its release date, `mm/dd/yyyy` as SMBIOS has it or `yyyy-mm-dd`; another text is none.
    #[must_use]
    pub fn released(self, date: &str) -> Self {
        let date = read_date(date);
        Self { date, ..self }
    }
}

/// Whether version `a` is older than `b`, as [`BiosVersion`] orders them.
#[must_use]
pub fn version_lt(a: &str, b: &str) -> bool {
    BiosVersion::new(a) < BiosVersion::new(b)
}

/// Characters that are read; SMBIOS strings of vendors end long before.
const LENGTH_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Letters(String),
    Number(Number),
}

impl Part {
    fn number(digits: &str) -> Self {
        Self::Number(Number(digits.trim_start_matches('0').to_owned()))
    }

    fn is_nought(&self) -> bool {
        *self == Self::Number(Number(String::new()))
    }
}

/// Digits without leading noughts, however many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number(String);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Year, month and day.
type Date = (u16, u8, u8);

fn read_date(text: &str) -> Option<Date> {
    let numbers: Vec<u16> = text
        .trim()
        .split(['/', '-', '.'])
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let [first, second, third] = numbers[..] else {
        return None;
    };
    let (year, month, day) = if first > 31 {
        (first, second, third)
    } else {
        (third, first, second)
    };
    // SMBIOS before 2.3 has years of two digits.
    let year = match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        _ => year,
    };
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day))
}

/// The version without what stands around it.
fn essence(text: &str) -> &str {
    let bracketed = text.split_once('(').map(|(_, rest)| rest);
    let bracketed = bracketed.and_then(|rest| Some(rest.split_once(')')?.0.trim()));
    if let Some(inner) = bracketed.filter(|inner| begins_with_digit(inner)) {
        return inner;
    }
    let behind_mark = text.match_indices('V').find_map(|(at, _)| {
        let before = text.get(..at)?;
        let own_word = before.is_empty() || before.ends_with(char::is_whitespace);
        let rest = text.get(at..)?;
        let spelled = ["VERSION", "VER.", "VER"]
            .iter()
            .find_map(|mark| rest.strip_prefix(mark))
            .filter(|rest| rest.starts_with(char::is_whitespace) || begins_with_digit(rest));
        let rest = spelled.or_else(|| rest.strip_prefix('V').filter(|r| begins_with_digit(r)))?;
        own_word.then_some(rest.trim_start())
    });
    behind_mark.filter(|rest| !rest.is_empty()).unwrap_or(text)
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// `M1AKT59A`, `N2IET98W`: the board in five characters, two that count up, a letter.
fn lenovo(text: &str) -> Option<Vec<Part>> {
    let [board @ .., tens, ones, last] = text.as_bytes() else {
        return None;
    };
    let is_board = board.len() == 5
        && board.ends_with(b"T")
        && board.iter().all(u8::is_ascii_alphanumeric)
        && last.is_ascii_alphabetic();
    let count = 36 * digit(*tens, 36)? + digit(*ones, 36)?;
    is_board.then(|| {
        let (board, letter) = (text.get(..5), text.get(7..));
        let letters = |text: Option<&str>| Part::Letters(text.unwrap_or_default().to_owned());
        vec![
            letters(board),
            Part::number(&count.to_string()),
            letters(letter),
        ]
    })
}

/// `F.2A`.
fn hewlett(text: &str) -> Option<Vec<Part>> {
    let [tens, ones] = text.strip_prefix("F.")?.as_bytes() else {
        return None;
    };
    let count = 16 * digit(*tens, 16)? + digit(*ones, 16)?;
    let letter = Part::Letters("F".to_owned());
    Some(vec![letter, Part::number(&count.to_string())])
}

fn digit(byte: u8, radix: u32) -> Option<u32> {
    char::from(byte).to_digit(radix)
}

/// Letters and numbers in turns; everything else only separates.
fn natural(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for field in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut rest = field;
        while !rest.is_empty() {
            let is_number = begins_with_digit(rest);
            let end = rest.find(|c: char| c.is_ascii_digit() != is_number);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            parts.push(if is_number {
                Part::number(part)
            } else {
                Part::Letters(part.to_owned())
            });
            rest = after;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each is older than the one behind it.
    fn ascending(versions: &[&str]) {
        for (number, older) in versions.iter().enumerate() {
            for newer in &versions[number + 1..] {
                assert!(version_lt(older, newer), "{older} < {newer}");
                assert!(!version_lt(newer, older), "{newer} > {older}");
            }
        }
    }

    fn same(a: &str, b: &str) {
        assert_eq!(BiosVersion::new(a), BiosVersion::new(b), "{a} {b}");
    }

    #[test]
    fn twopxe_15_bios_version_rule() {
        ascending(&["1.2.3", "1.9", "1.9.1", "1.10", "1.10.0.1", "2.0", "10.0"]);
        // Dell
        ascending(&["A01", "A09", "A10", "A25", "1.0.0", "1.2.3", "1.12.0"]);
        // Lenovo
        ascending(&[
            "N2IET97W (1.75 )",
            "N2IET98W (1.76 )",
            "N2IET99W (1.77 )",
            "N2IETA1W (1.100 )",
        ]);
        ascending(&["M1AKT09A", "M1AKT10A", "M1AKT59A", "M1AKT5AA", "M1AKT60A"]);
        // HP
        ascending(&["P01 Ver. 02.9", "P01 Ver. 02.21", "P01 Ver. 03.01"]);
        ascending(&["L01 v02.08", "L01 v02.78", "L01 v02.100"]);
        ascending(&["F.09", "F.0A", "F.1D", "F.21", "F.2A", "F.30"]);
        // AMI, ASUS, Supermicro, Acer
        ascending(&["0805", "1201", "3405"]);
        ascending(&["3.1", "3.4", "3.4a", "3.4b", "3.5"]);
        ascending(&["V1.9", "V1.15"]);
    }

    #[test]
    fn what_stands_around_a_version_does_not_count() {
        same("P01 Ver. 02.21", "2.21");
        same("L01 v02.78", "02.78");
        same("N2IET98W (1.76 )", "1.76");
        same("V1.15", "1.15");
        same("1.0.0", "1");
        same(" a09 ", "A09");
        same("", "()");
    }

    #[test]
    fn dates_tell_equal_versions_apart() {
        let version = |date| BiosVersion::new("A10").released(date);
        assert!(version("12/31/2019") < version("01/02/2020"));
        assert!(version("12/31/99") < version("01/02/05"));
        assert_eq!(version("01/02/2020"), version("2020-01-02"));
        assert!(BiosVersion::new("A09").released("01/01/2024") < version("01/01/2020"));
        for wrong in [
            "",
            "13/01/2020",
            "00/00/0000",
            "soon",
            "1/2",
            "1/2/3/4",
            "-1/2/2020",
        ] {
            assert_eq!(version(wrong), BiosVersion::new("A10"), "{wrong}");
        }
    }

    fn any_version() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            "[AFV]?[0-9]{1,3}([. -][0-9A-C]{1,2}){0,3}",
            "M1[AB]KT[0-9A-Z]{2}[AW]( \\([0-9]\\.[0-9]{1,3} \\))?",
            "(P01 Ver\\. |L01 v)?0?[0-9]\\.[0-9]{1,2}",
            "F\\.[0-9A-F]{2}",
        ]
    }

    proptest! {
        #[test]
        fn twopxe_15_versions_are_totally_ordered(
            a in any_version(), b in any_version(), c in any_version(),
        ) {
            let [a, b, c] = [a, b, c].map(|text| BiosVersion::new(&text));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            let mut sorted = [&a, &b, &c];
            sorted.sort();
            let [first, second, third] = sorted;
            prop_assert!(first <= second && second <= third && first <= third);
        }

        #[test]
        fn numbers_are_compared_as_numbers(major in 0..50_u32, a in 0..3000_u32, b in 0..3000_u32) {
            let (x, y) = (format!("{major}.{a}"), format!("{major}.{b}"));
            prop_assert_eq!(version_lt(&x, &y), a < b);
            let (x, y) = (format!("P01 Ver. {major:02}.{a:02}"), format!("P01 Ver. {major}.{b}"));
            prop_assert_eq!(version_lt(&x, &y), a < b);
        }
    }
}
