//! The menu entry of a WIM file.

use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use super::{Wim, WimArch, WimImage, inject};
use crate::kinds::{Candidate, Listing, Settings, boot_families, one_line, stem};
use crate::{Entry, EntryKind, File};

/// Finds every .wim file that is no boot program.
pub(crate) fn find(listing: &Listing<'_>, out: &mut Vec<Candidate>) {
    for file in listing.with_extension("wim") {
        out.push(candidate(listing, file));
    }
}

fn candidate(listing: &Listing<'_>, file: &File) -> Candidate {
    let (settings, mut problems) = listing.settings(&file.path);
    let wimboot = choose_wimboot(listing, file, &settings);
    let arch = wimboot.as_ref().ok().and_then(|found| found.arch);
    let inject = inject::files(listing, file, &settings.winpe, arch);
    problems.extend(inject.problems);
    let copying = listing.is_pending_below(stem(&file.path));
    let (index, families, unbootable) = match &wimboot {
        Ok(found) => (
            found.index,
            found.families.clone(),
            copying.or(inject.unbootable),
        ),
        Err(why) => (1, Vec::new(), Some(why.clone())),
    };
    let kind = EntryKind::Wim {
        wim: file.path.to_string(),
        index,
        inject: inject.files,
        wimboot: wimboot.map(|found| found.path).unwrap_or_default(),
        args: settings.args.clone().unwrap_or_default(),
    };
    let mut entry = Entry::new("", one_line(stem(&file.path)), kind);
    entry.families = families;
    entry.unbootable = unbootable;
    settings.apply(&mut entry);
    Candidate {
        entry,
        name: stem(&file.path).into(),
        problems,
    }
}

struct Bootable {
    index: u32,
    families: Vec<Family>,
    arch: Option<WimArch>,
    path: String,
}

fn choose_wimboot(
    listing: &Listing<'_>,
    file: &File,
    settings: &Settings,
) -> Result<Bootable, Reason> {
    let wim = Wim::parse(&file.content).map_err(|e| Reason {
        code: e.code(),
        text: e.to_string().into(),
    })?;
    let image = wim.boot_image(settings.index)?;
    let wanted = image.arch.map(|arch| arch.families()).unwrap_or_default();
    let programs = listing.boot_programs("wimboot");
    if programs.is_empty() {
        return Err(Reason {
            code: "catalog.no-wimboot",
            text: "Windows images boot through wimboot: put it into boot/ as `wimboot` \
                   (https://github.com/ipxe/wimboot/releases)"
                .into(),
        });
    }
    let mut usable = programs.iter().filter_map(|program| {
        let families = shared(boot_families(&program.content), wanted)?;
        Some(Bootable {
            index: image.index,
            families,
            arch: image.arch,
            path: program.path.to_string(),
        })
    });
    usable.next().ok_or_else(|| wrong_wimboot(image))
}

/// The families that both serve. An empty list stands for "not known": it excludes nothing.
fn shared(program: Vec<Family>, image: &[Family]) -> Option<Vec<Family>> {
    if program.is_empty() {
        return Some(image.to_vec());
    }
    if image.is_empty() {
        return Some(program);
    }
    let both: Vec<Family> = program.into_iter().filter(|f| image.contains(f)).collect();
    (!both.is_empty()).then_some(both)
}

fn wrong_wimboot(image: &WimImage) -> Reason {
    let arch = image
        .arch
        .map_or_else(|| "unknown".into(), |arch| arch.to_string());
    let text = format!("the image is for {arch}, and no wimboot in boot/ is: add wimboot.{arch}");
    Reason {
        code: "catalog.no-wimboot",
        text: text.into(),
    }
}
