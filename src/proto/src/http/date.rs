//! Dates: RFC 9110, section 5.6.7. The time is an argument; nothing here has a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A moment as `Sun, 06 Nov 1994 08:49:37 GMT`. Moments before 1970 or after 9999 are shown as the
/// nearest that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate(pub SystemTime);

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self
            .0
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs().min(LAST_SECOND));
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        // 1970-01-01 was a Thursday; `% 7` and the month index cannot leave their tables.
        let weekday = DAYS[usize::try_from((days + 4) % 7).unwrap_or(0)];
        let month = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
        )
    }
}

/// Reads the three forms that RFC 9110 knows; `None` for anything else.
#[must_use]
pub fn parse_date(text: &str) -> Option<SystemTime> {
    let mut parts = text.split_ascii_whitespace();
    let first = parts.next()?;
    if first.ends_with(',') {
        let rest = parts.next()?;
        if rest.contains('-') {
            // Sunday, 06-Nov-94 08:49:37 GMT
            let mut date = rest.split('-');
            let (day, month, year) = (date.next()?, date.next()?, date.next()?);
            let year = short_year(year)?;
            return assemble(year, month, day, parts.next()?);
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let (month, year) = (parts.next()?, parts.next()?);
        return assemble(number(year)?, month, rest, parts.next()?);
    }
    // Sun Nov  6 08:49:37 1994
    let (month, day, time) = (parts.next()?, parts.next()?, parts.next()?);
    assemble(number(parts.next()?)?, month, day, time)
}

fn assemble(year: u64, month: &str, day: &str, time: &str) -> Option<SystemTime> {
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))?;
    let month = u64::try_from(month).ok()? + 1;
    let day = number(day)?;
    let mut clock = time.split(':');
    let (hour, minute) = (number(clock.next()?)?, number(clock.next()?)?);
    let second = number(clock.next()?)?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Two digits stand for the century that puts them less than 50 years into the future; without a
/// clock that is taken as 1970 to 2069.
fn short_year(text: &str) -> Option<u64> {
    match number(text)? {
        year @ 0..=69 => Some(2000 + year),
        year @ 70..=99 => Some(1900 + year),
        year => Some(year),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Year, month and day of a day counted from 1970-01-01. Years are taken to begin in March, so
/// that the leap day is the last of them.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_example_of_the_rfc_is_written_and_read_in_all_forms() {
        let moment = at(784_111_777);
        assert_eq!(
            HttpDate(moment).to_string(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date(text), Some(moment), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in 0..150_000 {
            let moment = at(day * 86_400 + 86_399);
            assert_eq!(parse_date(&HttpDate(moment).to_string()), Some(moment));
        }
    }

    #[test]
    fn leap_days_and_edges_are_right() {
        assert_eq!(HttpDate(at(0)).to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            HttpDate(at(951_782_400)).to_string(),
            "Tue, 29 Feb 2000 00:00:00 GMT"
        );
        assert_eq!(
            HttpDate(at(u64::MAX >> 8)).to_string(),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in [
            "",
            "now",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 25:00:00 GMT",
            "Sun, 06 Foo 1994 1:1:1",
            "Sun, 99999999999999999999 Nov 1994 08:49:37 GMT",
            "Sun, 0 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1200 08:49:37 GMT",
            "a, b-c-d e",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
