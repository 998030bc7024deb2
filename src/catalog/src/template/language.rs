//! What templates of every kind have in common.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

/// Bytes of a template, and of what it becomes.
pub const SIZE_MAX: usize = 256 * 1024;

/// Steps that a template may take: some thousand lines.
const FUEL: u64 = 100_000;

/// The language, before anything is said of how values are written.
#[must_use]
pub fn environment() -> Environment<'static> {
    let mut language = Environment::new();
    // A line with nothing but a `{% tag %}` leaves no empty line behind, and one with an `include`
    // ends as the file does.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    if let Ok(syntax) = syntax {
        language.set_syntax(syntax);
    }
    language.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    language.set_fuel(Some(FUEL));
    // For the place of an error.
    language.set_debug(true);
    language
}

/// What is wrong, without the place.
#[must_use]
pub fn explained(error: &minijinja::Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => format!("takes more than {FUEL} steps"),
        ErrorKind::WriteFailure => format!("becomes larger than {SIZE_MAX} bytes"),
        kind => error
            .detail()
            .map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    }
}

/// Takes as many bytes as a template may become, and fails at the next one.
#[derive(Debug, Default)]
pub struct Bounded(Vec<u8>);

impl Bounded {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
