//! What TOML and serde say of a file, as people are told it.

use std::path::Path;

use crate::{Diagnostic, Severity, place, suggest};

impl Diagnostic {
    /// A text that is no TOML.
    #[must_use]
    pub fn syntax(e: &toml::de::Error, text: &str, file: &Path) -> Self {
        let offset = e.span().map_or(0, |span| span.start);
        Self {
            severity: Severity::Error,
            code: "config.syntax",
            text: one_line(e.message()),
            hint: None,
            place: Some(place::of_offset(file, text, offset)),
        }
    }

    /// TOML with a key or a value that serde refuses. What it may have been a slip of is the hint.
    #[must_use]
    pub fn shape(e: &toml::de::Error, text: &str, file: &Path) -> Self {
        let span = e.span().unwrap_or(0..0);
        let place = place::of_offset(file, text, span.start);
        let message = one_line(e.message());
        let written = text.get(span).unwrap_or_default();
        let written = written.trim_matches(['"', '\'']);
        // Serde lists the alternatives in backquotes after the word `expected`.
        let expected = message.split_once("expected").map_or("", |(_, list)| list);
        let alternatives: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let code = if message.starts_with("unknown field") {
            "config.unknown-key"
        } else {
            "config.bad-value"
        };
        let meant = suggest::nearest(written, alternatives.iter().copied());
        let mut text = message
            .replace("unknown field", "there is no key")
            .replace("unknown variant", "there is no choice");
        for (rust, people) in RUST_TYPES {
            text = text.replace(rust, people);
        }
        if meant.is_some() {
            let shorter = text.split(", expected").next().map(str::to_owned);
            text = shorter.unwrap_or(text);
        }
        Self {
            severity: Severity::Error,
            code,
            text,
            hint: meant.map(|word| format!("did you mean `{word}`?")),
            place: Some(place),
        }
    }
}

/// How serde names what it expects, and what people call that.
const RUST_TYPES: [(&str, &str); 5] = [
    ("a nonzero u32", "a whole number from 1 on"),
    ("a nonzero u16", "a number from 1 to 65535"),
    ("expected u16", "expected a number from 0 to 65535"),
    (
        "expected u32",
        "expected a whole number that is not negative",
    ),
    ("path string", "a path"),
];

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
