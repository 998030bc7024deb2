//! Windows images: what is inside a WIM file, and the menu entry that boots it through wimboot.

mod bits;
mod entry;
mod error;
mod file;
mod header;
mod inject;
mod integrity;
mod loaders;
mod lookup;
mod lzx;
mod resource;
#[cfg(test)]
#[path = "../../../../../tests/fixtures/wim.rs"]
pub(crate) mod sample;
mod startup;
#[cfg(test)]
mod tests;
mod tree;
mod xml;
mod xpress;

pub(super) use entry::find;
pub use error::WimError;
pub use file::{CopyError, MAX_READ, WimFile};
pub use integrity::Integrity;
pub use loaders::{Owned, loaders, owned};
pub use tree::{FileTime, Node, Stream, Tree};

use std::borrow::Cow;
use std::fmt;

use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use error::CONVERT;
use header::Header;

/// Most images that one file may hold.
pub const MAX_IMAGES: usize = 1024;

/// What the header and the XML of a WIM file say. The image data is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wim {
    /// Names the file; all parts of a spanned set share it.
    pub guid: [u8; 16],
    /// How the resources are compressed.
    pub compression: Compression,
    /// Bytes of one compressed chunk before compression.
    pub chunk_size: u32,
    /// Resources are packed together (ESD).
    pub solid: bool,
    /// The file is one part of a split set.
    pub spanned: bool,
    /// Number of this part, from 1.
    pub part: u16,
    /// Number of parts.
    pub parts: u16,
    /// Image that boots, from 1; 0 when none is marked.
    pub boot_index: u32,
    /// The images, in the order of their indexes.
    pub images: Vec<WimImage>,
}

/// One image of a WIM file, as its XML describes it. Texts are one line, without control
/// characters, 1 KiB at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WimImage {
    /// Number, from 1.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Bytes of all its files, unpacked.
    pub total_bytes: u64,
    /// Processor; `None` for an image that holds no Windows.
    pub arch: Option<WimArch>,
    /// Product name.
    pub product: String,
    /// Edition, such as `WindowsPE`.
    pub edition: String,
    /// `WindowsPE`, `Client`, `Server` ...
    pub installation: String,
    /// Major, minor, build, service pack build.
    pub version: Option<[u32; 4]>,
    /// Languages, such as `en-US`.
    pub languages: Vec<String>,
}

/// How resources are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// XPRESS: fast.
    Xpress,
    /// LZX: the usual one.
    Lzx,
    /// LZMS: ESD files; wimboot cannot read it.
    Lzms,
    /// These header flags name no single method.
    Unknown(u32),
}

/// Processor of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WimArch {
    /// 32-bit x86.
    X86,
    /// 32-bit ARM.
    Arm,
    /// x86-64.
    X64,
    /// 64-bit ARM.
    Arm64,
    /// Another number.
    Other(u64),
}

impl Wim {
    /// Reads header and XML of a whole file. Never reads past the sizes that the header declares.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn parse(file: &[u8]) -> Result<Self, WimError> {
        Self::of(file, &Header::parse(file)?)
    }

    fn of(file: &[u8], header: &Header) -> Result<Self, WimError> {
        if header.xml.size > xml::MAX_XML {
            return Err(WimError::XmlTooLarge(header.xml.size));
        }
        if header.images as usize > MAX_IMAGES {
            return Err(WimError::TooManyImages);
        }
        let mut images = if header.xml.size == 0 {
            Vec::new()
        } else {
            xml::parse(header.xml.bytes(file, "XML")?)?
        };
        images.sort_by_key(|image| image.index);
        let in_order = (1..).zip(&images).all(|(n, image)| image.index == n);
        if images.len() != header.images as usize || !in_order {
            return Err(WimError::BadXml("its images are not those of the header"));
        }
        Ok(Self {
            guid: header.guid,
            compression: header.compression,
            chunk_size: header.chunk_size,
            solid: header.solid,
            spanned: header.spanned,
            part: header.part,
            parts: header.parts,
            boot_index: header.boot_index,
            images,
        })
    }

    /// The image with this number.
    #[must_use]
    pub fn image(&self, index: u32) -> Option<&WimImage> {
        self.images
            .get(usize::try_from(index).ok()?.checked_sub(1)?)
    }

    /// The image that wimboot should start: `wanted`, or else the one that the header marks, or
    /// else the only Windows PE.
    ///
    /// # Errors
    /// Why wimboot cannot boot this file, as a reason for people.
    pub fn boot_image(&self, wanted: Option<u32>) -> Result<&WimImage, Reason> {
        self.check_container()?;
        if let Some(index) = wanted {
            let missing = || {
                let text = format!("there is no image {index}: the file holds {}", self.count());
                reason("wim.no-such-image", text)
            };
            return self.image(index).ok_or_else(missing);
        }
        if let Some(image) = self.image(self.boot_index) {
            return Ok(image);
        }
        let mut candidates = self.images.iter().filter(|image| image.may_be_pe());
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(reason(
                "wim.no-boot-index",
                format!(
                    "the file holds {} and marks none to boot; set `index` in its image.toml",
                    self.count()
                ),
            )),
            (None, _) => Err(reason(
                "wim.not-windows-pe",
                "no image in it is a Windows PE: such a file is installed, not booted",
            )),
        }
    }

    fn check_container(&self) -> Result<(), Reason> {
        if self.spanned {
            return Err(reason(
                "wim.spanned",
                format!(
                    "part {} of {} of a split image; join the parts first: wimlib-imagex join",
                    self.part, self.parts
                ),
            ));
        }
        if self.solid {
            return Err(reason(
                "wim.solid",
                format!("wimboot cannot read solid (ESD) files; {CONVERT}"),
            ));
        }
        match self.compression {
            Compression::Lzms => Err(reason(
                "wim.lzms",
                format!("wimboot cannot read LZMS compression; {CONVERT}"),
            )),
            Compression::Unknown(flags) => Err(reason(
                "wim.unknown-compression",
                format!("the header flags {flags:#x} name no single compression; {CONVERT}"),
            )),
            Compression::Xpress | Compression::Lzx if self.chunk_size != 32_768 => Err(reason(
                "wim.chunk-size",
                format!(
                    "wimboot reads chunks of 32768 bytes only, these have {}; {CONVERT}",
                    self.chunk_size
                ),
            )),
            Compression::None | Compression::Xpress | Compression::Lzx
                if self.images.is_empty() =>
            {
                Err(reason("wim.no-image", "there is no image in the file"))
            }
            Compression::None | Compression::Xpress | Compression::Lzx => Ok(()),
        }
    }

    fn count(&self) -> String {
        match self.images.len() {
            1 => "1 image".into(),
            n => format!("{n} images"),
        }
    }
}

impl WimImage {
    /// The image says that it is a Windows PE, or does not say what it is.
    #[must_use]
    pub fn may_be_pe(&self) -> bool {
        let kind = if self.installation.is_empty() {
            &self.edition
        } else {
            &self.installation
        };
        kind.is_empty() || kind.eq_ignore_ascii_case("WindowsPE")
    }
}

impl WimArch {
    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::X86,
            5 => Self::Arm,
            9 => Self::X64,
            12 => Self::Arm64,
            n => Self::Other(n),
        }
    }

    /// Families whose firmware can start it; empty when unknown.
    #[must_use]
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::X86 => &[Family::Bios, Family::Ia32],
            Self::Arm => &[Family::Arm32],
            Self::X64 => &[Family::Bios, Family::X64],
            Self::Arm64 => &[Family::Arm64],
            Self::Other(_) => &[],
        }
    }
}

impl fmt::Display for WimArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X86 => f.write_str("x86"),
            Self::Arm => f.write_str("arm"),
            Self::X64 => f.write_str("x64"),
            Self::Arm64 => f.write_str("arm64"),
            Self::Other(n) => write!(f, "processor {n}"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Xpress => "XPRESS",
            Self::Lzx => "LZX",
            Self::Lzms => "LZMS",
            Self::Unknown(_) => "unknown",
        })
    }
}

fn reason(code: &'static str, text: impl Into<Cow<'static, str>>) -> Reason {
    Reason {
        code,
        text: text.into(),
    }
}
