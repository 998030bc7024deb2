//! How values stand in a script that a template makes.
//!
//! While a template runs, each value stands between two marks. Only the whole text shows what a value
//! stands next to, and that decides what it has to be written as: a `$` in the template and a value
//! that begins with `{` would make a setting together.

use std::fmt::Write as _;

/// The marks: of a value as text, of one as a part of a word, and of the end of both. Values hold
/// none of them.
const TEXT: char = '\u{f0000}';
const WORD: char = '\u{f0001}';
const END: char = '\u{f0002}';

/// A value as text for people: it may be several words.
pub(super) fn text(value: &str) -> String {
    marked(TEXT, value)
}

/// A value as it is, spaces included, as a part of one word.
pub(super) fn word(value: &str) -> String {
    marked(WORD, value)
}

/// A value in a URL.
pub(super) fn url(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Marks as text what of a string is not marked yet, as where a template has put marked values
/// together with others.
pub(super) fn marked_throughout(mixed: &str) -> String {
    let mut whole = String::new();
    let mut rest = mixed;
    while let Some(start) = rest.find([TEXT, WORD]) {
        let (plain, value) = rest.split_at(start);
        if !plain.is_empty() {
            whole.push_str(&text(plain));
        }
        let end = value
            .find(END)
            .map_or(value.len(), |at| at + END.len_utf8());
        let (value, after) = value.split_at(end);
        whole.push_str(value);
        if !value.ends_with(END) {
            whole.push(END);
        }
        rest = after;
    }
    if !rest.is_empty() {
        whole.push_str(&text(rest));
    }
    whole
}

/// A value stands where a command's name or a script's first line has to stand; the number is that
/// of the line in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InCommandPosition(pub(super) usize);

/// The script: every value is written so that iPXE makes nothing of it but itself. What cannot be
/// written is changed: a control character becomes a space, and a space comes between `$` and `{`.
/// In front of a word that begins with `-`, which would be an option, comes an apostrophe.
pub(super) fn written(marked: &str) -> Result<String, InCommandPosition> {
    let mut script = Writer::default();
    let mut kind = None;
    for sign in marked.chars() {
        match (sign, kind) {
            (TEXT | WORD, _) => kind = Some(sign),
            (END, _) => kind = None,
            (sign, None) => script.literal(sign),
            (sign, Some(kind)) => script.value(sign, kind == WORD)?,
        }
    }
    Ok(script.finish())
}

/// The value without marks, which a machine may have sent.
pub(super) fn unmarked(value: &str) -> String {
    value.replace([TEXT, WORD, END], "\u{fffd}")
}

fn marked(mark: char, value: &str) -> String {
    format!("{mark}{}{END}", unmarked(value))
}

/// What the script's settings hold that stand for signs: iPXE looks for separators before it expands
/// settings, so an expanded one separates nothing.
const ESCAPES: &str = "set hash:hex 23\nset bar:hex 7c\nset amp:hex 26\nset semi:hex 3b\n\
                       set back:hex 5c\nset sp:hex 20\n";

/// What every script begins with.
const FIRST_LINE: &str = "#!ipxe";

/// Where the script's text has got to.
#[derive(Default)]
struct Writer {
    text: String,
    /// Some value needed one of [`ESCAPES`].
    escapes: bool,
    /// The word that is being written.
    word: String,
    /// The command that is being written has its name.
    is_named: bool,
    /// The last sign is a `$` of a value.
    ends_with_dollar: bool,
    lines: usize,
}

impl Writer {
    fn literal(&mut self, sign: char) {
        match sign {
            '\n' => {
                // One that ends with a backslash goes on in the next line.
                if !self.text.ends_with('\\') {
                    self.end_word();
                    self.is_named = false;
                }
                self.lines += 1;
                self.text.push('\n');
            }
            '\r' => {}
            sign if sign.is_ascii_whitespace() => self.space(),
            sign => {
                if sign == '{' && self.ends_with_dollar {
                    self.space();
                }
                self.sign(sign);
            }
        }
        self.ends_with_dollar = false;
    }

    fn value(&mut self, sign: char, is_one_word: bool) -> Result<(), InCommandPosition> {
        let sign = if sign.is_control() { ' ' } else { sign };
        if !self.is_named && !self.word.starts_with(['#', ':']) {
            return Err(InCommandPosition(self.lines + 1));
        }
        match sign {
            ' ' if is_one_word => self.setting("sp"),
            ' ' => self.space(),
            '|' => self.setting("bar"),
            '&' => self.setting("amp"),
            ';' => self.setting("semi"),
            '#' => self.setting("hash"),
            '\\' => self.setting("back"),
            '{' if self.text.ends_with('$') => {
                if is_one_word {
                    self.setting("sp");
                } else {
                    self.space();
                }
                self.sign('{');
            }
            '-' if self.word.is_empty() => {
                self.sign('\'');
                self.sign('-');
            }
            sign => self.sign(sign),
        }
        self.ends_with_dollar = sign == '$';
        Ok(())
    }

    fn sign(&mut self, sign: char) {
        self.word.push(sign);
        self.text.push(sign);
    }

    fn setting(&mut self, name: &str) {
        self.escapes = true;
        let setting = format!("${{{name}:string}}");
        self.word.push_str(&setting);
        self.text.push_str(&setting);
    }

    fn space(&mut self) {
        self.end_word();
        self.text.push(' ');
    }

    fn end_word(&mut self) {
        match self.word.as_str() {
            "||" | "&&" | ";" => self.is_named = false,
            "" => {}
            // A command may follow a label in the same line, and nothing a comment.
            word => self.is_named |= !word.starts_with(':'),
        }
        self.word.clear();
    }

    fn finish(self) -> String {
        let body = self.text.trim();
        let body = body.strip_prefix(FIRST_LINE).unwrap_or(body).trim_start();
        let escapes = if self.escapes { ESCAPES } else { "" };
        format!("{FIRST_LINE}\n{escapes}{body}\n")
    }
}
