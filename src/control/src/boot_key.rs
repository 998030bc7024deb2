//! The secret behind the tokens in machines' URLs: made at first start.

use std::path::Path;

use bootstorm_policy::Tokens;

use crate::ControlError;
use crate::files::{self, BOOT_KEY};

/// Reads `DATA/token.key`, making it (32 random bytes in hexadecimal, mode 0600) when there is none.
/// Servers that stand in for each other have the same one.
///
/// # Errors
/// A file that cannot be read or written, or holds something else.
pub fn tokens(data: &Path) -> Result<Tokens, ControlError> {
    let path = data.join("token.key");
    let text = files::secret(&path, BOOT_KEY)?;
    let secret = bytes(text.trim()).ok_or(ControlError::Token {
        code: BOOT_KEY.damaged,
        path,
        what: "is not 64 hexadecimal digits",
    })?;
    Ok(Tokens::new(&secret))
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use bootstorm_policy::{BootId, Identity};

    use super::*;

    #[test]
    fn tokens_outlive_a_restart_and_the_key_is_private() {
        let data = tempfile::tempdir().unwrap();
        let machine = Identity {
            mac: "52:54:00:00:00:01".parse().ok(),
            ..Identity::default()
        };
        let now = SystemTime::now();
        let until = now + Duration::from_secs(60);
        let token = tokens(data.path())
            .unwrap()
            .issue(BootId(7), &machine, until);
        let path = data.path().join("token.key");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let after = tokens(data.path()).unwrap();
        assert_eq!(after.check(Some(&token), &machine, now).unwrap(), BootId(7));
        fs::remove_file(&path).unwrap();
        let other = tokens(data.path()).unwrap();
        assert!(other.check(Some(&token), &machine, now).is_err());
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let data = tempfile::tempdir().unwrap();
        for text in ["", "0123", &"g".repeat(64), &"+1".repeat(32)] {
            fs::write(data.path().join("token.key"), text).unwrap();
            let error = tokens(data.path()).unwrap_err();
            assert_eq!(error.code(), "boot.key-damaged", "{text}");
        }
    }
}
