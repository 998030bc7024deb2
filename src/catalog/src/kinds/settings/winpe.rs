//! The table `[winpe]`: what is made for machines that boot a Windows PE.

use serde::Deserialize;
use toml::Spanned;

use super::Diagnosis;

/// winpeshl.exe takes command lines of this length.
const LINE_MAX: usize = 250;

/// Command lines in each list.
const LINES_MAX: usize = 32;

/// What was said; the default for everything that was not said, or said wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WinPe {
    /// What is known of the machine is injected.
    pub(crate) parameters: bool,
    /// What runs first.
    pub(crate) before: Vec<String>,
    /// What runs last.
    pub(crate) after: Vec<String>,
    /// What runs instead of what the image itself starts.
    pub(crate) start: Vec<String>,
    /// The client is injected, and runs.
    pub(crate) client: bool,
    /// winpeshl.ini says what runs, not startnet.cmd.
    pub(crate) winpeshl: bool,
    /// File or template that becomes unattend.xml.
    pub(crate) unattend: Option<String>,
    /// Names of files that go over TLS alone.
    pub(crate) secret: Vec<String>,
}

impl Default for WinPe {
    fn default() -> Self {
        Self {
            parameters: true,
            before: Vec::new(),
            after: Vec::new(),
            start: Vec::new(),
            client: false,
            winpeshl: true,
            unattend: None,
            secret: Vec::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wire {
    parameters: Option<bool>,
    before: Vec<Spanned<String>>,
    after: Vec<Spanned<String>>,
    /// One command line, or several.
    start: Option<Spanned<toml::Value>>,
    client: bool,
    winpeshl: Option<bool>,
    unattend: Option<String>,
    secret: Vec<String>,
}

impl Wire {
    pub(super) fn check(self, diagnosis: &mut Diagnosis<'_>) -> WinPe {
        WinPe {
            parameters: self.parameters.unwrap_or(true),
            before: lines(places(&self.before), diagnosis),
            after: lines(places(&self.after), diagnosis),
            start: self
                .start
                .map(|given| start(&given, diagnosis))
                .unwrap_or_default(),
            client: self.client,
            winpeshl: self.winpeshl.unwrap_or(true),
            unattend: self.unattend,
            secret: self.secret,
        }
    }
}

fn start(given: &Spanned<toml::Value>, diagnosis: &mut Diagnosis<'_>) -> Vec<String> {
    let at = given.span().start;
    let values = match given.get_ref() {
        toml::Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts: Option<Vec<&str>> = values.iter().map(toml::Value::as_str).collect();
    match texts {
        Some(texts) => lines(texts.into_iter().map(|text| (at, text)), diagnosis),
        None => {
            diagnosis.at(
                at,
                "a command line is a text, and several are a list".into(),
            );
            Vec::new()
        }
    }
}

/// The lines, and where they are in the file.
fn places(given: &[Spanned<String>]) -> impl Iterator<Item = (usize, &str)> {
    let line = |line: &Spanned<String>| line.span().start;
    given
        .iter()
        .map(move |it| (line(it), it.get_ref().as_str()))
}

fn lines<'a>(
    given: impl Iterator<Item = (usize, &'a str)>,
    diagnosis: &mut Diagnosis<'_>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, line) in given {
        let text = line.trim();
        let wrong = if text.is_empty() {
            "the command line is empty".to_owned()
        } else if text.chars().any(char::is_control) {
            "the command line holds a control character".to_owned()
        } else if !text.is_ascii() {
            "the command line holds signs that are not ASCII, which Windows PE would take for \
             others"
                .to_owned()
        } else if text.len() > LINE_MAX {
            format!("winpeshl.exe takes command lines of {LINE_MAX} characters at most")
        } else if lines.len() == LINES_MAX {
            format!("more than {LINES_MAX} command lines")
        } else {
            lines.push(text.to_owned());
            continue;
        };
        diagnosis.at(at, wrong);
    }
    lines
}
