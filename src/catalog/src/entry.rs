//! What can be booted.

use bootstorm_proto::types::Family;

/// One line of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable name for `--boot`, configuration and scripts: `[a-z0-9._-]+`.
    pub id: String,
    /// What the menu shows.
    pub title: String,
    /// How it boots.
    pub kind: EntryKind,
    /// Families that can boot it; empty means all.
    pub families: Vec<Family>,
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
    /// Windows PE through wimboot.
    Wim {
        /// The .wim file.
        wim: String,
        /// Image to boot, from 1.
        index: u32,
        /// Files to inject: name in System32, path.
        inject: Vec<(String, String)>,
    },
    /// An EFI program.
    Efi {
        /// The program.
        program: String,
    },
    /// An ISO image, as a virtual drive.
    Iso {
        /// The image.
        image: String,
    },
}
