//! EFI programs.

use bootstorm_telemetry::event::Reason;

use super::headers::efi_family;
use super::{Candidate, Listing, folder_of, one_line, stem};
use crate::{Entry, EntryKind, File};

/// Finds .efi files, except in `boot/` and in the trees of systems that are booted otherwise.
pub(crate) fn find(listing: &Listing<'_>, out: &mut Vec<Candidate>) {
    for file in listing.with_extension("efi") {
        if !is_part_of_a_system(listing, file) {
            out.push(candidate(listing, file));
        }
    }
}

fn candidate(listing: &Listing<'_>, file: &File) -> Candidate {
    let (settings, problems) = listing.settings(&file.path);
    let kind = EntryKind::Efi {
        program: file.path.to_string(),
        args: settings.args.clone().unwrap_or_default(),
    };
    let mut entry = Entry::new("", one_line(stem(&file.path)), kind);
    match efi_family(&file.content) {
        Some(family) => entry.families.push(family),
        None => {
            entry.unbootable = Some(Reason {
                code: "efi.not-a-program",
                text: "no EFI program for a known processor; copy it again".into(),
            });
        }
    }
    settings.apply(&mut entry);
    Candidate {
        entry,
        name: stem(&file.path).into(),
        problems,
    }
}

/// Loaders inside an unpacked medium (`EFI/BOOT/...`) or beside a kernel are no entries.
fn is_part_of_a_system(listing: &Listing<'_>, file: &File) -> bool {
    let folder = folder_of(&file.path);
    let loader = |part: &str| part.eq_ignore_ascii_case("efi") || part.eq_ignore_ascii_case("boot");
    folder.split('/').any(loader) || (!folder.is_empty() && listing.is_system(folder))
}
