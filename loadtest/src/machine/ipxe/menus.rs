//! Menus and forms.

use crate::machine::url::encoded;

/// Items of a menu, pairs of a form.
const ENTRIES_MAX: usize = 512;
/// Menus, forms.
const LISTS_MAX: usize = 16;

/// Named lists of which the one without a name is the usual one: menus with the labels of their
/// items, forms with their pairs.
#[derive(Debug)]
pub(super) struct Lists<T> {
    lists: Vec<(String, Vec<T>)>,
}

/// An item of a menu that can be chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What is chosen by it.
    pub(super) label: String,
    /// It is chosen when nobody chooses.
    pub(super) usual: bool,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { lists: Vec::new() }
    }
}

impl<T> Lists<T> {
    /// Begins a list anew.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), &'static str> {
        self.delete(name);
        if self.lists.len() >= LISTS_MAX {
            return Err("no memory for it");
        }
        self.lists.push((name.to_owned(), Vec::new()));
        Ok(())
    }

    /// Adds to a list.
    ///
    /// # Errors
    /// There is no such list, or no room.
    pub(super) fn add(&mut self, name: &str, entry: T) -> Result<(), &'static str> {
        let list = self.lists.iter_mut().find(|(its, _)| its == name);
        let (_, entries) = list.ok_or("there is no such list")?;
        if entries.len() >= ENTRIES_MAX {
            return Err("no memory for it");
        }
        entries.push(entry);
        Ok(())
    }

    /// A list's entries.
    pub(super) fn get(&self, name: &str) -> Option<&[T]> {
        let list = self.lists.iter().find(|(its, _)| its == name);
        list.map(|(_, entries)| entries.as_slice())
    }

    /// Takes a list away.
    pub(super) fn delete(&mut self, name: &str) {
        self.lists.retain(|(its, _)| its != name);
    }
}

/// A form as iPXE writes it.
pub(super) fn form(pairs: &[(String, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| {
        let [name, value] = [name, value].map(|text| encoded(text, b"-._~"));
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// What is chosen of a menu where nobody chooses: what `choose` names, what `item` marks, or the
/// first.
pub(super) fn usual(items: &[Item], named: Option<&str>) -> Option<String> {
    let named = named.and_then(|named| items.iter().find(|item| item.label == named));
    let marked = || items.iter().find(|item| item.usual);
    let item = named.or_else(marked).or_else(|| items.first())?;
    Some(item.label.clone())
}
