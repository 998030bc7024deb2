//! The admin token: made at first start, read by whoever may read the data folder.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ControlError;
use crate::files::{self, TOKEN};

/// The admin token. Only its digest is kept.
#[derive(Clone, Debug)]
pub struct AdminToken {
    digest: [u8; 32],
    path: PathBuf,
}

impl AdminToken {
    /// Reads `DATA/admin.token`, making it (32 random bytes in hexadecimal, mode 0600) when there
    /// is none.
    ///
    /// # Errors
    /// A file that cannot be read or written, or is too short to be a secret.
    pub fn open(data: &Path) -> Result<Self, ControlError> {
        let path = data.join("admin.token");
        let text = files::secret(&path, TOKEN)?;
        let token = text.trim();
        if token.len() < LENGTH_MIN || token.contains(char::is_whitespace) {
            return Err(ControlError::Token {
                code: TOKEN.damaged,
                path,
                what: "holds no token of 32 characters or more",
            });
        }
        let digest = Sha256::digest(token.as_bytes()).into();
        Ok(Self { digest, path })
    }

    /// Where it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares in a time that tells nothing of the token.
    #[must_use]
    pub fn is(&self, candidate: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(candidate.as_bytes()).into();
        digest.ct_eq(&self.digest).into()
    }
}

/// An owner may write a token of their own, but not a guessable one.
const LENGTH_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_made_once_and_private() {
        let data = tempfile::tempdir().unwrap();
        AdminToken::open(data.path()).unwrap();
        let path = data.path().join("admin.token");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 65);
        let token = AdminToken::open(data.path()).unwrap();
        assert_eq!(token.path(), path);
        assert!(token.is(text.trim()));
        assert!(!token.is(&text.trim()[1..]));
        assert!(!token.is(""));
        assert!(!format!("{token:?}").contains(text.trim()));
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let data = tempfile::tempdir().unwrap();
        for text in [
            "",
            "\n",
            "admin",
            "two words that are long enough to be a token",
        ] {
            fs::write(data.path().join("admin.token"), text).unwrap();
            let error = AdminToken::open(data.path()).unwrap_err();
            assert_eq!(error.code(), "web.token-damaged");
            assert!(error.to_string().contains("admin.token"), "{error}");
        }
        fs::remove_file(data.path().join("admin.token")).unwrap();
        fs::create_dir(data.path().join("admin.token")).unwrap();
        let error = AdminToken::open(data.path()).unwrap_err();
        assert_eq!(error.code(), "web.token-unreadable");
    }
}
