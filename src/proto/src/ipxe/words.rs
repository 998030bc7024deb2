//! What may stand in a line of an iPXE script.
//!
//! iPXE cuts a line at white space, with no quotes and no escapes. A word `||`, `&&` or `;` ends
//! the command, a word that begins with `#` begins a comment, a word that begins with `-` is an
//! option, and then every `${name}` is replaced, again and again until none is left. So a literal
//! `${` cannot be written at all.

use std::fmt;
use std::time::Duration;

/// A value that cannot be written into a script without changing what the script does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be written into an iPXE script: {why} (`{shown}`)")]
pub struct Unsafe {
    /// What was to be written, for example `the command line`.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
    /// The value, escaped and cut.
    pub shown: String,
}

/// A URL, percent-encoded so that it is one word and expands nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(String);

impl Url {
    /// Takes an absolute URL. What a URL must not hold is percent-encoded; `%` is left alone.
    ///
    /// # Errors
    /// [`Unsafe`] when there is no scheme.
    pub fn new(url: &str) -> Result<Self, Unsafe> {
        let (scheme, _) = url.split_once("://").unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(plain) {
            return Err(refuse("the URL", "it does not begin with scheme://", url));
        }
        Ok(Self(encode(url, b"-._~:/?[]@!'()*+,;=&%")))
    }

    /// Adds a path below this URL, whatever characters its names hold.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let base = self.0.trim_end_matches('/');
        Self(format!(
            "{base}/{}",
            encode(path.trim_start_matches('/'), b"-._~/")
        ))
    }

    /// Adds a pair to the query, whatever characters it holds.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let (name, value) = (encode(name, b"-._~"), encode(value, b"-._~"));
        Self(format!("{}{}{name}={value}", self.0, self.separator()))
    }

    /// Adds a pair to the query whose value the client fills in, percent-encoded. A setting that
    /// holds no text, such as an address, has to name its type (`netX/mac:hex`): iPXE would encode
    /// its raw bytes.
    #[must_use]
    pub fn with_setting(&self, name: &str, setting: Setting) -> Self {
        let name = encode(name, b"-._~");
        let setting = setting.0;
        let form = if setting.contains(':') {
            ""
        } else {
            ":uristring"
        };
        Self(format!(
            "{}{}{name}=${{{setting}{form}}}",
            self.0,
            self.separator(),
        ))
    }

    fn separator(&self) -> char {
        if self.0.contains('?') { '&' } else { '?' }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Arguments of a kernel or program, as words: what is given is what the program gets, except that
/// several white-space characters become one space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(String);

impl Arguments {
    /// Takes a command line.
    ///
    /// # Errors
    /// [`Unsafe`] for control characters other than the tab and for `${`.
    pub fn new(line: &str) -> Result<Self, Unsafe> {
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(refuse(
                "the command line",
                "it holds a control character",
                line,
            ));
        }
        if line.contains("${") {
            return Err(refuse("the command line", "iPXE would expand `${`", line));
        }
        let words: Vec<String> = line.split_ascii_whitespace().map(written).collect();
        Ok(Self(words.join(" ")))
    }

    /// Nothing to add to the command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an iPXE setting, to be expanded by the client: `netX/mac`, `uuid`, `platform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setting(&'static str);

impl Setting {
    /// Takes a name of letters, digits, `/`, `-`, `.`, `_` and `:`; other characters end it.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._:".contains(&b);
        let end = name.bytes().position(|b| !plain(b)).unwrap_or(name.len());
        Self(name.get(..end).unwrap_or_default())
    }

    pub(super) fn name(self) -> &'static str {
        self.0
    }
}

/// Text for people, made harmless: control characters become spaces, `${` is pulled apart, a word
/// that iPXE would act on gets an apostrophe in front.
pub(super) fn display(text: &str) -> String {
    let clean: String = text
        .chars()
        .take(DISPLAY_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let clean = clean.replace("${", "$ {");
    let words: Vec<String> = clean
        .split_ascii_whitespace()
        .map(|word| {
            if acted_on(word) || word.starts_with('-') {
                format!("'{word}")
            } else {
                word.to_owned()
            }
        })
        .collect();
    words.join(" ")
}

/// A name for a label, an image or a parameter: letters, digits, `_`, `-` and `.`, never empty and
/// never taken for an option.
pub(super) fn identifier(text: &str) -> String {
    let mut name: String = text
        .chars()
        .take(64)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-._".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        name.insert(0, 'x');
    }
    name
}

/// A name for a variable: in the names of settings, `.` and `-` mean something.
pub(super) fn variable(text: &str) -> String {
    identifier(text).replace(['.', '-'], "_")
}

/// A path inside a RAM disk or a WIM: one word.
pub(super) fn path_word(text: &str) -> Result<String, Unsafe> {
    let what = "the file name";
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse(
            what,
            "it holds white space or a control character",
            text,
        ));
    }
    if text.is_empty() || text.contains("${") || text.starts_with('-') || acted_on(text) {
        return Err(refuse(what, "iPXE would act on it", text));
    }
    Ok(text.to_owned())
}

/// Milliseconds, as iPXE takes times; at most a day.
pub(super) fn milliseconds(time: Duration) -> u128 {
    time.as_millis().min(86_400_000)
}

/// The settings that stand for the words that end a command.
pub(super) const ESCAPES: &str =
    "set hash:hex 23\nset bar:hex 7c\nset amp:hex 26\nset semi:hex 3b\n";
/// A script that holds this text needs [`ESCAPES`].
pub(super) const ESCAPE_MARK: &str = ":string}";

/// Characters of text for people that are kept.
const DISPLAY_MAX: usize = 512;

/// The word as it has to be written for iPXE to pass it on unchanged. Command separators are looked
/// for before settings are expanded, so an expanded one separates nothing.
fn written(word: &str) -> String {
    match word {
        "||" => "${bar:string}|".to_owned(),
        "&&" => "${amp:string}&".to_owned(),
        ";" => "${semi:string}".to_owned(),
        _ => word
            .strip_prefix('#')
            .map_or_else(|| word.to_owned(), |rest| format!("${{hash:string}}{rest}")),
    }
}

fn acted_on(word: &str) -> bool {
    matches!(word, "||" | "&&" | ";") || word.starts_with('#')
}

fn encode(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn refuse(what: &'static str, why: &'static str, value: &str) -> Unsafe {
    Unsafe {
        what,
        why,
        shown: value
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_one_word_and_expand_nothing() {
        let base = Url::new("http://10.0.0.1:8080/images/").unwrap();
        assert_eq!(
            base.join("/Win 11/${x}#&;ü.wim").to_string(),
            "http://10.0.0.1:8080/images/Win%2011/%24%7Bx%7D%23%26%3B%C3%BC.wim"
        );
        assert_eq!(
            base.with_query("a b", "c&d")
                .with_query("e", "f")
                .to_string(),
            "http://10.0.0.1:8080/images/?a%20b=c%26d&e=f"
        );
        assert_eq!(
            Url::new("https://[fd00::1]:8050/boot?x=${y} z\n")
                .unwrap()
                .to_string(),
            "https://[fd00::1]:8050/boot?x=%24%7By%7D%20z%0A"
        );
        for text in ["", "/boot", "://x", "java script://x", "-x y://"] {
            assert!(Url::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn separators_in_a_command_line_reach_the_kernel() {
        let arguments = Arguments::new("root=/dev/sda  quiet || && ; #x a#b\tc").unwrap();
        assert_eq!(
            arguments.to_string(),
            "root=/dev/sda quiet ${bar:string}| ${amp:string}& ${semi:string} ${hash:string}x a#b c"
        );
    }

    #[test]
    fn command_lines_that_would_change_are_refused() {
        for line in ["a\nb", "a\rb", "a\0", "x=${mac}", "\u{85}", "a\u{b}b"] {
            assert!(Arguments::new(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn text_for_people_stays_readable() {
        assert_eq!(display("Dell Inc.  OptiPlex"), "Dell Inc. OptiPlex");
        assert_eq!(display("-n a || b; ; #1 ${x}"), "'-n a '|| b; '; '#1 $ {x}");
        assert_eq!(display("a\nexit\r\u{b}"), "a exit");
        assert_eq!(display("$${"), "$$ {");
    }

    #[test]
    fn identifiers_are_never_options() {
        assert_eq!(identifier("Windows 11/x64"), "Windows_11_x64");
        assert_eq!(identifier("--replace"), "x--replace");
        assert_eq!(identifier(""), "x");
    }

    #[test]
    fn variables_are_plain_names() {
        assert_eq!(variable("net0.dhcp/x-1"), "net0_dhcp_x_1");
    }

    #[test]
    fn setting_names_cannot_close_their_braces() {
        assert_eq!(Setting::new("netX/mac:hexhyp").name(), "netX/mac:hexhyp");
        assert_eq!(Setting::new("a} && exit ${b").name(), "a");
    }
}
