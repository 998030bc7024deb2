//! Menus of the configuration: the `[[menu]]` tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::duration::Span;
use crate::lint::{Finding, shortened};
use crate::load::read_or_note;
use crate::rule::{lint_choice, menu_name_problem};
use crate::{BootChoice, Config};

mod colour;

pub use colour::{Colour, ColourPair, MenuColours};

/// One `[[menu]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MenuConfig {
    /// Name that `menu:NAME` leads to.
    pub name: String,
    /// Its first line.
    pub title: Option<String>,
    /// How long it waits before it takes the default; zero waits for ever.
    pub timeout: Duration,
    /// Name of the item that it takes then; without one the machine goes on to its next boot
    /// device.
    pub default: Option<String>,
    /// Picture behind it: a PNG file in the images folder.
    pub picture: Option<String>,
    /// Its colours, where they are not iPXE's own.
    pub colours: Option<MenuColours>,
    /// What it is locked with.
    pub lock: Option<MenuLock>,
    /// Its lines.
    pub items: Vec<MenuItem>,
}

/// What a menu is locked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuLock {
    /// Digits that stand in the configuration.
    Pin(String),
    /// File whose first line is the password.
    PasswordFile(PathBuf),
}

/// One line of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MenuItem {
    /// Name that `default` means.
    pub name: Option<String>,
    /// What the line says.
    pub text: String,
    /// Key that takes it.
    pub key: Option<char>,
    /// Expression over the facts: machines that it does not fit do not see the line.
    pub when: Option<String>,
    /// Added to the kernel's command line.
    pub arguments: Option<String>,
    /// What it does.
    pub does: ItemAction,
}

/// What a line of a menu does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemAction {
    /// Nothing: a line between others.
    Gap,
    /// Boots something or leads to another menu.
    Boot(BootChoice),
    /// Starts the machine anew.
    Reboot,
    /// Switches it off.
    PowerOff,
    /// iPXE's command line.
    Shell,
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    name: Option<String>,
    title: Option<String>,
    timeout: Option<String>,
    default: Option<String>,
    picture: Option<String>,
    colours: Option<colour::Written>,
    pin: Option<String>,
    password_file: Option<PathBuf>,
    item: Vec<WrittenItem>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenItem {
    name: Option<String>,
    text: Option<String>,
    key: Option<char>,
    when: Option<String>,
    boot: Option<String>,
    arguments: Option<String>,
}

pub(crate) fn take(
    index: usize,
    written: Written,
    folder: &Path,
    findings: &mut Vec<Finding>,
) -> MenuConfig {
    let timeout = || format!("menu[{index}].timeout");
    let timeout = read_or_note::<Span>(written.timeout.as_deref(), timeout, findings);
    if written.pin.is_some() && written.password_file.is_some() {
        let text = "a menu is locked with a `pin` or a password, not with both";
        findings.push(Finding::bad_value(format!("menu[{index}].pin"), text));
    }
    let colours = written.colours;
    let password = written.password_file;
    let password = password.map(|path| MenuLock::PasswordFile(folder.join(path)));
    let items = written.item.into_iter().enumerate();
    MenuConfig {
        name: written.name.unwrap_or_default(),
        title: written.title,
        timeout: timeout.map_or(Duration::from_secs(10), |Span(read)| read),
        default: written.default,
        picture: written.picture,
        colours: colours.map(|written| colour::take(&format!("menu[{index}]"), &written, findings)),
        lock: written.pin.map(MenuLock::Pin).or(password),
        items: items
            .map(|(number, item)| {
                take_item(&format!("menu[{index}].item[{number}]"), item, findings)
            })
            .collect(),
    }
}

fn take_item(table: &str, written: WrittenItem, findings: &mut Vec<Finding>) -> MenuItem {
    let does = match written.boot.as_deref() {
        None => ItemAction::Gap,
        Some("reboot") => ItemAction::Reboot,
        Some("poweroff") => ItemAction::PowerOff,
        Some("shell") => ItemAction::Shell,
        Some(choice) => read_or_note(Some(choice), || format!("{table}.boot"), findings)
            .map_or(ItemAction::Gap, ItemAction::Boot),
    };
    MenuItem {
        name: written.name,
        text: written.text.unwrap_or_default(),
        key: written.key,
        when: written.when,
        arguments: written.arguments,
        does,
    }
}

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    for (index, menu) in config.menus.iter().enumerate() {
        let table = format!("menu[{index}]");
        let earlier = &config.menus[..index];
        if let Some(problem) = menu_name_problem(&menu.name) {
            findings.push(Finding::bad_value(format!("{table}.name"), problem));
        } else if let Some(first) = earlier.iter().position(|m| m.name == menu.name) {
            let text = format!("`{}` is also the name of menu[{first}]", menu.name);
            findings.push(Finding::error(
                "config.duplicate",
                format!("{table}.name"),
                text,
            ));
        }
        lint_words(&table, menu, findings);
        lint_items(config, &table, menu, findings);
    }
}

fn lint_words(table: &str, menu: &MenuConfig, findings: &mut Vec<Finding>) {
    match &menu.lock {
        Some(MenuLock::Pin(pin)) if !is_pin(pin) => {
            let text = "a PIN has 4 to 64 digits";
            findings.push(Finding::bad_value(format!("{table}.pin"), text));
        }
        Some(MenuLock::PasswordFile(path)) => {
            if let Err(e) = std::fs::metadata(path) {
                let text = format!("{}: {e}", path.display());
                let key = format!("{table}.password_file");
                findings.push(Finding::error("config.no-such-file", key, text));
            }
        }
        Some(MenuLock::Pin(_)) | None => {}
    }
    if menu.title.as_deref().is_some_and(has_control) {
        let text = "a title cannot hold control characters";
        findings.push(Finding::bad_value(format!("{table}.title"), text));
    }
    let named = |name: &String| menu.items.iter().any(|i| i.name.as_ref() == Some(name));
    if let Some(name) = menu.default.as_ref().filter(|name| !named(name)) {
        let text = format!(
            "there is no item of the name `{}` in this menu",
            shortened(name)
        );
        findings.push(Finding::bad_value(format!("{table}.default"), text));
    }
}

fn lint_items(config: &Config, table: &str, menu: &MenuConfig, findings: &mut Vec<Finding>) {
    if menu.items.iter().all(|item| item.does == ItemAction::Gap) {
        findings.push(Finding::bad_value(
            table,
            "there is nothing to choose in this menu",
        ));
    }
    for (number, item) in menu.items.iter().enumerate() {
        let key = |name: &str| format!("{table}.item[{number}].{name}");
        let earlier = &menu.items[..number];
        if has_control(&item.text) {
            findings.push(Finding::bad_value(
                key("text"),
                "a line cannot hold control characters",
            ));
        }
        if item.text.is_empty() && item.does != ItemAction::Gap {
            findings.push(Finding::bad_value(
                key("text"),
                "a choice needs words to choose it by",
            ));
        }
        if let Some(name) = &item.name {
            if let Some(problem) = menu_name_problem(name) {
                findings.push(Finding::bad_value(key("name"), problem));
            } else if earlier.iter().any(|i| i.name.as_ref() == Some(name)) {
                let text = format!("`{name}` is also the name of an earlier item");
                findings.push(Finding::error("config.duplicate", key("name"), text));
            }
        }
        if let Some(hot) = item.key {
            if !hot.is_ascii_graphic() {
                findings.push(Finding::bad_value(key("key"), "no key of every keyboard"));
            } else if earlier.iter().any(|i| i.key == Some(hot)) {
                let text = format!("`{hot}` is also the key of an earlier item");
                findings.push(Finding::error("config.duplicate", key("key"), text));
            }
        }
        if let ItemAction::Boot(choice) = &item.does {
            lint_choice(config, &key("boot"), Some(choice), findings);
        }
    }
}

fn is_pin(pin: &str) -> bool {
    (4..=64).contains(&pin.len()) && pin.bytes().all(|c| c.is_ascii_digit())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
