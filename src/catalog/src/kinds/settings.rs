//! `image.toml`: what the owner of an entry says about it.

use bootstorm_proto::types::Family;
use serde::Deserialize;

mod winpe;

pub(crate) use winpe::WinPe;

use super::linux::check_cmdline;
use super::one_line;
use crate::{Entry, File, LoadOptions, Problem, Signing, WimLoader};

/// A larger image.toml is a mistake.
const MAX_SETTINGS: usize = 64 << 10;

/// What was said; nothing for everything that was not said, or said wrongly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) title: Option<String>,
    pub(crate) args: Option<String>,
    pub(crate) families: Option<Vec<Family>>,
    pub(crate) hidden: bool,
    pub(crate) index: Option<u32>,
    pub(crate) loader: WimLoader,
    pub(crate) winpe: WinPe,
    pub(crate) options: LoadOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    title: Option<toml::Spanned<String>>,
    args: Option<toml::Spanned<String>>,
    families: Option<Vec<toml::Spanned<String>>>,
    #[serde(default)]
    hidden: bool,
    index: Option<toml::Spanned<u32>>,
    loader: Option<Loader>,
    signing: Option<Signed>,
    #[serde(default)]
    winpe: winpe::Wire,
    #[serde(default)]
    bcd: Bcd,
}

/// The table `[bcd]`: what the boot manager is told besides where the image lies.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Bcd {
    test_signing: bool,
    options: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Loader {
    Wimboot,
    BootMgr,
}

#[derive(Clone, Copy, Deserialize)]
enum Signed {
    #[serde(rename = "2011")]
    Pca2011,
    #[serde(rename = "2023")]
    Ca2023,
}

impl Settings {
    /// Reads an image.toml. One mistake makes only its own field go unheard, unless the file cannot
    /// be read at all.
    pub(crate) fn read(file: &File) -> (Self, Vec<Problem>) {
        let mut diagnosis = Diagnosis {
            path: &file.path,
            text: "",
            problems: Vec::new(),
        };
        if file.content.len() > MAX_SETTINGS {
            diagnosis.at(0, "it has more than 64 KiB".into());
            return (Self::default(), diagnosis.problems);
        }
        match std::str::from_utf8(&file.content) {
            Ok(text) => diagnosis.text = text,
            Err(e) => {
                diagnosis.at(0, format!("it is not UTF-8 text: {e}"));
                return (Self::default(), diagnosis.problems);
            }
        }
        let settings = match toml::from_str::<Wire>(diagnosis.text) {
            Ok(wire) => check(wire, &mut diagnosis),
            Err(e) => {
                let at = e.span().map_or(0, |span| span.start);
                diagnosis.at(at, e.message().replace('\n', ", "));
                Self::default()
            }
        };
        (settings, diagnosis.problems)
    }

    /// Overrides what was found out about the entry.
    pub(crate) fn apply(self, entry: &mut Entry) {
        if let Some(title) = self.title {
            entry.title = title;
        }
        if let Some(families) = self.families {
            entry.families = families;
        }
        entry.hidden = self.hidden;
    }
}

struct Diagnosis<'a> {
    path: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Diagnosis<'_> {
    fn at(&mut self, offset: usize, what: String) {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let path = format!("{}:{line}", self.path);
        self.problems
            .push(Problem::new(path, "catalog.image-toml", what));
    }
}

fn check(wire: Wire, diagnosis: &mut Diagnosis<'_>) -> Settings {
    let mut settings = Settings {
        hidden: wire.hidden,
        loader: loader(wire.loader, wire.signing),
        winpe: wire.winpe.check(diagnosis),
        options: LoadOptions {
            test_signing: wire.bcd.test_signing,
            text: wire.bcd.options,
        },
        ..Settings::default()
    };
    if let Some(title) = wire.title {
        let line = one_line(title.get_ref());
        if line.is_empty() {
            diagnosis.at(title.span().start, "the title is empty".into());
        } else {
            settings.title = Some(line);
        }
    }
    if let Some(args) = wire.args {
        match check_cmdline(args.get_ref().trim()) {
            Ok(line) => settings.args = Some(line.to_owned()),
            Err(why) => diagnosis.at(args.span().start, why.text.into_owned()),
        }
    }
    if let Some(names) = wire.families {
        let known: Vec<Family> = names
            .iter()
            .filter_map(|name| family(name, diagnosis))
            .collect();
        // With every name misspelt the list would be empty, which stands for all families.
        if known.len() == names.len() || !known.is_empty() {
            settings.families = Some(known);
        }
    }
    if let Some(index) = wire.index {
        if *index.get_ref() == 0 {
            diagnosis.at(index.span().start, "images are counted from 1".into());
        } else {
            settings.index = Some(*index.get_ref());
        }
    }
    settings
}

fn loader(loader: Option<Loader>, signed: Option<Signed>) -> WimLoader {
    let signing = signed.map(|signed| match signed {
        Signed::Pca2011 => Signing::Pca2011,
        Signed::Ca2023 => Signing::Ca2023,
    });
    match loader {
        None | Some(Loader::Wimboot) => WimLoader::Wimboot,
        Some(Loader::BootMgr) => WimLoader::BootManager(signing),
    }
}

fn family(name: &toml::Spanned<String>, diagnosis: &mut Diagnosis<'_>) -> Option<Family> {
    let found = Family::ALL
        .into_iter()
        .find(|f| f.name().eq_ignore_ascii_case(name.get_ref()));
    if found.is_none() {
        let known: Vec<&str> = Family::ALL.iter().map(|f| f.name()).collect();
        let what = format!(
            "no family is called {:?}; there are {}",
            name.get_ref(),
            known.join(", ")
        );
        diagnosis.at(name.span().start, what);
    }
    found
}
