//! What is wrong with a file or an entry, for `doctor`, the log and the console.

use std::borrow::Cow;
use std::fmt;

/// One thing that keeps a file or an entry from being what its owner meant it to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File or folder below the images folder, with `/`; a line number may follow after a colon.
    pub path: String,
    /// Stable code, see docs/reference/reasons.md.
    pub code: &'static str,
    /// What is wrong and what to do about it, with the evidence in it.
    pub text: Cow<'static, str>,
}

impl Problem {
    /// Makes a problem.
    pub fn new(
        path: impl Into<String>,
        code: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            path: path.into(),
            code,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file name may hold a newline or an escape sequence; the log must not.
        for c in self.path.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        write!(f, ": {} [{}]", self.text, self.code)
    }
}
