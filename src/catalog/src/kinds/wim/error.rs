//! Why a WIM file cannot be read.

/// Why a file cannot be read as a WIM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WimError {
    /// The magic is missing.
    #[error("this is no WIM file: it does not begin with MSWIM; copy the image again")]
    NotWim,
    /// The file ends before something that it points to.
    #[error(
        "the file is cut short: its {what} ends at byte {needs}, but there are {has}; copy it again, to the end"
    )]
    Truncated {
        /// What is missing.
        what: &'static str,
        /// Bytes that there should be at least.
        needs: u64,
        /// Bytes that there are.
        has: u64,
    },
    /// A tool was writing to the file when it was copied, or died while it did.
    #[error(
        "a tool is still writing to this file, or stopped half-way; finish that and copy it again"
    )]
    WriteInProgress,
    /// A field of the header makes no sense.
    #[error("the header is damaged ({0}); copy the image again")]
    BadHeader(&'static str),
    /// The header points to a place that cannot be.
    #[error(
        "the header is damaged: its {what} is said to be at byte {offset}; copy the image again"
    )]
    BadOffset {
        /// What it points to.
        what: &'static str,
        /// Where it points.
        offset: u64,
    },
    /// The XML is larger than any real image has.
    #[error(
        "the XML has {0} bytes, more than the 1 MiB that is read; the image is damaged or hostile"
    )]
    XmlTooLarge(u64),
    /// The XML cannot be read.
    #[error("the XML is damaged: {0}; copy the image again or export it anew")]
    BadXml(&'static str),
    /// More images than [`super::MAX_IMAGES`].
    #[error("there are more than 1024 images in the file; the image is damaged or hostile")]
    TooManyImages,
    /// The lookup table, which tells where everything is, makes no sense.
    #[error("the lookup table is damaged ({0}); copy the image again")]
    BadLookup(&'static str),
    /// The folder tree of an image makes no sense.
    #[error("the folder tree is damaged ({0}); copy the image again")]
    BadMetadata(&'static str),
    /// Something packed cannot be unpacked.
    #[error("the {what} at byte {offset} is damaged: {why}; copy the image again")]
    BadResource {
        /// What it is.
        what: &'static str,
        /// Where it is in the file.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The content is not what its SHA-1 says.
    #[error("the {what} at byte {offset} is damaged: its SHA-1 is another; copy the image again")]
    BadDigest {
        /// What it is.
        what: &'static str,
        /// Where it is in the file.
        offset: u64,
    },
    /// The lookup table does not have the content of a file.
    #[error("the content of {0:?} is not in this file; copy the image again")]
    MissingContent(String),
    /// There is no image of this number.
    #[error("there is no image {index}: the file holds {images}")]
    NoSuchImage {
        /// The number that was asked for.
        index: u32,
        /// How many there are.
        images: usize,
    },
    /// A folder has no content.
    #[error("{0:?} is a folder")]
    IsFolder(String),
    /// More than is ever read into memory.
    #[error("the {what} has {size} bytes, more than the {most} that are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Bytes that it is said to have.
        size: u64,
        /// The limit.
        most: u64,
    },
    /// It lies in a solid resource.
    #[error("solid (ESD) files cannot be read; {CONVERT}")]
    Solid,
    /// It is compressed with LZMS.
    #[error("LZMS compression cannot be read; {CONVERT}")]
    Lzms,
    /// The header names no single compression.
    #[error("the header flags {0:#x} name no single compression; {CONVERT}")]
    UnknownCompression(u32),
    /// Chunks of a size that the compression does not have.
    #[error("chunks of {0} bytes cannot be read; {CONVERT}")]
    ChunkSize(u32),
    /// It lies in another part of a split image.
    #[error("it lies in part {0} of a split image; join the parts first: wimlib-imagex join")]
    Spanned(u16),
}

/// What to do about a file that is packed in a way that nobody here can read.
pub(super) const CONVERT: &str =
    "convert it first: wimlib-imagex export IN.esd 1 OUT.wim --compress=LZX --boot";

impl WimError {
    /// Stable code, see docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotWim => "wim.not-a-wim",
            Self::Truncated { .. } => "wim.truncated",
            Self::WriteInProgress => "wim.write-in-progress",
            Self::BadHeader(_) => "wim.bad-header",
            Self::BadOffset { .. } => "wim.bad-offset",
            Self::XmlTooLarge(_) => "wim.xml-too-large",
            Self::BadXml(_) => "wim.bad-xml",
            Self::TooManyImages => "wim.too-many-images",
            Self::BadLookup(_) => "wim.bad-lookup-table",
            Self::BadMetadata(_) => "wim.bad-metadata",
            Self::BadResource { .. } => "wim.bad-resource",
            Self::BadDigest { .. } => "wim.bad-digest",
            Self::MissingContent(_) => "wim.missing-content",
            Self::NoSuchImage { .. } => "wim.no-such-image",
            Self::IsFolder(_) => "wim.is-folder",
            Self::TooLarge { .. } => "wim.too-large",
            Self::Solid => "wim.solid",
            Self::Lzms => "wim.lzms",
            Self::UnknownCompression(_) => "wim.unknown-compression",
            Self::ChunkSize(_) => "wim.chunk-size",
            Self::Spanned(_) => "wim.spanned",
        }
    }
}
