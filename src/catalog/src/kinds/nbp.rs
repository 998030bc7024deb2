//! Network boot programs: what lies in `boot/`. They are sent to firmware by name and are never
//! menu entries.

use bootstorm_proto::types::Family;

use super::headers::boot_families;
use crate::File;

/// A boot program and the families that can start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootProgram {
    /// Path below the images folder.
    pub path: String,
    /// Families; empty when neither header nor name tell.
    pub families: Vec<Family>,
}

impl BootProgram {
    /// `file` as a boot program; `None` outside `boot/` and for other files in there.
    #[must_use]
    pub fn of(file: &File) -> Option<Self> {
        if !is_below_boot(&file.path) {
            return None;
        }
        let lower = file.path.to_ascii_lowercase();
        let mut families = boot_families(&file.content);
        let bios = [
            ".kpxe", ".kkpxe", ".kkkpxe", ".pxe", ".0", ".com", ".n12", ".bios",
        ];
        if families.is_empty() && bios.iter().any(|end| lower.ends_with(end)) {
            families.push(Family::Bios);
        }
        let is_program =
            !families.is_empty() || lower.ends_with(".efi") || lower.contains("/wimboot");
        is_program.then(|| Self {
            path: file.path.to_string(),
            families,
        })
    }
}

/// The path lies in the folder of boot programs.
pub(crate) fn is_below_boot(path: &str) -> bool {
    path.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("boot/"))
}
