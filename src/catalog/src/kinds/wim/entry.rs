//! The menu entry of a WIM file.

use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use super::inject::{self, Inject};
use super::{Wim, WimArch, WimImage};
use crate::entry::{BIOS_BOOT_MANAGER, BIOS_BOOT_PROGRAM};
use crate::kinds::{Candidate, Listing, Settings, boot_families, name_of, one_line, stem};
use crate::{Entry, EntryKind, File, Problem, Signing, WimLoader};

/// Finds every .wim file that is no boot program.
pub(crate) fn find(listing: &Listing<'_>, out: &mut Vec<Candidate>) {
    for file in listing.with_extension("wim") {
        out.push(candidate(listing, file));
    }
}

fn candidate(listing: &Listing<'_>, file: &File) -> Candidate {
    let (settings, mut problems) = listing.settings(&file.path);
    let program = match settings.loader {
        WimLoader::Wimboot => choose_wimboot(listing, file, &settings),
        WimLoader::BootManager(signing) => find_boot_manager(listing, file, &settings, signing),
    };
    let arch = program.as_ref().ok().and_then(|found| found.arch);
    let inject = match settings.loader {
        WimLoader::Wimboot => inject::files(listing, file, &settings, arch),
        WimLoader::BootManager(_) => Inject::none(not_injected(listing, stem(&file.path))),
    };
    problems.extend(inject.problems);
    let copying = listing.is_pending_below(stem(&file.path));
    let (index, families, unbootable) = match &program {
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
        wimboot: program.map(|found| found.path).unwrap_or_default(),
        args: settings.args.clone().unwrap_or_default(),
        loader: settings.loader,
        options: settings.options.clone(),
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

/// Without wimboot nothing puts the folder's files into the image.
fn not_injected(listing: &Listing<'_>, folder: &str) -> Vec<Problem> {
    let mut files = listing.below(folder);
    let is_settings = |file: &&File| name_of(&file.path).eq_ignore_ascii_case("image.toml");
    let first = files.find(|file| !is_settings(file));
    let problem = first.map(|file| {
        let text = "nothing is injected where loader = \"bootmgr\": put it into the image itself";
        Problem::new(&*file.path, "wim.not-injected", text)
    });
    problem.into_iter().collect()
}

struct Bootable {
    index: u32,
    families: Vec<Family>,
    arch: Option<WimArch>,
    /// wimboot's path.
    path: String,
}

fn read(file: &File) -> Result<Wim, Reason> {
    Wim::parse(&file.content).map_err(|e| Reason {
        code: e.code(),
        text: e.to_string().into(),
    })
}

/// The families that the image has the loaders for.
fn find_boot_manager(
    listing: &Listing<'_>,
    file: &File,
    settings: &Settings,
    signing: Option<Signing>,
) -> Result<Bootable, Reason> {
    let wim = read(file)?;
    let image = wim.boot_image(settings.index)?;
    if wim.boot_index != image.index {
        return Err(boots_another(&wim, image, file));
    }
    let find = |name: &str| listing.get(&format!("{}/{name}", file.path));
    let both = [Signing::Pca2011, Signing::Ca2023];
    let wanted = both
        .into_iter()
        .filter(|it| signing.is_none_or(|s| s == *it));
    let uefi = wanted
        .clone()
        .find_map(|signing| find(signing.boot_manager()));
    let bios = find(BIOS_BOOT_PROGRAM).is_some() && find(BIOS_BOOT_MANAGER).is_some();
    let own = match image.arch {
        Some(arch) => arch.families().to_vec(),
        None => uefi.map(|f| boot_families(&f.content)).unwrap_or_default(),
    };
    let has_loader = |family: &Family| match family {
        Family::Bios => bios,
        _ => uefi.is_some(),
    };
    let families: Vec<Family> = own.into_iter().filter(has_loader).collect();
    if families.is_empty() {
        let names: Vec<_> = wanted.map(Signing::boot_manager).collect();
        let text = format!(
            "the image has no {}, which machines are to load by TFTP: take another image, or \
             loader = \"wimboot\"",
            names.join(" or ")
        );
        return Err(Reason {
            code: "catalog.no-boot-manager",
            text: text.into(),
        });
    }
    Ok(Bootable {
        index: image.index,
        families,
        arch: image.arch,
        path: String::new(),
    })
}

/// Windows' own boot manager takes the image that the header marks, and nothing tells it another.
fn boots_another(wim: &Wim, image: &WimImage, file: &File) -> Reason {
    let marked = match wim.boot_index {
        0 => "none".to_owned(),
        index => format!("image {index}"),
    };
    let (index, name) = (image.index, name_of(&file.path));
    let text = format!(
        "the boot manager boots the image that the file marks, which is {marked}, not image \
         {index}: wimlib-imagex info {name} {index} --boot"
    );
    Reason {
        code: "wim.boots-another",
        text: text.into(),
    }
}

fn choose_wimboot(
    listing: &Listing<'_>,
    file: &File,
    settings: &Settings,
) -> Result<Bootable, Reason> {
    let wim = read(file)?;
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
