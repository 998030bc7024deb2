//! How clients spell paths.

use crate::LookupError;

/// Longest path that can be asked for, in bytes after normalising.
pub const MAX_PATH: usize = 1024;

/// A normalised path on the stack: lower case, `/` between parts, none at the ends.
pub(crate) struct Normal {
    bytes: [u8; MAX_PATH],
    len: usize,
}

impl Normal {
    /// Normalises `asked` behind `prefix`, which is normal already and ends with `/` or is empty.
    pub(crate) fn new(prefix: &str, asked: &str) -> Result<Self, LookupError> {
        let mut normal = Self {
            bytes: [0; MAX_PATH],
            len: 0,
        };
        normal.push(prefix)?;
        let root = normal.len;
        let mut first = true;
        for part in asked.split(['/', '\\']) {
            check_part(part, first)?;
            if part.is_empty() || part == "." {
                continue;
            }
            first = false;
            if normal.len > root {
                normal.push("/")?;
            }
            for c in part.chars().flat_map(char::to_lowercase) {
                normal.push(c.encode_utf8(&mut [0; 4]))?;
            }
        }
        if normal.len == root {
            return Err(LookupError::NotFound);
        }
        Ok(normal)
    }

    /// The path from byte `from`, which must be where the prefix ends, or 0.
    pub(crate) fn after(&self, from: usize) -> &str {
        self.bytes
            .get(from..self.len)
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or_default()
    }

    fn push(&mut self, text: &str) -> Result<(), LookupError> {
        let end = self.len + text.len();
        let room = self
            .bytes
            .get_mut(self.len..end)
            .ok_or(LookupError::NotFound)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn check_part(part: &str, first: bool) -> Result<(), LookupError> {
    let drive = |p: &str| matches!(p.as_bytes(), [l, b':', ..] if l.is_ascii_alphabetic());
    if part == ".." || part.chars().any(char::is_control) || (first && drive(part)) {
        return Err(LookupError::Forbidden);
    }
    Ok(())
}
