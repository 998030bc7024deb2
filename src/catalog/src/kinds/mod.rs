//! Recognises what can be booted from the files that are there.
//!
//! Each kind is one file with a `find`; `KINDS` lists them.

mod efi;
mod headers;
pub mod iso;
mod linux;
mod listing;
pub mod nbp;
mod settings;
pub mod wim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use headers::boot_families;
pub(crate) use listing::Listing;
pub(crate) use settings::Settings;

use crate::{Entry, File, Problem};

/// Most entries in a catalog: a menu with more is of no use to anybody.
pub const MAX_ENTRIES: usize = 512;

/// Longest title, in characters.
const MAX_TITLE: usize = 120;

/// Every kind, in the order in which they claim an id that more than one wants.
const KINDS: &[fn(&Listing<'_>, &mut Vec<Candidate>)] =
    &[linux::find, wim::find, efi::find, iso::find];

/// An entry before it has its id.
pub(crate) struct Candidate {
    pub(crate) entry: Entry,
    /// What the id is made of: the path without extension.
    pub(crate) name: String,
    pub(crate) problems: Vec<Problem>,
}

/// The entries among `files`, sorted by title, and what is wrong with them. `pending` are files
/// that are still on their way: entries that need them cannot be booted yet.
pub(crate) fn detect(
    files: &[Arc<File>],
    pending: &BTreeSet<String>,
) -> (Vec<Entry>, Vec<Problem>) {
    let listing = Listing::new(files, pending);
    let mut candidates = Vec::new();
    for find in KINDS {
        find(&listing, &mut candidates);
    }
    let mut problems = empty_programs(files);
    if candidates.len() > MAX_ENTRIES {
        let text = format!(
            "{} entries; only the first 512 are listed",
            candidates.len()
        );
        problems.push(Problem::new("", "catalog.too-many-entries", text));
        candidates.truncate(MAX_ENTRIES);
    }
    let mut entries = Vec::new();
    let mut taken = BTreeSet::new();
    for mut candidate in candidates {
        candidate.entry.id = unique_id(&candidate, &mut taken);
        problems.append(&mut candidate.problems);
        if let Some(why) = &candidate.entry.unbootable {
            let path = candidate.entry.kind.main_file();
            problems.push(Problem::new(path, why.code, why.text.clone()));
        }
        entries.push(candidate.entry);
    }
    tell_titles_apart(&mut entries);
    entries.sort_by_cached_key(|entry| (entry.title.to_lowercase(), entry.id.clone()));
    (entries, problems)
}

/// The path without the extension of its last part.
pub(crate) fn stem(path: &str) -> &str {
    let name = name_of(path);
    let keep = name.rfind('.').filter(|dot| *dot > 0).unwrap_or(name.len());
    &path[..path.len() - name.len() + keep]
}

/// The last part of a path.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What comes before the last part; empty at the top.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Text that fits one line of a menu.
pub(crate) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let line: String = plain.take(MAX_TITLE).collect();
    line.trim().to_owned()
}

fn empty_programs(files: &[Arc<File>]) -> Vec<Problem> {
    let empty = files
        .iter()
        .filter(|f| f.is_empty() && nbp::is_below_boot(&f.path));
    empty
        .map(|f| {
            Problem::new(
                &*f.path,
                "catalog.empty-file",
                "the file is empty; copy it again",
            )
        })
        .collect()
}

fn unique_id(candidate: &Candidate, taken: &mut BTreeSet<String>) -> String {
    let slug = slug(&candidate.name);
    let kind = candidate.entry.kind.name();
    let mut id = if slug.is_empty() {
        kind.to_owned()
    } else {
        slug.clone()
    };
    if taken.contains(&id) {
        id = format!("{slug}-{kind}");
    }
    let mut number = 2;
    while !taken.insert(id.clone()) {
        id = format!("{slug}-{kind}-{number}");
        number += 1;
    }
    id
}

fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

fn tell_titles_apart(entries: &mut [Entry]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for entry in &*entries {
        *seen.entry(entry.title.clone()).or_default() += 1;
    }
    for entry in entries {
        if entry.title.is_empty() || seen.get(&entry.title).is_some_and(|n| *n > 1) {
            entry.title = format!("{} ({})", entry.title, entry.id).trim().to_owned();
        }
    }
}

#[cfg(test)]
mod tests;
