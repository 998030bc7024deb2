//! What wimboot puts into the System32 folder of a Windows PE.

use crate::kinds::Listing;
use crate::kinds::settings::WinPe;
use crate::{Content, Injected, Made, Problem};

/// wimboot takes names of this length at most.
const MAX_INJECT_NAME: usize = 31;

/// wimboot takes 63 files; the image itself is one of them.
const MAX_INJECT: usize = 62;

/// The files that are made for each machine, and those of the folder that has the image's name.
pub(super) fn files(
    listing: &Listing<'_>,
    folder: &str,
    settings: &WinPe,
) -> (Vec<Injected>, Vec<Problem>) {
    let mut problems = Vec::new();
    let own = of_folder(listing, folder, &mut problems);
    let mut files = Vec::new();
    for made in wanted(settings) {
        let is_own = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(made.name());
        if let Some((name, path)) = own.iter().find(is_own) {
            let text =
                format!("it is injected instead of the {name} that is made for each machine");
            problems.push(Problem::new(path, "wim.inject-own", text));
        } else {
            files.push(Injected {
                name: made.name().to_owned(),
                content: Content::Made(made),
            });
        }
    }
    for (name, path) in own {
        if files.len() == MAX_INJECT {
            problems.push(Problem::new(
                path,
                "wim.inject-count",
                "wimboot takes 62 files beside the image; this one is left out",
            ));
        } else {
            files.push(Injected {
                name,
                content: Content::File(path),
            });
        }
    }
    (files, problems)
}

/// Name in System32 and path of each.
fn of_folder(
    listing: &Listing<'_>,
    folder: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for file in listing.below(folder) {
        let Some(name) = file.path.get(folder.len() + 1..) else {
            continue;
        };
        if name.eq_ignore_ascii_case("image.toml") {
            continue;
        }
        match unfit(name) {
            Some(why) => problems.push(Problem::new(&*file.path, "wim.inject-name", why)),
            None => files.push((name.to_owned(), file.path.to_string())),
        }
    }
    files
}

fn wanted(settings: &WinPe) -> Vec<Made> {
    if settings.parameters {
        vec![Made::Json, Made::Ini, Made::Ca]
    } else {
        Vec::new()
    }
}

fn unfit(name: &str) -> Option<&'static str> {
    if name.contains('/') {
        Some("files are injected into System32 itself; one in a folder is left out")
    } else if name.chars().count() > MAX_INJECT_NAME {
        Some("wimboot takes names of 31 characters at most; this file is left out")
    } else if !name.bytes().all(|b| b.is_ascii_graphic()) {
        Some("wimboot takes names of plain ASCII without spaces; this file is left out")
    } else if name.to_ascii_lowercase().ends_with(".wim") {
        Some("wimboot would boot a second .wim file instead; it is left out")
    } else {
        None
    }
}
