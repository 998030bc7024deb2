//! Linux: a folder with a kernel, its initial RAM disks and its command line.

use std::collections::BTreeMap;

use bootstorm_telemetry::event::Reason;

use super::nbp::is_below_boot;
use super::{Candidate, Listing, boot_families, folder_of, name_of, one_line};
use crate::{Entry, EntryKind, File};

/// Linux copies no more than this of a command line on x86 and ARM.
pub(super) const MAX_CMDLINE: usize = 2047;

/// Finds every folder with a kernel outside `boot/` and the folders of injected files.
pub(crate) fn find(listing: &Listing<'_>, out: &mut Vec<Candidate>) {
    let mut kernels: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in listing.files() {
        if is_kernel(name_of(&file.path)) && !is_below_boot(&file.path) {
            kernels.entry(folder_of(&file.path)).or_default().push(file);
        }
    }
    for (folder, kernels) in kernels {
        if !listing.is_injected(folder) {
            out.extend(
                kernels
                    .iter()
                    .map(|kernel| candidate(listing, folder, kernel, kernels.len() > 1)),
            );
        }
    }
}

/// The name is one that kernels have.
pub(super) fn is_kernel(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let kernel = name.starts_with("vmlinuz") || name.starts_with("bzimage") || name == "linux";
    kernel && !is_companion(&name)
}

fn candidate(listing: &Listing<'_>, folder: &str, kernel: &File, several: bool) -> Candidate {
    let (settings, problems) = listing.folder_settings(folder);
    let version = version_of(name_of(&kernel.path));
    let cmdline = match &settings.args {
        Some(args) => Ok(args.clone()),
        None => cmdline(listing, folder),
    };
    let mut name = if folder.is_empty() {
        "linux".to_owned()
    } else {
        folder.to_owned()
    };
    if several {
        name = format!("{name} {}", name_of(&kernel.path));
    }
    let kind = EntryKind::Linux {
        kernel: kernel.path.to_string(),
        initrds: initrds(listing, folder, version),
        cmdline: cmdline.clone().unwrap_or_default(),
    };
    let mut entry = Entry::new("", one_line(&name), kind);
    entry.families = boot_families(&kernel.content);
    entry.unbootable = listing.is_pending_in(folder).or(cmdline.err());
    settings.apply(&mut entry);
    Candidate {
        entry,
        name,
        problems,
    }
}

/// The RAM disks of the kernel's own version, or all where none bears it.
fn initrds(listing: &Listing<'_>, folder: &str, version: &str) -> Vec<String> {
    let all: Vec<&str> = listing
        .directly_in(folder)
        .map(|file| &*file.path)
        .filter(|path| is_initrd(name_of(path)))
        .collect();
    let own: Vec<&str> = all
        .iter()
        .copied()
        .filter(|path| !version.is_empty() && without_packing(name_of(path)).ends_with(version))
        .collect();
    let chosen = if own.is_empty() { all } else { own };
    chosen.into_iter().map(str::to_owned).collect()
}

fn is_initrd(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.starts_with("initrd") || name.starts_with("initramfs")) && !is_companion(&name)
}

/// The name without the extensions that say how the archive is packed.
fn without_packing(mut name: &str) -> &str {
    let ends = [".img", ".cpio", ".gz", ".xz", ".zst", ".lz4", ".bz2"];
    while let Some(short) = ends.iter().find_map(|end| name.strip_suffix(end)) {
        name = short;
    }
    name
}

/// Signatures and check sums that lie beside the real file.
fn is_companion(lower: &str) -> bool {
    let ends = [
        ".sig", ".asc", ".sha256", ".sha512", ".md5", ".txt", ".toml", ".p7s", ".hmac",
    ];
    ends.iter().any(|end| lower.ends_with(end))
}

/// `6.1.0-32-amd64` of `vmlinuz-6.1.0-32-amd64`.
fn version_of(kernel: &str) -> &str {
    kernel.split_once('-').map_or("", |(_, version)| version)
}

fn cmdline(listing: &Listing<'_>, folder: &str) -> Result<String, Reason> {
    let file = listing.directly_in(folder).find(|file| {
        let name = name_of(&file.path);
        name.eq_ignore_ascii_case("cmdline") || name.eq_ignore_ascii_case("cmdline.txt")
    });
    let Some(file) = file else {
        return Ok(String::new());
    };
    if file.content.len() > MAX_CMDLINE * 2 {
        return Err(bad_cmdline("has more than 2047 bytes"));
    }
    let text = std::str::from_utf8(&file.content).map_err(|_| bad_cmdline("is not UTF-8 text"))?;
    check_cmdline(text.trim()).map(str::to_owned)
}

/// A command line that can be handed to a kernel: one line without control characters.
pub(super) fn check_cmdline(text: &str) -> Result<&str, Reason> {
    if text.len() > MAX_CMDLINE {
        Err(bad_cmdline("has more than 2047 bytes"))
    } else if text.contains('\n') {
        Err(bad_cmdline("has more than one line"))
    } else if text.chars().any(char::is_control) {
        Err(bad_cmdline("holds control characters"))
    } else {
        Ok(text)
    }
}

fn bad_cmdline(what: &str) -> Reason {
    Reason {
        code: "linux.bad-cmdline",
        text: format!("the command line {what}; write it as one plain line").into(),
    }
}
