//! What is said of a file's bytes, by its server and by the scenario.

use super::copies::{Content, Standing};
use crate::finding::{Code, Finding};
use crate::machine::plan::Plan;

/// What a server says of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// Hexadecimal digits that the SHA-256 begins with.
    pub(crate) digits: String,
    /// They are known to be those of the SHA-256; else they may be anything's.
    pub(crate) certain: bool,
}

/// A file that machines have copies of. One of which the server says something else while the
/// storm goes on is another file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Original {
    /// Its URL, without a query.
    pub(crate) name: String,
    told: Option<Told>,
    /// What the scenario says that it hashes to.
    expected: Option<[u8; 32]>,
}

impl Original {
    /// The file with this URL.
    pub(crate) fn of(url: &str, told: Option<&Told>, plan: &Plan) -> Self {
        let name = url.split(['?', '#']).next().unwrap_or(url);
        let mut expected = plan.expected.iter();
        let expected = expected.find(|expected| name.ends_with(&expected.name));
        Self {
            name: name.to_owned(),
            told: told.cloned(),
            expected: expected.map(|expected| expected.sha256),
        }
    }

    /// Somebody has said what it hashes to, or may have.
    pub(super) const fn is_told(&self) -> bool {
        self.expected.is_some() || self.told.is_some()
    }

    /// Somebody has said what it hashes to.
    pub(super) fn is_certain(&self) -> bool {
        self.expected.is_some() || self.told.as_ref().is_some_and(|told| told.certain)
    }

    /// Whether this is the SHA-256 that was given; false where none was.
    ///
    /// # Errors
    /// It is another: who says so, and what they say.
    pub(super) fn is(&self, sha256: &[u8; 32]) -> Result<bool, String> {
        if let Some(expected) = self.expected
            && expected != *sha256
        {
            return Err(format!("the scenario says {}", hex::encode(expected)));
        }
        let digits = hex::encode(sha256);
        match &self.told {
            Some(told) if digits.starts_with(&told.digits) => Ok(true),
            Some(told) if told.certain => Err(format!("the server's ETag says {}", told.digits)),
            _ => Ok(self.expected.is_some()),
        }
    }

    /// Whether a copy is verified.
    ///
    /// # Errors
    /// [`Code::BodyWrongSha256`].
    pub(crate) fn judge(&self, content: Content, standing: Standing) -> Result<bool, Finding> {
        let evidence = match standing {
            Standing::Unknown => return Ok(false),
            Standing::Hashed(sha256) => match self.is(&sha256) {
                Ok(verified) => return Ok(verified),
                Err(other) => format!(
                    "{} bytes with the SHA-256 {}; {other}",
                    content.bytes,
                    hex::encode(sha256)
                ),
            },
            Standing::Other(right, sha256) => format!(
                "{content}; a right copy has {right} and the SHA-256 {}",
                hex::encode(sha256)
            ),
        };
        let evidence = format!("{}: {evidence}", self.name);
        Err(Finding::new(Code::BodyWrongSha256, evidence))
    }
}
