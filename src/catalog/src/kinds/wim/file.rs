//! A whole WIM file: its images' trees, and the content of their files.

use std::io::{self, Write};
use std::ops::Range;

use sha1::{Digest, Sha1};

use super::header::{Header, Resource};
use super::lookup::{Content, Lookup, Sha1Digest, is_digest_of};
use super::resource::{self, Unpacker};
use super::{Integrity, Node, Tree, Wim, WimError, xml};

/// Longest content that [`WimFile::read`] reads into memory.
pub const MAX_READ: u64 = 256 << 20;

/// Longest tree of an image: a whole Windows has 40 MB.
const MAX_TREE: u64 = 256 << 20;

/// A WIM file, read on demand: nothing but the header, the XML and the lookup table at first, and
/// never past the sizes that the file declares.
#[derive(Debug)]
pub struct WimFile<'a> {
    bytes: &'a [u8],
    header: Header,
    wim: Wim,
    lookup: Lookup,
}

/// Why a content was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] WimError),
    /// It cannot be written.
    #[error("{0}")]
    Write(#[source] io::Error),
}

impl<'a> WimFile<'a> {
    /// Reads header, XML and lookup table of a whole file.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, WimError> {
        let header = Header::parse(bytes)?;
        let wim = Wim::of(bytes, &header)?;
        let lookup = Lookup::read(bytes, &header)?;
        // The other parts of a split image have no trees.
        if header.part == 1 && lookup.trees() != wim.images.len() {
            return Err(WimError::BadLookup("there are not as many trees as images"));
        }
        Ok(Self {
            bytes,
            header,
            wim,
            lookup,
        })
    }

    /// What header and XML say.
    #[must_use]
    pub const fn wim(&self) -> &Wim {
        &self.wim
    }

    /// The XML itself; empty when there is none.
    ///
    /// # Errors
    /// None that [`WimFile::open`] did not find already.
    pub fn xml(&self) -> Result<String, WimError> {
        match self.header.xml.bytes(self.bytes, "XML")? {
            [] => Ok(String::new()),
            bytes => xml::decode(bytes),
        }
    }

    /// The check sums that the file has of itself, where it has some.
    ///
    /// # Errors
    /// [`WimError::BadResource`] when they do not fit the file.
    pub fn integrity(&self) -> Result<Option<Integrity<'a>>, WimError> {
        Integrity::read(self.bytes, &self.header)
    }

    /// The files and folders of the image with this number, from 1.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn tree(&self, index: u32) -> Result<Tree, WimError> {
        let Some(content) = self.lookup.metadata(index) else {
            return Err(WimError::NoSuchImage {
                index,
                images: self.wim.images.len(),
            });
        };
        let resource = self.resource(content)?;
        let what = "folder tree";
        let metadata = resource::read(self.bytes, &self.header, resource, what, MAX_TREE)?;
        if !is_digest_of(&content.sha1, &metadata) {
            return Err(WimError::BadDigest {
                what,
                offset: resource.offset,
            });
        }
        Tree::parse(&metadata)
    }

    /// Bytes of a file's content.
    ///
    /// # Errors
    /// [`WimError::MissingContent`], [`WimError::IsFolder`].
    pub fn size(&self, node: &Node) -> Result<u64, WimError> {
        Ok(self.content(node)?.map_or(0, |c| c.resource.original))
    }

    /// Where a file's content lies in the WIM file, when it lies there as it is.
    ///
    /// # Errors
    /// As [`WimFile::size`].
    pub fn range(&self, node: &Node) -> Result<Option<Range<u64>>, WimError> {
        let Some(content) = self.content(node)? else {
            return Ok(None);
        };
        let resource = self.resource(content)?;
        let plain = !resource.is_compressed() && !resource.is_solid();
        let fits = plain && resource.bytes(self.bytes, "file")?.len() as u64 == resource.original;
        Ok(fits.then(|| resource.offset..resource.offset + resource.size))
    }

    /// A file's content, of [`MAX_READ`] bytes at most. It has the SHA-1 that it should have.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn read(&self, node: &Node) -> Result<Vec<u8>, WimError> {
        let size = self.size(node)?;
        if size > MAX_READ {
            return Err(WimError::TooLarge {
                what: "file",
                size,
                most: MAX_READ,
            });
        }
        let mut all = Vec::new();
        self.unpack(node, |piece| {
            all.extend_from_slice(piece);
            Ok::<(), WimError>(())
        })?;
        Ok(all)
    }

    /// Writes a file's content, of any length, piece by piece. What is damaged may show only
    /// after some of it was written.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_to(&self, node: &Node, out: &mut dyn Write) -> Result<(), CopyError> {
        self.unpack(node, |piece| out.write_all(piece).map_err(CopyError::Write))
    }

    fn unpack<E: From<WimError>>(
        &self,
        node: &Node,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(content) = self.content(node)? else {
            return Ok(());
        };
        let resource = self.resource(content)?;
        let mut sha1 = Sha1::new();
        let mut unpacker = Unpacker::new(self.bytes, &self.header, resource, "file")?;
        while let Some(piece) = unpacker.next()? {
            sha1.update(piece);
            take(piece)?;
        }
        if Sha1Digest::from(sha1.finalize()) == content.sha1 {
            return Ok(());
        }
        Err(E::from(WimError::BadDigest {
            what: "file",
            offset: resource.offset,
        }))
    }

    /// Where the content of a file is; `None` for an empty one.
    fn content(&self, node: &Node) -> Result<Option<&Content>, WimError> {
        if node.is_folder() {
            return Err(WimError::IsFolder(node.name.clone()));
        }
        if node.sha1 == [0; 20] {
            return Ok(None);
        }
        let found = self.lookup.find(&node.sha1);
        found
            .map(Some)
            .ok_or_else(|| WimError::MissingContent(node.name.clone()))
    }

    fn resource<'c>(&self, content: &'c Content) -> Result<&'c Resource, WimError> {
        if content.part == self.header.part {
            Ok(&content.resource)
        } else {
            Err(WimError::Spanned(content.part))
        }
    }
}
