//! What a file is: a script, a program, or something that it should not be.

use std::sync::Arc;

use crate::finding::{Code, Finding};
use crate::machine::body::{SCRIPT_MAX, is_script};
use crate::machine::fetch::Loaded;
use crate::machine::io::World;

/// Characters of a text that are shown.
const SHOWN: usize = 60;

/// The text of a file that is a script; `None` for programs and data.
///
/// # Errors
/// The file `is_run`, and is neither a script nor a program.
pub(super) fn script(
    loaded: &Loaded,
    is_run: bool,
    world: &mut World<'_>,
) -> Result<Option<Arc<str>>, Finding> {
    let url = &loaded.url;
    let text = loaded.fetched.text.as_deref().unwrap_or_default();
    let wrong = |code, what: &str| Err(Finding::new(code, format!("{url}: {what}")));
    if is_script(text) {
        return match std::str::from_utf8(text) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => wrong(Code::ScriptNotAScript, "the script is no UTF-8"),
        };
    }
    let begin: String = String::from_utf8_lossy(text).chars().take(SHOWN).collect();
    if is_html(text) {
        if is_run {
            return wrong(Code::ScriptHtml, &begin);
        }
        world.finding(Code::HttpType, format!("{url}: an HTML page: {begin}"));
    } else if loaded.kind.as_deref() == Some("text/html") {
        world.finding(Code::HttpType, format!("{url}: text/html"));
    }
    if is_run && loaded.fetched.text.is_none() {
        return wrong(
            Code::ScriptTooLarge,
            &format!("more than {SCRIPT_MAX} bytes"),
        );
    }
    if is_run && is_text(text) {
        return wrong(Code::ScriptNotAScript, &begin);
    }
    Ok(None)
}

fn is_html(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.trim_ascii_start();
    ["<!doctype html", "<html"].iter().any(|begin| {
        let start = text.get(..begin.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(begin.as_bytes()))
    })
}

/// Programs hold bytes that no text has; nothing at all is no program either.
fn is_text(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    bytes.iter().all(plain) && std::str::from_utf8(bytes).is_ok()
}
