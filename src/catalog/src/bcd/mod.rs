//! Boot configuration data: the store that Windows' boot manager reads, made for RAM-disk boots,
//! and shown whoever made it.
//!
//! A store is a registry hive of objects (boot manager, loaders, options of devices), each with
//! elements. Microsoft documents objects and elements ("Boot Configuration Data Reference");
//! docs/reference/bcd.md lists what is written here.

mod device;
mod element;
mod hive;
mod object;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

use bootstorm_proto::types::{BlockSize, WindowSize};

pub use device::Device;
pub use element::{Element, Value};
pub use hive::HiveError;
pub use object::{Object, ObjectId, ObjectKind};

/// Most entries of one store.
pub const MAX_ENTRIES: usize = 64;
/// Longest path, in UTF-16 units.
pub const MAX_PATH: usize = 255;
/// Longest title or line of options, in UTF-16 units.
pub const MAX_TEXT: usize = 512;

/// What the boot manager is told: the systems that it can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootStore {
    /// Which boot manager reads it.
    pub firmware: Firmware,
    /// One to [`MAX_ENTRIES`] systems, in the order of the menu.
    pub entries: Vec<RamdiskEntry>,
    /// Which of them boots unless somebody chooses another, from 0.
    pub default: usize,
    /// Whether somebody is asked.
    pub menu: Menu,
    /// Language of the boot manager's own words, such as `de-DE`: it then asks for
    /// `\Boot\de-DE\bootmgr.exe.mui`.
    pub locale: Option<String>,
}

/// Which boot manager reads a store. The loader inside the image is named accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// `bootmgr.exe` starts `winload.exe`.
    Bios,
    /// `bootmgfw.efi` starts `winload.efi`.
    Uefi,
}

/// Whether the boot manager shows its menu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Menu {
    /// The default starts at once.
    #[default]
    Hidden,
    /// The default starts after so long, rounded up to whole seconds.
    Timed(Duration),
    /// Until somebody chooses.
    Waits,
}

/// A Windows PE that runs from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamdiskEntry {
    /// What the menu and the boot manager's messages call it.
    pub title: String,
    /// The image, as the boot manager is to ask the TFTP server for it: `\Boot\boot.wim`. `/`
    /// stands for `\`, and the first may be left out.
    pub wim: String,
    /// The RAM disk's first blocks, likewise: `\Boot\boot.sdi`.
    pub sdi: String,
    /// Bytes of a block that the boot manager asks for; its own default otherwise.
    pub block: Option<BlockSize>,
    /// Blocks that may be sent at a time, likewise.
    pub window: Option<WindowSize>,
    /// The boot manager may change the window while it fetches: Microsoft's `msftwindow`.
    pub variable_window: bool,
    /// Drivers that are signed for tests are loaded.
    pub test_signing: bool,
    /// Options for the kernel, as `bcdedit /set loadoptions` takes them.
    pub options: Option<String>,
}

impl RamdiskEntry {
    /// An entry that leaves all else to the boot manager.
    pub fn new(title: impl Into<String>, wim: impl Into<String>, sdi: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            wim: wim.into(),
            sdi: sdi.into(),
            block: None,
            window: None,
            variable_window: false,
            test_signing: false,
            options: None,
        }
    }
}

impl BootStore {
    /// The file. The same store gives the same bytes; 8 KiB for one entry with paths of usual
    /// length, at most 12 KiB.
    ///
    /// # Errors
    /// [`BcdError`], for what no boot manager could read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BcdError> {
        Ok(hive::write(&write::tree(self)?))
    }
}

/// What is in a store, whoever made it: the objects in the order of the file. Costs time and
/// memory in proportion to the file at most.
///
/// # Errors
/// [`BcdError::Hive`] and [`BcdError::NoObjects`].
pub fn show(file: &[u8]) -> Result<Vec<Object>, BcdError> {
    let root = hive::read(file)?;
    let objects = root.key("Objects").ok_or(BcdError::NoObjects)?;
    Ok(objects.keys.iter().filter_map(object::read).collect())
}

/// Why a store cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BcdError {
    /// Nothing to boot.
    #[error("there is nothing to boot; name a WIM file")]
    NoEntries,
    /// More than [`MAX_ENTRIES`].
    #[error("{0} entries are more than the 64 that fit; leave some out")]
    TooManyEntries(usize),
    /// The default is no entry.
    #[error("entry {default} cannot be the default of {entries}; count from 0")]
    NoDefault {
        /// Which was to be.
        default: usize,
        /// How many there are.
        entries: usize,
    },
    /// The boot manager could not ask for such a path.
    #[error("`{}` is no path for a boot manager: {fault}", .path.escape_default())]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A title, a language or options that the boot manager could not show or take.
    #[error("the {what} `{}` {fault}", .text.escape_default())]
    Text {
        /// What it was to be.
        what: &'static str,
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The file is no hive, or a damaged one.
    #[error(transparent)]
    Hive(#[from] HiveError),
    /// A hive of something else.
    #[error("this registry hive holds no boot configuration: it has no key Objects")]
    NoObjects,
}

impl BcdError {
    /// Stable code, see docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoEntries => "bcd.no-entries",
            Self::TooManyEntries(_) => "bcd.too-many-entries",
            Self::NoDefault { .. } => "bcd.no-default",
            Self::Path { .. } => "bcd.bad-path",
            Self::Text { .. } => "bcd.bad-text",
            Self::Hive(_) => "bcd.damaged",
            Self::NoObjects => "bcd.no-objects",
        }
    }
}
