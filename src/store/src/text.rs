//! Texts, as far as they may be stored.

use crate::StoreError;

/// Longest text, in bytes.
const TEXT_MAX: usize = 255;

/// Longest account of something, in bytes.
const BODY_MAX: usize = 1024;

/// Longest JSON that a machine tells of itself, in bytes.
const FACTS_MAX: usize = 16 * 1024;

/// Checks what people write.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), StoreError> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > TEXT_MAX {
        "it is longer than 255 bytes"
    } else if text.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    let text = beginning(text).escape_debug().to_string();
    Err(StoreError::BadText { what, text, why })
}

/// What machines send: as much of it as there is room for, without what PostgreSQL cannot hold.
pub(crate) fn beginning(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].replace('\0', "")
}

/// The same of a longer text.
pub(crate) fn body(text: &str) -> String {
    text[..text.floor_char_boundary(BODY_MAX)].replace('\0', "")
}

/// Checks JSON that is kept as it is.
pub(crate) fn check_body(what: &'static str, text: &str) -> Result<(), StoreError> {
    let why = if text.len() > FACTS_MAX {
        "it is longer than 16 KiB"
    } else if text.contains('\0') {
        "it holds a NUL"
    } else {
        return Ok(());
    };
    let text = beginning(text).escape_debug().to_string();
    Err(StoreError::BadText { what, text, why })
}
