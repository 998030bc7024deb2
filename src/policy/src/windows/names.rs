//! Names that boot managers ask TFTP for.

use bootstorm_catalog::Signing;
use bootstorm_catalog::entry::BIOS_BOOT_MANAGER;

use super::SealedName;

/// A file whose content depends on the machine that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowsFile {
    /// Its store, by the name that all machines use.
    Store,
    /// What was told to one machine alone.
    Sealed(SealedName),
    /// The boot manager, by the name that other boot programs of Windows load it by.
    BootManager,
    /// A file of the image that it boots, by its name below the image's path.
    OfImage(String),
    /// That image.
    Image,
}

/// The folder of names that are told to one machine.
const SEALED: &str = "SMSTemp";

/// Folders that images and their files are usually kept in.
const USUAL: [&str; 3] = ["Boot", "Sources", "SMSBoot"];

impl WindowsFile {
    /// The file that a name stands for, in any case and with either separator; `None` for all names
    /// that stand for the same with every machine. Costs no memory where it is `None`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let parts = name.rsplit(['/', '\\']);
        let mut parts = parts.filter(|part| !part.is_empty() && *part != ".");
        let last = parts.next()?;
        let folder = parts.next().unwrap_or_default();
        let is = |name: &str| last.eq_ignore_ascii_case(name);
        let is_in = |name: &str| folder.eq_ignore_ascii_case(name);
        if is_in(SEALED) {
            return SealedName::parse(last).map(Self::Sealed);
        }
        if is("BCD") {
            return Some(Self::Store);
        }
        if is(BIOS_BOOT_MANAGER) || is(Signing::Pca2011.boot_manager()) {
            return Some(Self::BootManager);
        }
        if is("boot.wim") && USUAL.into_iter().any(is_in) {
            return Some(Self::Image);
        }
        if ["boot.sdi", "boot.stl"].into_iter().any(is) {
            return Some(Self::OfImage(last.to_ascii_lowercase()));
        }
        let is_font = last.len() > 4 && last.is_char_boundary(last.len() - 4);
        let is_font = is_font && last[last.len() - 4..].eq_ignore_ascii_case(".ttf");
        (is_font && is_in("Fonts")).then(|| Self::OfImage(format!("Fonts/{last}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<WindowsFile> {
        WindowsFile::of_name(name)
    }

    #[test]
    fn winboot_01_every_spelling_of_a_boot_managers_path_stands_for_the_same_file() {
        let font = || Some(WindowsFile::OfImage("Fonts/wgl4_boot.ttf".to_owned()));
        let sdi = || Some(WindowsFile::OfImage("boot.sdi".to_owned()));
        let stl = || Some(WindowsFile::OfImage("boot.stl".to_owned()));
        let cases = [
            ("\\Boot\\BCD", Some(WindowsFile::Store)),
            ("\\BCD", Some(WindowsFile::Store)),
            ("\\EFI\\Microsoft\\Boot\\BCD", Some(WindowsFile::Store)),
            ("\\Boot\\boot.stl", stl()),
            ("\\EFI\\Microsoft\\Boot\\boot.stl", stl()),
            ("\\Boot\\Fonts\\wgl4_boot.ttf", font()),
            ("\\SMSBoot\\Fonts\\wgl4_boot.ttf", font()),
            ("\\Boot\\boot.sdi", sdi()),
            ("\\SMSBoot\\boot.sdi", sdi()),
            ("\\Sources\\boot.wim", Some(WindowsFile::Image)),
            ("\\Boot\\boot.wim", Some(WindowsFile::Image)),
            ("Boot\\x64\\bootmgfw.efi", Some(WindowsFile::BootManager)),
            ("bootmgr.exe", Some(WindowsFile::BootManager)),
        ];
        for (name, file) in cases {
            let slashes = name.replace('\\', "/");
            let doubled = name.replace('\\', "\\\\");
            for spelling in [name, &slashes, &doubled, &format!("./{slashes}")] {
                assert_eq!(of(spelling), file, "{spelling}");
            }
            if name.ends_with(".ttf") {
                continue;
            }
            for spelling in [name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(of(&spelling), file, "{spelling}");
            }
        }
    }

    #[test]
    fn winboot_02_what_is_the_same_for_every_machine_is_not_made() {
        for name in [
            "",
            "\\",
            "pxelinux.0",
            "images\\boot.wim",
            "\\EFI\\Microsoft\\Boot\\SiPolicy.p7b",
            "\\EFI\\Microsoft\\Boot\\SecureBootPolicy.p7b",
            "\\EFI\\Microsoft\\Boot\\UnlockToken.pol",
            "\\EFI\\Microsoft\\Boot\\winsipolicy.p7b",
            "\\EFI\\Microsoft\\Boot\\CIPolicies",
            "\\Boot\\en-US\\bootmgfw.efi.mui",
            "\\Boot\\resources\\bootres.dll",
            "\\hiberfil.sys",
            "\\SMSImages\\PKG\\boot.PKG.wim",
            "\\Boot\\Fonts\\.ttf",
            "\\Boot\\Fonts\\\u{e4}\u{e4}",
            "\\SMSTemp\\1.boot.bcd",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
