//! The names that an expression looks at.

use serde_json::Value;

/// A name with dots, such as `smbios.serial`, and where in the expression it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) offset: usize,
    pub(super) text: &'a str,
}

/// What becomes of a name among facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has a value, or is no fact's.
    Known,
    /// It is null, or nobody sent it.
    Unknown,
    /// There is none of that name.
    Nowhere,
}

impl Name<'_> {
    /// Looks for it. What machines send as they like, and values of their own, may be there or not.
    pub(super) fn among(self, facts: &Value) -> Found {
        let mut names = self.text.split('.');
        let Some(mut found) = names.next().and_then(|name| facts.get(name)) else {
            return Found::Known;
        };
        let mut is_open = self.text.starts_with("params");
        for name in names {
            // Behind a value stands a function of it.
            let Some(object) = found.as_object() else {
                break;
            };
            found = match object.get(name) {
                Some(inner) => inner,
                None if is_open => return Found::Unknown,
                None => return Found::Nowhere,
            };
            is_open |= name == "values";
        }
        if found.is_null() {
            Found::Unknown
        } else {
            Found::Known
        }
    }
}

/// The names of an expression, without what stands in quotes or comments. Of a function that is
/// called on a value only the value is named.
pub(super) fn names(source: &str) -> impl Iterator<Item = Name<'_>> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        loop {
            let text = source.get(rest..)?;
            let first = text.chars().next()?;
            let length = token(text, first, source[..rest].chars().next_back());
            let offset = rest;
            rest += length;
            let is_member = source[..offset].ends_with('.');
            if is_member || !(first.is_ascii_alphabetic() || first == '_') {
                continue;
            }
            let text = &text[..length];
            let is_called = source[rest..].trim_start().starts_with('(');
            let text = match text.rsplit_once('.') {
                Some((value, _)) if is_called => value,
                _ if is_called => continue,
                _ => text,
            };
            return Some(Name { offset, text });
        }
    })
}

/// The bytes of what begins here: a name, a number, a text in quotes, a comment, or one sign.
fn token(text: &str, first: char, before: Option<char>) -> usize {
    let end = |found: Option<usize>| found.unwrap_or(text.len());
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if first == '"' || first == '\'' {
        let is_raw = matches!(before, Some('r' | 'R'));
        let mut is_escaped = false;
        let close = text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == first && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped && !is_raw;
            ends
        });
        return end(close.map(|(at, _)| at + 1));
    }
    if text.starts_with("//") {
        return end(text.find('\n'));
    }
    if part(first) && first != '.' {
        return end(text.find(|c| !part(c)));
    }
    first.len_utf8()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(source: &str) -> Vec<&str> {
        names(source).map(|name| name.text).collect()
    }

    #[test]
    fn names_are_told_from_texts_functions_and_numbers() {
        assert_eq!(
            found("smbios.serial.startsWith('a.b \\' c') && 7 in firmware.arch"),
            ["smbios.serial", "in", "firmware.arch"]
        );
        assert_eq!(
            found("version_lt(smbios.bios_version, \"1.10\") // and hostname"),
            ["smbios.bios_version"]
        );
        assert_eq!(
            found("firmware.arch[0].x == r'\\' || a"),
            ["firmware.arch", "r", "a"]
        );
        assert_eq!(found("'open"), [""; 0]);
        assert_eq!(found("\u{e9}.a"), [""; 0]);
    }

    #[test]
    fn a_name_is_known_or_unknown_or_none() {
        let facts = json!({
            "smbios": {"serial": null, "product": "X"}, "params": {}, "hostname": null,
            "machine": {"values": {"seat": "7"}},
        });
        let among = |text| Name { offset: 0, text }.among(&facts);
        assert_eq!(among("smbios.product"), Found::Known);
        assert_eq!(among("smbios.product.size"), Found::Known);
        assert_eq!(among("smbios.serial"), Found::Unknown);
        assert_eq!(among("hostname"), Found::Unknown);
        assert_eq!(among("params.offerid"), Found::Unknown);
        assert_eq!(among("machine.values.room"), Found::Unknown);
        assert_eq!(among("smbios.prodct"), Found::Nowhere);
        assert_eq!(among("machine.value"), Found::Nowhere);
        assert_eq!(among("size"), Found::Known);
    }
}
