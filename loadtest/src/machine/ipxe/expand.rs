//! `${name}` in the words of a script.

/// Replacements in one word: a setting may hold further references.
const ROUNDS_MAX: usize = 64;
/// Bytes of a word.
const WORD_MAX: usize = 4096;

/// Replaces each reference by what `setting` says of it, the innermost first, until none is left.
///
/// # Errors
/// It does not come to an end.
pub(super) fn expand(word: &str, setting: impl Fn(&str) -> String) -> Result<String, &'static str> {
    let mut text = word.to_owned();
    for _ in 0..ROUNDS_MAX {
        let Some((start, end)) = innermost(&text) else {
            return Ok(text);
        };
        let value = setting(&text[start + 2..end]);
        if text.len() + value.len() > WORD_MAX {
            return Err("a word of more than 4 KiB");
        }
        text.replace_range(start..=end, &value);
    }
    Err("a setting that holds itself")
}

/// Where the first reference that holds no other begins and ends.
fn innermost(text: &str) -> Option<(usize, usize)> {
    let open = text.find("${")?;
    let end = open + text[open..].find('}')?;
    let start = text[..end].rfind("${")?;
    Some((start, end))
}
