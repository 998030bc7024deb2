//! The text of a script.

use std::sync::Arc;

use crate::machine::url::Url;

/// A script, and where in it iPXE is.
#[derive(Clone, Debug)]
pub(super) struct Script {
    text: Arc<str>,
    /// Where it came from: what its relative URLs are relative to.
    pub(super) url: Url,
    /// The byte behind the last line that was taken.
    next: usize,
}

impl Script {
    /// At its first line.
    pub(super) const fn new(text: Arc<str>, url: Url) -> Self {
        Self { text, url, next: 0 }
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The words of the next line that has any; a line that ends in a backslash goes on in the
    /// next. Comments and labels have none.
    pub(super) fn line(&mut self) -> Option<Vec<String>> {
        while self.next < self.text.len() {
            let mut joined = cut(&self.text, &mut self.next).to_owned();
            while joined.ends_with('\\') && self.next < self.text.len() {
                joined.pop();
                joined.push_str(cut(&self.text, &mut self.next));
            }
            let line = joined.trim_start();
            if line.starts_with(':') {
                continue;
            }
            let words = line.split_ascii_whitespace();
            let words = words.take_while(|word| !word.starts_with('#'));
            let words: Vec<String> = words.map(str::to_owned).collect();
            if !words.is_empty() {
                return Some(words);
            }
        }
        None
    }

    /// Goes on behind a label; tells whether there is one of that name.
    pub(super) fn goto(&mut self, label: &str) -> bool {
        let mut next = 0;
        while next < self.text.len() {
            let line = cut(&self.text, &mut next).trim_start();
            let name = line.strip_prefix(':').map(|rest| {
                let mut words = rest.split_ascii_whitespace();
                words.next().unwrap_or_default()
            });
            if name == Some(label) {
                self.next = next;
                return true;
            }
        }
        false
    }

    /// The number of the line that was taken last, from 1.
    pub(super) fn number(&self) -> usize {
        let before = self.text.as_bytes().get(..self.next).unwrap_or_default();
        let breaks = before.iter().filter(|byte| **byte == b'\n').count();
        breaks + usize::from(!before.ends_with(b"\n"))
    }
}

/// Takes the line at `next`, without its end.
fn cut<'a>(text: &'a str, next: &mut usize) -> &'a str {
    let rest = text.get(*next..).unwrap_or_default();
    let (line, length) = match rest.find('\n') {
        Some(end) => (&rest[..end], end + 1),
        None => (rest, rest.len()),
    };
    *next += length.max(1);
    line.strip_suffix('\r').unwrap_or(line)
}
