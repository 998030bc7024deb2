//! The files as the kinds look at them: in any case, by folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bootstorm_telemetry::event::Reason;

use super::nbp::is_below_boot;
use super::{Settings, folder_of, linux, name_of, stem};
use crate::{File, Problem};

/// All files, sorted by lower-case path, and the paths of those still on their way.
pub(crate) struct Listing<'a> {
    files: BTreeMap<String, &'a File>,
    pending: BTreeSet<String>,
    /// Folders that bear the name of a .wim beside them.
    injected: BTreeSet<String>,
    /// The .wim files themselves: what was taken out of them lies below them.
    wims: BTreeSet<String>,
    /// Folders with a kernel directly in them.
    systems: BTreeSet<String>,
    /// How many images each folder holds directly.
    images: BTreeMap<String, usize>,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(files: &'a [Arc<File>], pending: &BTreeSet<String>) -> Self {
        let files: BTreeMap<String, &File> = files
            .iter()
            .map(|file| (file.path.to_lowercase(), &**file))
            .collect();
        let mut listing = Self {
            pending: pending.iter().map(|path| path.to_lowercase()).collect(),
            injected: BTreeSet::new(),
            wims: BTreeSet::new(),
            systems: BTreeSet::new(),
            images: BTreeMap::new(),
            files,
        };
        for path in listing.files.keys().chain(&listing.pending) {
            let folder = folder_of(path);
            if path.ends_with(".wim") && !is_below_boot(path) {
                listing.injected.insert(stem(path).to_owned());
                listing.wims.insert(path.clone());
            }
            if linux::is_kernel(name_of(path)) {
                listing.systems.insert(folder.to_owned());
            }
            if [".wim", ".efi", ".iso"]
                .iter()
                .any(|end| path.ends_with(end))
            {
                *listing.images.entry(folder.to_owned()).or_default() += 1;
            }
        }
        listing
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &'a File> {
        self.files.values().copied()
    }

    /// Files outside `boot/`, the folders of injected files and the .wim files.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter_map(move |(path, file)| {
            let fits = path
                .strip_suffix(extension)
                .is_some_and(|rest| rest.ends_with('.'));
            let folder = folder_of(path);
            let own = fits && !is_below_boot(path) && !self.is_injected(folder);
            let own = own && !self.wims.contains(folder);
            own.then_some(*file)
        })
    }

    /// Files in the folder and in all folders below it.
    pub(crate) fn below(&self, folder: &str) -> impl Iterator<Item = &'a File> {
        let prefix = prefix(folder);
        self.files
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(_, file)| *file)
    }

    /// Files in the folder itself.
    pub(crate) fn directly_in(&self, folder: &str) -> impl Iterator<Item = &'a File> {
        let depth = if folder.is_empty() {
            0
        } else {
            folder.matches('/').count() + 1
        };
        self.below(folder)
            .filter(move |file| file.path.matches('/').count() == depth)
    }

    /// The programs in `boot/` whose names begin so, in any case.
    pub(crate) fn boot_programs(&self, name: &str) -> Vec<&'a File> {
        let fits = |file: &&File| {
            let start = name_of(&file.path).get(..name.len());
            !file.is_empty() && start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        self.directly_in("boot").filter(fits).collect()
    }

    /// The folder, or one above it, bears the name of a .wim beside it.
    pub(crate) fn is_injected(&self, folder: &str) -> bool {
        let mut folder = &*folder.to_lowercase();
        while !folder.is_empty() {
            if self.injected.contains(folder) {
                return true;
            }
            folder = folder_of(folder);
        }
        false
    }

    /// A kernel lies in the folder.
    pub(crate) fn is_system(&self, folder: &str) -> bool {
        self.systems.contains(&folder.to_lowercase())
    }

    /// The reason for waiting, while a file of this folder is on its way.
    pub(crate) fn is_pending_in(&self, folder: &str) -> Option<Reason> {
        let folder = folder.to_lowercase();
        self.first_pending(&prefix(&folder), |path| folder_of(path) == folder)
    }

    /// The reason for waiting, while a file of this folder or below it is on its way.
    pub(crate) fn is_pending_below(&self, folder: &str) -> Option<Reason> {
        self.first_pending(&prefix(folder), |_| true)
    }

    /// What the image.toml of an entry that is one file says: the one in the folder of the same
    /// name, or one beside it when no other image is there.
    pub(crate) fn settings(&self, path: &str) -> (Settings, Vec<Problem>) {
        if let Some(own) = self.get(&format!("{}/image.toml", stem(path))) {
            return Settings::read(own);
        }
        let folder = folder_of(path);
        let beside = self.get(&format!("{}image.toml", prefix(folder)));
        let Some(beside) = beside.filter(|_| !self.is_system(folder)) else {
            return (Settings::default(), Vec::new());
        };
        if self
            .images
            .get(&folder.to_lowercase())
            .is_some_and(|n| *n > 1)
        {
            let text = "more than one image lies beside it, so it is left out; give each its own, \
                        in a folder of the image's name: winpe.wim and winpe/image.toml";
            let problem = Problem::new(&*beside.path, "catalog.image-toml-ambiguous", text);
            return (Settings::default(), vec![problem]);
        }
        Settings::read(beside)
    }

    /// What the image.toml inside an entry's own folder says.
    pub(crate) fn folder_settings(&self, folder: &str) -> (Settings, Vec<Problem>) {
        match self.get(&format!("{}image.toml", prefix(folder))) {
            Some(file) => Settings::read(file),
            None => (Settings::default(), Vec::new()),
        }
    }

    /// The file at this path, in any case.
    pub(crate) fn get(&self, path: &str) -> Option<&'a File> {
        self.files.get(&path.to_lowercase()).copied()
    }

    fn first_pending(&self, prefix: &str, fits: impl Fn(&str) -> bool) -> Option<Reason> {
        let mut below = self
            .pending
            .range(prefix.to_owned()..)
            .take_while(|path| path.starts_with(prefix));
        below.find(|path| fits(path)).map(|path| Reason {
            code: "catalog.copying",
            text: format!(
                "{path:?} is still being copied, or could not be: the entry boots once it is there"
            )
            .into(),
        })
    }
}

fn prefix(folder: &str) -> String {
    if folder.is_empty() {
        String::new()
    } else {
        format!("{}/", folder.to_lowercase())
    }
}
