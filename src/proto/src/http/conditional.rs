//! Which part of a file answers a request: RFC 9110, sections 13 and 14.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::date::parse_date;
use super::exchange::Method;

/// The request's preconditions and range, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// `Range`, when it is a single range of bytes: several are answered with the whole file, as
    /// RFC 9110, section 14.2 allows.
    pub range: Option<ByteRange>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a str>,
}

/// A single range of bytes, before the length of the file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From a position to another, both included, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Length in bytes.
    pub len: u64,
    /// Strong entity tag, with its quotation marks.
    pub etag: &'a str,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200 with the whole file.
    Full,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304 without a body.
    NotModified,
    /// 412 without a body.
    PreconditionFailed,
    /// 416 without a body.
    Unsatisfiable,
}

/// Decides in the order of RFC 9110, section 13.2.2.
#[must_use]
pub fn select(conditions: &Conditions<'_>, file: &Validators<'_>) -> Selection {
    if let Some(tags) = conditions.if_match {
        if !any_tag(tags, |tag| tag == file.etag) {
            return Selection::PreconditionFailed;
        }
    } else if let Some(since) = conditions.if_unmodified_since.and_then(parse_date)
        && whole_seconds(file.modified) > whole_seconds(since)
    {
        return Selection::PreconditionFailed;
    }
    if let Some(tags) = conditions.if_none_match {
        if any_tag(tags, |tag| {
            tag.strip_prefix("W/").unwrap_or(tag) == file.etag
        }) {
            return Selection::NotModified;
        }
    } else if let Some(since) = conditions.if_modified_since.and_then(parse_date)
        && whole_seconds(file.modified) <= whole_seconds(since)
    {
        return Selection::NotModified;
    }
    match conditions.range {
        Some(range) if if_range_holds(conditions.if_range, file) => range.of(file.len),
        _ => Selection::Full,
    }
}

impl ByteRange {
    /// Reads a `Range` header; `None` for several ranges, other units and anything else that is to
    /// be ignored.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, range) = value.trim().split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    fn of(self, len: u64) -> Selection {
        let range = match self {
            Self::Last(count) => len.saturating_sub(count)..len,
            Self::From(first, last) => {
                first..last.map_or(len, |last| last.saturating_add(1).min(len))
            }
        };
        if range.is_empty() {
            Selection::Unsatisfiable
        } else {
            Selection::Part(range)
        }
    }
}

impl Conditions<'_> {
    /// Ranges mean something for GET alone (RFC 9110, section 14.2), and a form is never "not
    /// modified".
    pub(super) fn for_method(mut self, method: Method) -> Self {
        if method != Method::Get {
            self.range = None;
        }
        if method == Method::Post {
            self = Self::default();
        }
        self
    }
}

fn if_range_holds(if_range: Option<&str>, file: &Validators<'_>) -> bool {
    let Some(value) = if_range.map(str::trim) else {
        return true;
    };
    if value.starts_with('"') || value.starts_with("W/") {
        return value == file.etag;
    }
    parse_date(value).is_some_and(|date| whole_seconds(date) == whole_seconds(file.modified))
}

fn any_tag(list: &str, matches: impl Fn(&str) -> bool) -> bool {
    list.trim() == "*" || list.split(',').map(str::trim).any(matches)
}

/// Dates on the wire have no fractions.
fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .as_ref()
        .map_or(0, Duration::as_secs)
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Validators<'static> {
        Validators {
            len: 1000,
            etag: "\"abc\"",
            modified: SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500),
        }
    }

    fn range(value: &str) -> Selection {
        let conditions = Conditions {
            range: ByteRange::parse(value),
            ..Conditions::default()
        };
        select(&conditions, &file())
    }

    #[test]
    fn single_ranges_give_a_part() {
        assert_eq!(range("bytes=0-0"), Selection::Part(0..1));
        assert_eq!(range("bytes=10-19"), Selection::Part(10..20));
        assert_eq!(range("Bytes = 990-"), Selection::Part(990..1000));
        assert_eq!(range("bytes=-10"), Selection::Part(990..1000));
        assert_eq!(range("bytes=-5000"), Selection::Part(0..1000));
        assert_eq!(
            range("bytes=5-99999999999999999999"),
            Selection::Part(5..1000)
        );
    }

    #[test]
    fn ranges_outside_the_file_cannot_be_satisfied() {
        assert_eq!(range("bytes=1000-"), Selection::Unsatisfiable);
        assert_eq!(range("bytes=-0"), Selection::Unsatisfiable);
        assert_eq!(
            range("bytes=99999999999999999999-"),
            Selection::Unsatisfiable
        );
    }

    #[test]
    fn several_ranges_and_nonsense_give_the_whole_file() {
        for value in [
            "bytes=0-1,5-6",
            "bytes=5-1",
            "lines=1-2",
            "bytes=",
            "bytes=-",
            "bytes",
            "bytes=a-b",
            "bytes=+1-2",
            "",
        ] {
            assert_eq!(range(value), Selection::Full, "{value}");
        }
    }

    #[test]
    fn if_range_decides_between_part_and_whole() {
        let with = |if_range| {
            let conditions = Conditions {
                range: Some(ByteRange::From(5, None)),
                if_range: Some(if_range),
                ..Conditions::default()
            };
            select(&conditions, &file())
        };
        assert_eq!(with("\"abc\""), Selection::Part(5..1000));
        assert_eq!(
            with("Sun, 06 Nov 1994 08:49:37 GMT"),
            Selection::Part(5..1000)
        );
        assert_eq!(with("\"other\""), Selection::Full);
        assert_eq!(with("W/\"abc\""), Selection::Full);
        assert_eq!(with("Sun, 06 Nov 1994 08:49:38 GMT"), Selection::Full);
        assert_eq!(with("rubbish"), Selection::Full);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let none_match = |tags| {
            let conditions = Conditions {
                if_none_match: Some(tags),
                if_modified_since: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                ..Conditions::default()
            };
            select(&conditions, &file())
        };
        assert_eq!(none_match("\"x\", W/\"abc\""), Selection::NotModified);
        assert_eq!(none_match("*"), Selection::NotModified);
        assert_eq!(
            none_match("\"x\""),
            Selection::Full,
            "the date is not looked at"
        );
        let since = |date| {
            let conditions = Conditions {
                if_modified_since: Some(date),
                ..Conditions::default()
            };
            select(&conditions, &file())
        };
        assert_eq!(
            since("Sun, 06 Nov 1994 08:49:37 GMT"),
            Selection::NotModified
        );
        assert_eq!(since("Sun, 06 Nov 1994 08:49:36 GMT"), Selection::Full);
        assert_eq!(since("yesterday"), Selection::Full);
    }

    #[test]
    fn failed_preconditions_come_first() {
        let conditions = Conditions {
            if_match: Some("\"x\""),
            if_none_match: Some("*"),
            ..Conditions::default()
        };
        assert_eq!(select(&conditions, &file()), Selection::PreconditionFailed);
        let conditions = Conditions {
            if_unmodified_since: Some("Sun, 06 Nov 1994 08:49:36 GMT"),
            ..Conditions::default()
        };
        assert_eq!(select(&conditions, &file()), Selection::PreconditionFailed);
    }
}
