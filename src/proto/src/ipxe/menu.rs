//! Menus.

use std::time::Duration;

use super::script::{Label, Script};
use super::words::{display, milliseconds, variable};

/// A menu.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Menu {
    /// What stands above it.
    pub title: String,
    /// Its lines.
    pub items: Vec<MenuItem>,
}

/// A line of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuItem {
    /// Can be chosen.
    Choice {
        /// Where the script goes on.
        label: Label,
        /// What is shown.
        text: String,
        /// A letter or digit that chooses it at once.
        key: Option<char>,
    },
    /// A heading or, when empty, a gap.
    Gap(String),
}

/// How a menu is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The variable that gets the chosen label.
    pub variable: &'a str,
    /// What is chosen when nobody does.
    pub default: Option<&'a Label>,
    /// After this time; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Where the script goes on when the menu is left with the escape key.
    pub cancelled: &'a Label,
}

impl Script {
    /// Shows a menu and goes on at what is chosen.
    pub fn menu(&mut self, menu: &Menu, choice: &Choice<'_>) -> &mut Self {
        self.line(format!("menu {}", display(&menu.title)));
        for item in &menu.items {
            self.line(match item {
                MenuItem::Gap(text) => format!("item --gap {}", display(text)),
                MenuItem::Choice { label, text, key } => {
                    let key = key
                        .filter(char::is_ascii_alphanumeric)
                        .map_or_else(String::new, |key| format!("--key {key} "));
                    format!("item {key}{} {}", label.name(), display(text))
                }
            });
        }
        let mut command = String::from("choose");
        if let Some(timeout) = choice.timeout {
            command.push_str(&format!(" --timeout {}", milliseconds(timeout)));
        }
        if let Some(default) = choice.default {
            command.push_str(&format!(" --default {}", default.name()));
        }
        self.line(format!("{command} {}", variable(choice.variable)))
            .or_goto(choice.cancelled);
        self.goto_chosen(choice.variable)
    }
}
