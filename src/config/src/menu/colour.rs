//! Colours of menus.

use std::str::FromStr;

use serde::Deserialize;

use crate::lint::{Finding, shortened};
use crate::load::read_or_note;

/// One of the eight colours that every console has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// 0
    Black,
    /// 1
    Red,
    /// 2
    Green,
    /// 3
    Yellow,
    /// 4
    Blue,
    /// 5
    Magenta,
    /// 6
    Cyan,
    /// 7
    White,
}

/// A colour on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourPair {
    /// Of the letters.
    pub foreground: Colour,
    /// Behind them.
    pub background: Colour,
}

/// The colours of a menu; the default is iPXE's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MenuColours {
    /// Lines that can be chosen.
    pub text: ColourPair,
    /// The line that is chosen at this moment.
    pub selected: ColourPair,
    /// Headings.
    pub heading: ColourPair,
}

impl Default for MenuColours {
    fn default() -> Self {
        let on = |foreground, background| ColourPair {
            foreground,
            background,
        };
        Self {
            text: on(Colour::White, Colour::Blue),
            selected: on(Colour::White, Colour::Red),
            heading: on(Colour::Cyan, Colour::Blue),
        }
    }
}

const NAMES: [(&str, Colour); 8] = [
    ("black", Colour::Black),
    ("red", Colour::Red),
    ("green", Colour::Green),
    ("yellow", Colour::Yellow),
    ("blue", Colour::Blue),
    ("magenta", Colour::Magenta),
    ("cyan", Colour::Cyan),
    ("white", Colour::White),
];

impl FromStr for ColourPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let colour = |name: &str| {
            let found = NAMES.iter().find(|(known, _)| *known == name.trim());
            found.map(|(_, colour)| *colour)
        };
        let pair = text
            .split_once(" on ")
            .and_then(|(foreground, background)| {
                Some(Self {
                    foreground: colour(foreground)?,
                    background: colour(background)?,
                })
            });
        pair.ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            let text = shortened(text);
            format!("`{text}` is not such as `white on blue`; there are {names}")
        })
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    text: Option<String>,
    selected: Option<String>,
    heading: Option<String>,
}

pub(super) fn take(table: &str, written: &Written, findings: &mut Vec<Finding>) -> MenuColours {
    let mut read = |name: &str, text: &Option<String>, usual| {
        let key = || format!("{table}.colours.{name}");
        read_or_note(text.as_deref(), key, findings).unwrap_or(usual)
    };
    let usual = MenuColours::default();
    MenuColours {
        text: read("text", &written.text, usual.text),
        selected: read("selected", &written.selected, usual.selected),
        heading: read("heading", &written.heading, usual.heading),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_colours_are_read() {
        let pair: ColourPair = "yellow on black".parse().unwrap();
        assert_eq!(pair.foreground, Colour::Yellow);
        assert_eq!(pair.background, Colour::Black);
        for bad in ["", "yellow", "yellow on", "pink on blue", "red  blue"] {
            assert!(bad.parse::<ColourPair>().is_err(), "{bad}");
        }
    }
}
