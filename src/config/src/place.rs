//! From a key such as `machine[1].mac` to its place in the text, and the other way round.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Place;

/// Line and column of a byte offset.
#[must_use]
pub fn of_offset(file: &Path, text: &str, offset: usize) -> Place {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// A name as one part of a key: in quotes, as TOML has it, when it holds a dot.
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    if name.contains('.') {
        Cow::Owned(format!("\"{name}\""))
    } else {
        Cow::Borrowed(name)
    }
}

/// Where the value of `key` stands; of a key that is not there, the nearest table that is.
#[must_use]
pub fn of_key(root: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let mut table = root;
    let mut found = None;
    for part in parts(key) {
        let (name, index) = match part.strip_suffix(']').and_then(|p| p.split_once('[')) {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((key, value)) = table.iter().find(|(k, _)| k.get_ref() == name) else {
            break;
        };
        let value = match (index, value.get_ref()) {
            (Some(index), DeValue::Array(list)) => match list.get(index) {
                Some(value) => value,
                None => break,
            },
            _ => value,
        };
        match value.get_ref() {
            DeValue::Table(inner) => {
                // The span of a table is its header or its braces; an implied one has none.
                let span = value.span();
                found = Some(if span.is_empty() { key.span() } else { span });
                table = inner;
            }
            _ => return Some(value.span()),
        }
    }
    found
}

fn parts(key: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(key);
    std::iter::from_fn(move || {
        let whole = rest?;
        let quoted = whole
            .strip_prefix('"')
            .and_then(|inner| inner.split_once('"'));
        let (part, behind) = match quoted {
            Some((part, behind)) => (part, behind.strip_prefix('.')),
            None => match whole.split_once('.') {
                Some((part, behind)) => (part, Some(behind)),
                None => (whole, None),
            },
        };
        rest = behind;
        Some(part)
    })
}

/// Takes out the innermost entry whose key or value holds `span`, so that what remains can be
/// looked at for more problems. False when there is none.
pub(crate) fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (_, value) in table.iter_mut() {
        if remove_inside(value, span) {
            return true;
        }
    }
    let key = table
        .iter()
        .find(|(key, value)| holds(key.span()) || holds(value.span()))
        .map(|(key, _)| key.clone());
    key.is_some_and(|key| table.remove(&key).is_some())
}

fn remove_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(list) => list.iter_mut().any(|v| remove_inside(v, span)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n[t]\nk = \"é\"\n\"d.t\" = 3\n[[m]]\nx = 1\n[[m]]\nx = 2\n";

    fn at(key: &str) -> String {
        let root = DeTable::parse(TEXT).unwrap();
        of_key(root.get_ref(), key).map_or_else(
            || "nowhere".to_owned(),
            |span| {
                let place = of_offset(Path::new("f"), TEXT, span.start);
                format!("{}:{}", place.line, place.column)
            },
        )
    }

    #[test]
    fn keys_lead_to_their_values() {
        assert_eq!(at("a"), "1:5");
        assert_eq!(at("t.k"), "3:5");
        assert_eq!(at(&format!("t.{}", quoted("d.t"))), "4:9");
        assert_eq!(at("m[1].x"), "8:5");
        assert_eq!(at("m[1].missing"), "7:1");
        assert_eq!(at("missing"), "nowhere");
    }

    #[test]
    fn columns_count_characters_and_survive_any_offset() {
        let end = of_offset(Path::new("f"), TEXT, TEXT.find("\n[[m]]").unwrap());
        assert_eq!((end.line, end.column), (4, 10));
        for offset in 0..=TEXT.len() + 2 {
            assert!(of_offset(Path::new("f"), TEXT, offset).line >= 1);
        }
    }

    #[test]
    fn the_innermost_entry_is_removed() {
        let mut root = DeTable::parse(TEXT).unwrap();
        let offset = TEXT.rfind('2').unwrap();
        assert!(remove(root.get_mut(), &(offset..offset + 1)));
        assert!(of_key(root.get_ref(), "m[0].x").is_some());
        let left = root.get_ref().iter().find(|(k, _)| k.get_ref() == "m");
        let list = left.unwrap().1.get_ref().as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert!(!remove(root.get_mut(), &(1000..1001)));
    }
}
