//! Windows' own boot managers over TFTP: what they are told, what they ask for, and what of it is
//! made for one machine.
//!
//! A boot manager asks for its store (boot configuration data) and for files of the image by names
//! that all machines use, or by the names that DHCP told it. Which files those are follows from what
//! the machine boots.

mod image;
mod names;
mod sealed;
mod store;
mod variables;

use bootstorm_catalog::Signing;
use bootstorm_catalog::entry::{BIOS_BOOT_MANAGER, BIOS_BOOT_PROGRAM};

pub use image::BootImages;
pub(crate) use image::program;
pub use names::WindowsFile;
pub use sealed::{SealedKind, SealedName, VALID};
pub use variables::{VARIABLES_MAX, Variables, VariablesFolder};

/// Boot programs of Windows that firmware loads, besides those of [`Signing::boot_manager`].
const BOOT_PROGRAMS: [&str; 6] = [
    BIOS_BOOT_PROGRAM,
    BIOS_BOOT_MANAGER,
    "pxeboot.com",
    "wdsnbp.com",
    "wdsmgfw.efi",
    "wdsmgfw_EX.efi",
];

/// Whether the file is a boot program of Windows, by its name: it or what it loads asks for a store.
pub(crate) fn is_boot_program(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let managers = [Signing::Pca2011, Signing::Ca2023].map(Signing::boot_manager);
    let mut all = BOOT_PROGRAMS.into_iter().chain(managers);
    all.any(|program| program.eq_ignore_ascii_case(name))
}
