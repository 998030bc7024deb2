//! Keys of a keyboard.

use std::fmt;
use std::str::FromStr;

/// A key, as iPXE's commands `prompt` and `item` take it. The enter key is none: consoles differ in
/// the code that they give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u16);

impl Key {
    /// A letter, a digit or another sign of the ASCII keyboard.
    #[must_use]
    pub fn of_char(sign: char) -> Option<Self> {
        let byte = u8::try_from(sign).ok().filter(u8::is_ascii_graphic)?;
        Some(Self(byte.into()))
    }
}

/// In hexadecimal, which iPXE always takes for a number and never for a sign.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)
    }
}

/// `space`, `esc`, `f5` to `f12`, or one sign.
impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut signs = text.chars();
        if let (Some(sign), None) = (signs.next(), signs.next()) {
            return Self::of_char(sign).ok_or_else(|| unknown(text));
        }
        let code = match text.to_ascii_lowercase().as_str() {
            "space" => 0x20,
            "esc" | "escape" => 0x1b,
            "f5" => function(15),
            "f6" => function(17),
            "f7" => function(18),
            "f8" => function(19),
            "f9" => function(20),
            "f10" => function(21),
            "f11" => function(23),
            "f12" => function(24),
            _ => return Err(unknown(text)),
        };
        Ok(Self(code))
    }
}

/// A key that terminals send as `ESC [ number ~` (src/include/ipxe/keys.h of iPXE).
const fn function(number: u16) -> u16 {
    0x100 * (number + 1) + 0x7e
}

fn unknown(text: &str) -> String {
    format!(
        "`{}` is no key: space, esc, f5 to f12, or one letter, digit or sign",
        text.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_ipxe_numbers_them() {
        let written = |text: &str| text.parse::<Key>().map(|key| key.to_string());
        for (text, number) in [
            ("space", "0x20"),
            ("esc", "0x1b"),
            ("f8", "0x147e"),
            ("F12", "0x197e"),
            ("n", "0x6e"),
            ("7", "0x37"),
            ("|", "0x7c"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(number));
        }
        for text in ["", "enter", "f1", "f13", "any", "ab", "\u{e4}", "\n", " "] {
            assert!(written(text).is_err(), "{text:?}");
        }
    }
}
