//! The images folder of a case.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cases::Programs;
use crate::guest::Guest;
use crate::suite::Shelf;

/// Folder of the Linux entry in the images folder.
pub const ENTRY: &str = "linux-e2e";

/// Fills `images` with network boot programs and the Linux entry, and says the programs' version.
///
/// # Errors
/// The archive cannot be reached or the disk is full.
pub fn fill(
    images: &Path,
    programs: Programs,
    guest: &Guest,
    shelf: &Shelf,
    cmdline: &str,
) -> Result<String> {
    let (boot, linux) = (images.join("boot"), images.join(ENTRY));
    fs::create_dir_all(&boot)?;
    fs::create_dir_all(&linux)?;
    copy(&guest.kernel, &linux.join("vmlinuz"))?;
    copy(&guest.initrd, &linux.join("initrd.img"))?;
    fs::write(linux.join("cmdline"), format!("{cmdline}\n"))?;
    match programs {
        Programs::Ipxe(suite) => {
            let package = shelf.package(suite, "ipxe")?;
            for program in ["undionly.kpxe", "snponly.efi"] {
                copy(
                    &package.root.join("usr/lib/ipxe").join(program),
                    &boot.join(program),
                )?;
            }
            Ok(format!("iPXE {}", package.version))
        }
        Programs::ShimAndGrub(suite) => {
            let shim = shelf.package(suite, "shim-signed")?;
            let grub = shelf.package(suite, "grub-efi-amd64-signed")?;
            copy(
                &shim.root.join("usr/lib/shim/shimx64.efi.signed"),
                &boot.join("shimx64.efi"),
            )?;
            copy(
                &grub
                    .root
                    .join("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
                &boot.join("grubx64.efi"),
            )?;
            fs::create_dir_all(boot.join("grub"))?;
            fs::write(boot.join("grub/grub.cfg"), grub_config(cmdline))?;
            Ok(format!("shim {}, GRUB {}", shim.version, grub.version))
        }
    }
}

fn grub_config(cmdline: &str) -> String {
    format!("linux /{ENTRY}/vmlinuz {cmdline}\ninitrd /{ENTRY}/initrd.img\nboot\n")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
