//! Injected files that are written as templates, in the language of Jinja.
//!
//! What is put in belongs to machines and people: it is written so that it stays a value in the kind
//! of file that it stands in, by the extension of the file's name.

mod language;

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, Output, State, Value};

pub use language::{Bounded, SIZE_MAX, environment, explained};

/// What the names of templates end in, besides the name of the file that they become.
pub const EXTENSION: &str = ".j2";

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// Line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// Looks whether a template can be read.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(source: &[u8]) -> Result<(), Fault> {
    let source = text(source)?;
    let read = LANGUAGE.template_from_str(source);
    read.map(drop).map_err(|error| fault(&error))
}

/// The file of this name that a template becomes.
///
/// # Errors
/// What is wrong with it, and where.
pub fn fill(name: &str, source: &[u8], known: &Value) -> Result<Vec<u8>, Fault> {
    let template = LANGUAGE.template_from_named_str(name, text(source)?);
    let mut file = Bounded::default();
    template
        .and_then(|template| template.render_captured_to(known, &mut file).map(drop))
        .map_err(|error| fault(&error))?;
    let file = file.into_bytes();
    Ok(match Kind::of(name) {
        Kind::Lines | Kind::Script => with_crlf(&file),
        Kind::Markup | Kind::Json => file,
    })
}

static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = environment();
    language.set_auto_escape_callback(|name| AutoEscape::Custom(Kind::of(name).name().into()));
    language.set_formatter(written);
    for filter in ["escape", "e"] {
        language.remove_filter(filter);
    }
    language
});

/// What a file is read by.
#[derive(Clone, Copy)]
enum Kind {
    Markup,
    Json,
    /// Programs that a sign in a value could make do something else.
    Script,
    Lines,
}

impl Kind {
    fn of(name: &str) -> Self {
        let extension = name.rsplit('.').next().unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "xml" | "hta" | "html" | "htm" => Self::Markup,
            "json" => Self::Json,
            "cmd" | "bat" | "ps1" | "vbs" | "js" | "wsf" => Self::Script,
            _ => Self::Lines,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Markup => "markup",
            Self::Json => "json",
            Self::Script => "script",
            Self::Lines => "lines",
        }
    }

    fn named(name: &str) -> Self {
        let all = [Self::Markup, Self::Json, Self::Script, Self::Lines];
        let found = all.into_iter().find(|kind| kind.name() == name);
        found.unwrap_or(Self::Script)
    }

    /// A value as it stands in such a file.
    fn escaped(self, value: &str) -> String {
        let mut text = String::with_capacity(value.len());
        for sign in value.chars() {
            match (self, sign) {
                (Self::Json, '"' | '\\') => text.extend(['\\', sign]),
                (Self::Json, _) if sign.is_control() => {
                    let _ = write!(text, "\\u{:04x}", u32::from(sign));
                }
                (_, _) if sign.is_control() => text.push(' '),
                (Self::Markup, '&' | '<' | '>' | '"' | '\'') => {
                    let _ = write!(text, "&#{};", u32::from(sign));
                }
                (Self::Script, _) if !is_plain(sign) => text.push('_'),
                _ => text.push(sign),
            }
        }
        text
    }
}

/// cmd.exe, PowerShell and the others make nothing of it, whether it stands in quotes or not.
fn is_plain(sign: char) -> bool {
    sign.is_alphanumeric() || " -_.:/\\@+,=#~".contains(sign)
}

/// Safe is what the template's author has declared to be, and what macros have written.
fn written(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    // What is not known is nothing.
    if value.is_none() {
        return Ok(());
    }
    let text = value.to_string();
    match state.auto_escape() {
        AutoEscape::Custom(kind) if !value.is_safe() => {
            out.write_str(&Kind::named(kind).escaped(&text))?;
        }
        _ => out.write_str(&text)?,
    }
    Ok(())
}

fn text(source: &[u8]) -> Result<&str, Fault> {
    let fault = |text: String| Fault { line: 0, text };
    if source.len() > SIZE_MAX {
        return Err(fault(format!("it is larger than {SIZE_MAX} bytes")));
    }
    std::str::from_utf8(source).map_err(|error| fault(format!("it is not UTF-8 text: {error}")))
}

fn fault(error: &minijinja::Error) -> Fault {
    Fault {
        line: error.line().unwrap_or(0),
        text: explained(error),
    }
}

fn with_crlf(lines: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len() + lines.len() / 32);
    for byte in lines.iter().filter(|byte| **byte != b'\r') {
        if *byte == b'\n' {
            text.push(b'\r');
        }
        text.push(*byte);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(name: &str, source: &str, value: &str) -> String {
        let known = Value::from_pairs([("value", value)]);
        let file = fill(name, source.as_bytes(), &known).unwrap();
        String::from_utf8(file).unwrap()
    }

    #[test]
    fn a_value_stays_one_in_every_kind_of_file() {
        let hostile = "A&B<c>\"'\r\n%PATH%|$(x)`\u{2019}\\";
        let line = |name| filled(name, "v={{ value }};\n", hostile);
        assert_eq!(
            line("unattend.xml"),
            "v=A&#38;B&#60;c&#62;&#34;&#39;  %PATH%|$(x)`\u{2019}\\;\n"
        );
        let json = line("own.json");
        let json = json.trim_start_matches("v=").trim_end_matches(";\n");
        assert_eq!(json, "A&B<c>\\\"'\\u000d\\u000a%PATH%|$(x)`\u{2019}\\\\");
        for script in ["a.CMD", "a.ps1", "a.bat"] {
            assert_eq!(line(script), "v=A_B_c___  _PATH____x___\\;\r\n");
        }
        assert_eq!(line("own.ini"), "v=A&B<c>\"'  %PATH%|$(x)`\u{2019}\\;\r\n");
        assert_eq!(filled("a.xml", "{{ value|safe }}", "<x/>"), "<x/>");
        assert_eq!(filled("a.xml", "{{ none.at or value }}", "x"), "x");
        assert_eq!(
            filled(
                "a.cmd",
                "{% if nothing %}x{% endif %}{{ value|upper }}",
                "a&"
            ),
            "A_"
        );
    }

    #[test]
    fn a_broken_template_is_named_with_its_line() {
        let broken = check(b"one\ntwo {{ three\n").unwrap_err();
        assert_eq!(broken.line, 2, "{broken}");
        assert!(check(b"\xff").unwrap_err().text.contains("UTF-8"));
        assert!(check(&vec![b'x'; SIZE_MAX + 1]).is_err());
        check(b"{{ values.role }} {% include 'other' %}").unwrap();
        let fails = |source: &str| {
            let known = Value::from_pairs([("value", "x")]);
            fill("a.xml", source.as_bytes(), &known).unwrap_err()
        };
        assert_eq!(fails("\n{{ a.b.c }}").line, 2);
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(fails(endless).text.contains("steps"));
        let large = "{% set x = value * 90000 %}".to_owned() + &"{{ x }}".repeat(9);
        assert!(
            fill(
                "a.xml",
                large.as_bytes(),
                &Value::from_pairs([("value", "x")])
            )
            .is_err()
        );
    }
}
