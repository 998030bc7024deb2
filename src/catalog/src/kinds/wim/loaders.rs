//! What machines boot an image by, and where it lies in the image.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Node, Tree, Wim, WimArch, WimImage};
use crate::kinds::{Listing, name_of, stem};
use crate::{File, Problem};

/// Most fonts that are taken from one folder.
const MAX_FONTS: usize = 32;

/// What is taken out of an image, and the places where it may lie: the first one counts.
const PLACES: &[(&str, &[&str])] = &[
    ("bootmgfw.efi", &["Windows/Boot/EFI/bootmgfw.efi"]),
    ("bootmgfw_EX.efi", &["Windows/Boot/EFI_EX/bootmgfw_EX.efi"]),
    ("wdsmgfw.efi", &["Windows/Boot/PXE/wdsmgfw.efi"]),
    ("wdsmgfw_EX.efi", &["Windows/Boot/PXE_EX/wdsmgfw_EX.efi"]),
    ("bootmgr.exe", &["Windows/Boot/PXE/bootmgr.exe"]),
    ("pxeboot.com", &["Windows/Boot/PXE/pxeboot.com"]),
    ("pxeboot.n12", &["Windows/Boot/PXE/pxeboot.n12"]),
    ("wdsnbp.com", &["Windows/Boot/PXE/wdsnbp.com"]),
    ("abortpxe.com", &["Windows/Boot/PXE/abortpxe.com"]),
    (
        "boot.sdi",
        &[
            "Windows/Boot/DVD/EFI/boot.sdi",
            "Windows/Boot/DVD/PCAT/boot.sdi",
            "sms/boot/boot.sdi",
        ],
    ),
    ("boot.stl", &["Windows/Boot/EFI/boot.stl"]),
    (
        "BCD",
        &["Windows/Boot/DVD/EFI/BCD", "Windows/Boot/DVD/PCAT/BCD"],
    ),
    // No loader, but what the image itself starts: one that is made must not leave it out.
    ("winpeshl.ini", &["Windows/System32/winpeshl.ini"]),
];

/// A Windows image among the files, as its owner wants it booted.
#[derive(Debug)]
pub struct Owned<'a> {
    /// The .wim file.
    pub file: &'a Arc<File>,
    /// The image that its image.toml names.
    pub index: Option<u32>,
    /// The names, in lower case, of what lies in the folder of the image's name.
    beside: BTreeSet<String>,
}

/// Every .wim file among `files` that is an image to boot.
#[must_use]
pub fn owned(files: &[Arc<File>]) -> Vec<Owned<'_>> {
    let listing = Listing::new(files, &BTreeSet::new());
    let own: BTreeSet<&str> = listing
        .with_extension("wim")
        .map(|file| &*file.path)
        .collect();
    files
        .iter()
        .filter(|file| own.contains(&*file.path))
        .map(|file| Owned {
            file,
            index: listing.settings(&file.path).0.index,
            beside: listing
                .below(stem(&file.path))
                .map(|file| name_of(&file.path).to_lowercase())
                .collect(),
        })
        .collect()
}

/// The files that machines boot an image by: the name that each has below the .wim file, and where
/// it is in the tree.
#[must_use]
pub fn loaders(tree: &Tree) -> Vec<(String, &Node)> {
    let mut found: Vec<(String, &Node)> = PLACES
        .iter()
        .filter_map(|(name, places)| {
            let mut nodes = places.iter().filter_map(|place| tree.find(place));
            Some(((*name).to_owned(), nodes.find(|node| !node.is_folder())?))
        })
        .collect();
    for (folder, ending) in [("Fonts", ".ttf"), ("Fonts_EX", "_ex.ttf")] {
        let node = tree.find(&format!("Windows/Boot/{folder}"));
        let fonts = node.map(|node| tree.children(node)).unwrap_or_default();
        let named = fonts.iter().filter_map(|font| {
            let name = font.name.to_ascii_lowercase();
            // The boot manager of 2023 asks for its fonts by the names of the old ones.
            let plain = name.strip_suffix(ending)?;
            let is_fit = !font.is_folder() && plain.bytes().all(is_plain);
            is_fit.then(|| (format!("{folder}/{plain}.ttf"), font))
        });
        found.extend(named.take(MAX_FONTS));
    }
    found
}

impl Owned<'_> {
    /// What machines that boot this image will miss, or stumble over. `names` are those of the
    /// files that were taken out of it.
    pub fn problems<'n>(
        &self,
        wim: &Wim,
        image: &WimImage,
        names: impl Iterator<Item = &'n str>,
    ) -> Vec<Problem> {
        let names: BTreeSet<String> = names.map(str::to_lowercase).collect();
        let has = |name: &str| names.contains(name) || self.beside.contains(name);
        let efi = has("bootmgfw.efi") || has("bootmgfw_ex.efi");
        let bios = has("bootmgr.exe") || has("bootmgr");
        let (no_efi, no_bios) = match image.arch {
            Some(WimArch::X64 | WimArch::X86) => (!efi, !bios),
            Some(WimArch::Arm | WimArch::Arm64) => (!efi, false),
            // Nobody knows what it is for: one loader is enough.
            Some(WimArch::Other(_)) | None => (!efi && !bios, false),
        };
        let mut problems = Vec::new();
        let missing = [
            (no_efi, "Windows\\Boot\\EFI\\bootmgfw.efi", "UEFI machines"),
            (no_bios, "Windows\\Boot\\PXE\\bootmgr.exe", "BIOS machines"),
            (
                !has("boot.sdi"),
                "Windows\\Boot\\DVD\\EFI\\boot.sdi",
                "machines",
            ),
        ];
        for (_, place, who) in missing.iter().filter(|(is_missing, ..)| *is_missing) {
            let name = place.rsplit('\\').next().unwrap_or(place);
            let text = format!(
                "image {} has no {place}: {who} cannot boot it, unless you put {name} into the \
                 folder {:?}",
                image.index,
                stem(&self.file.path)
            );
            problems.push(Problem::new(&*self.file.path, "wim.no-loader", text));
        }
        if wim.boot_index == 0 && self.index.is_none() {
            let text = format!(
                "the file marks no image to boot: wimboot is told to take image {0}, but Windows' \
                 own boot manager does not find it; wimlib-imagex info FILE.wim {0} --boot",
                image.index
            );
            problems.push(Problem::new(&*self.file.path, "wim.not-marked", text));
        }
        problems
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}
