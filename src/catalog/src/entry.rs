//! What can be booted.

use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use crate::Injected;

/// One line of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable name for `--boot`, configuration and scripts: `[a-z0-9._-]+`.
    pub id: String,
    /// What the menu shows: one line without control characters.
    pub title: String,
    /// How it boots.
    pub kind: EntryKind,
    /// Families that can boot it; empty means all.
    pub families: Vec<Family>,
    /// Not in the menu, but can be named.
    pub hidden: bool,
    /// Why it cannot be booted: such an entry is listed for people, never offered to machines.
    pub unbootable: Option<Reason>,
}

impl Entry {
    /// An entry for all families that is shown and can be booted.
    pub fn new(id: impl Into<String>, title: impl Into<String>, kind: EntryKind) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            kind,
            families: Vec::new(),
            hidden: false,
            unbootable: None,
        }
    }

    /// The machine can boot it.
    #[must_use]
    pub fn boots(&self, family: Family) -> bool {
        self.unbootable.is_none() && (self.families.is_empty() || self.families.contains(&family))
    }
}

/// How an entry boots. Paths are relative to the images folder, with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Linux: kernel, initrds in order, command line.
    Linux {
        /// Kernel.
        kernel: String,
        /// Initial RAM disks.
        initrds: Vec<String>,
        /// Command line.
        cmdline: String,
    },
    /// Windows PE.
    Wim {
        /// The .wim file.
        wim: String,
        /// Image to boot, from 1.
        index: u32,
        /// Files to inject.
        inject: Vec<Injected>,
        /// The wimboot program for the image's architecture; empty where another loader is used.
        wimboot: String,
        /// Words for wimboot's command line, such as `gui`; empty for the default.
        args: String,
        /// What loads it.
        loader: WimLoader,
        /// What its boot manager is told besides.
        options: LoadOptions,
    },
    /// An EFI program.
    Efi {
        /// The program.
        program: String,
        /// Its command line; mostly empty.
        args: String,
    },
    /// An ISO image, as a virtual drive.
    Iso {
        /// The image.
        image: String,
    },
}

/// What loads a Windows PE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WimLoader {
    /// wimboot, under iPXE.
    #[default]
    Wimboot,
    /// Windows' own boot manager over TFTP, out of the image. Where it is signed as said, else
    /// however it is.
    BootManager(Option<Signing>),
}

/// What a boot manager is told of a Windows PE besides where it lies, as `bcdedit` would set it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Drivers that are signed for tests are loaded.
    pub test_signing: bool,
    /// Options for the kernel (`loadoptions`).
    pub text: Option<String>,
}

/// Whose signature firmware has to trust for a boot manager of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Windows Production PCA 2011.
    Pca2011,
    /// Windows UEFI CA 2023.
    Ca2023,
}

impl Signing {
    /// The boot manager for UEFI, as the files of an image are called.
    #[must_use]
    pub const fn boot_manager(self) -> &'static str {
        match self {
            Self::Pca2011 => "bootmgfw.efi",
            Self::Ca2023 => "bootmgfw_EX.efi",
        }
    }
}

/// What a BIOS is given of an image; it loads [`BIOS_BOOT_MANAGER`].
pub const BIOS_BOOT_PROGRAM: &str = "pxeboot.n12";

/// The boot manager for BIOS, as the files of an image are called.
pub const BIOS_BOOT_MANAGER: &str = "bootmgr.exe";

impl EntryKind {
    /// Something that its machines load is made for each of them.
    #[must_use]
    pub fn is_made_to_measure(&self) -> bool {
        match self {
            Self::Wim { inject, .. } => inject.iter().any(Injected::is_made),
            Self::Linux { .. } | Self::Efi { .. } | Self::Iso { .. } => false,
        }
    }

    /// `linux`, `wim`, `efi` or `iso`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Linux { .. } => "linux",
            Self::Wim { .. } => "wim",
            Self::Efi { .. } => "efi",
            Self::Iso { .. } => "iso",
        }
    }

    /// The file that the entry stands for.
    #[must_use]
    pub fn main_file(&self) -> &str {
        match self {
            Self::Linux { kernel, .. } => kernel,
            Self::Wim { wim, .. } => wim,
            Self::Efi { program, .. } => program,
            Self::Iso { image } => image,
        }
    }
}
