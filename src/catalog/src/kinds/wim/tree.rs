//! The folder tree of an image, which WIM files call its metadata.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::WimError;
use super::header::{u16_at, u32_at, u64_at};
use super::lookup::Sha1Digest;

/// Deepest folder.
const MAX_DEPTH: usize = 256;

/// Bytes of an entry before its names.
const ENTRY: usize = 102;

/// Bytes of an alternate stream before its name.
const STREAM: usize = 38;

const ATTRIBUTE_DIRECTORY: u32 = 0x10;
const ATTRIBUTE_REPARSE_POINT: u32 = 0x400;

/// Every file and folder of an image.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The root first; the children of a folder lie together, behind it.
    nodes: Vec<Node>,
}

/// A file or a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name; empty for the root. Halves of surrogate pairs, which NTFS allows, are U+FFFD.
    pub name: String,
    /// The 8.3 name, where there is one.
    pub short_name: String,
    /// `FILE_ATTRIBUTE_…` of Windows.
    pub attributes: u32,
    /// When it was made.
    pub created: FileTime,
    /// When it was last read.
    pub accessed: FileTime,
    /// When it was last written to.
    pub written: FileTime,
    /// SHA-1 of the content; zeros for an empty one. For a reparse point, of its data.
    pub sha1: [u8; 20],
    /// Files of one image with the same number other than 0 are one file with several names.
    pub hard_link: u64,
    /// `IO_REPARSE_TAG_…` of a reparse point.
    pub reparse_tag: Option<u32>,
    /// Alternate data streams.
    pub streams: Vec<Stream>,
    children: Range<usize>,
    parent: usize,
}

/// An alternate data stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What comes behind the colon.
    pub name: String,
    /// SHA-1 of the content; zeros for an empty one.
    pub sha1: [u8; 20],
}

/// Tenths of a microsecond since 1601, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime(pub u64);

impl FileTime {
    /// The same for clocks of Unix; `None` for what lies before 1970.
    #[must_use]
    pub fn system_time(self) -> Option<SystemTime> {
        const UNIX: u64 = 11_644_473_600 * 10_000_000;
        let since = self.0.checked_sub(UNIX)?;
        let seconds = Duration::from_secs(since / 10_000_000);
        let rest = Duration::from_nanos(since % 10_000_000 * 100);
        SystemTime::UNIX_EPOCH.checked_add(seconds + rest)
    }
}

impl Node {
    /// It is a folder that can have children: a junction or a link to a folder is none.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        self.attributes & ATTRIBUTE_DIRECTORY != 0 && self.reparse_tag.is_none()
    }
}

impl Tree {
    /// The top folder.
    #[must_use]
    pub fn root(&self) -> &Node {
        // There is always a root: `parse` begins with it.
        &self.nodes[0]
    }

    /// What lies in a folder, in the order of the file.
    #[must_use]
    pub fn children(&self, node: &Node) -> &[Node] {
        self.nodes.get(node.children.clone()).unwrap_or_default()
    }

    /// The file or folder at a path from the root, in any case, with either slash.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Node> {
        let parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
        parts.into_iter().try_fold(self.root(), |folder, part| {
            let children = self.children(folder);
            let exact = children.iter().find(|child| child.name == part);
            exact.or_else(|| {
                let part = part.to_lowercase();
                children
                    .iter()
                    .find(|child| child.name.to_lowercase() == part)
            })
        })
    }

    /// The path of a node, as Windows writes it: `\Windows\System32`; `\` for the root.
    #[must_use]
    pub fn path(&self, node: &Node) -> String {
        let mut names = Vec::new();
        let mut at = node;
        while !at.name.is_empty() {
            names.push(at.name.as_str());
            at = &self.nodes[at.parent];
        }
        names.reverse();
        format!("\\{}", names.join("\\"))
    }

    /// A node and everything below it, a folder before what is in it.
    pub fn below<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        let mut waiting = vec![node];
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(self.children(next).iter().rev());
            Some(next)
        })
    }

    /// Every file and folder, the root first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Reads the metadata of an image.
    pub(super) fn parse(metadata: &[u8]) -> Result<Self, WimError> {
        let root_at = root_at(metadata)?;
        let mut walk = Walk {
            metadata,
            seen: 0,
            folders: Vec::new(),
            nodes: Vec::new(),
        };
        let Some((length, _)) = walk.entry(root_at, 0, 0)? else {
            return Err(WimError::BadMetadata("it has no root"));
        };
        walk.seen += length;
        if let Some(root) = walk.nodes.first_mut() {
            root.name.clear();
        }
        let mut next = 0;
        while let Some(folder) = walk.folders.get(next).copied() {
            walk.listing(folder)?;
            next += 1;
        }
        Ok(Self { nodes: walk.nodes })
    }
}

/// The root comes behind the security descriptors.
fn root_at(metadata: &[u8]) -> Result<usize, WimError> {
    let Some(fixed) = metadata.first_chunk::<8>() else {
        return Err(WimError::BadMetadata("it is cut short"));
    };
    // Some writers leave the length of an empty table out.
    let length = (u32_at(fixed, 0) as usize).max(8);
    Ok(length.next_multiple_of(8))
}

/// A folder whose listing was not read yet.
#[derive(Clone, Copy)]
struct Folder {
    node: usize,
    at: usize,
    depth: usize,
}

struct Walk<'a> {
    metadata: &'a [u8],
    /// Bytes of entries so far: folders that share a listing must not multiply for ever.
    seen: usize,
    folders: Vec<Folder>,
    nodes: Vec<Node>,
}

impl Walk<'_> {
    fn listing(&mut self, folder: Folder) -> Result<(), WimError> {
        let first = self.nodes.len();
        let mut at = folder.at;
        while let Some((length, named)) = self.entry(at, folder.node, folder.depth + 1)? {
            if !named {
                return Err(WimError::BadMetadata("a file has no name"));
            }
            self.seen += length;
            if self.seen > self.metadata.len() {
                return Err(WimError::BadMetadata("folders lead into each other"));
            }
            at += length;
        }
        self.nodes[folder.node].children = first..self.nodes.len();
        Ok(())
    }

    /// Reads the entry at `at`: how many bytes it takes, and whether it has a name. `None` is the
    /// end of a listing.
    fn entry(
        &mut self,
        at: usize,
        parent: usize,
        depth: usize,
    ) -> Result<Option<(usize, bool)>, WimError> {
        const CUT: WimError = WimError::BadMetadata("an entry is cut short");
        let rest = self.metadata.get(at..).ok_or(CUT)?;
        let length = u64_at(rest.first_chunk::<8>().ok_or(CUT)?, 0);
        // Zero ends a listing; some writers end it by an entry of its own length only.
        if length <= 8 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| CUT)?;
        let entry = rest.get(..length).filter(|e| e.len() >= ENTRY).ok_or(CUT)?;
        let (name, short_name) = names(entry).ok_or(CUT)?;
        let attributes = u32_at(entry, 8);
        let is_reparse = attributes & ATTRIBUTE_REPARSE_POINT != 0;
        let mut node = Node {
            name,
            short_name,
            attributes,
            created: FileTime(u64_at(entry, 40)),
            accessed: FileTime(u64_at(entry, 48)),
            written: FileTime(u64_at(entry, 56)),
            sha1: sha1_at(entry, 64),
            reparse_tag: is_reparse.then(|| u32_at(entry, 88)),
            hard_link: if is_reparse { 0 } else { u64_at(entry, 88) },
            parent,
            ..Node::default()
        };
        let mut end = align(length).ok_or(CUT)?;
        for _ in 0..u16_at(entry, 96) {
            let stream = rest.get(end..).ok_or(CUT)?;
            end = align(end + read_stream(stream, &mut node).ok_or(CUT)?).ok_or(CUT)?;
        }
        let named = !node.name.is_empty();
        let listing = u64_at(entry, 16);
        if node.is_folder() && listing != 0 {
            if depth >= MAX_DEPTH {
                return Err(WimError::BadMetadata("folders are nested too deeply"));
            }
            self.folders.push(Folder {
                node: self.nodes.len(),
                at: usize::try_from(listing).map_err(|_| CUT)?,
                depth,
            });
        }
        self.nodes.push(node);
        Ok(Some((end, named)))
    }
}

/// Name and short name; each but an empty one is followed by a NUL.
fn names(entry: &[u8]) -> Option<(String, String)> {
    let short = usize::from(u16_at(entry, 98));
    let long = usize::from(u16_at(entry, 100));
    let name = entry.get(ENTRY..ENTRY + long)?;
    let short_at = ENTRY + long + if long == 0 { 0 } else { 2 };
    let short_name = if short == 0 {
        &[]
    } else {
        entry.get(short_at..short_at + short)?
    };
    Some((text(name), text(short_name)))
}

/// Reads an alternate stream, gives its length. One without a name is the content itself, which
/// writers put here when there are others.
fn read_stream(bytes: &[u8], node: &mut Node) -> Option<usize> {
    let length = usize::try_from(u64_at(bytes.first_chunk::<8>()?, 0)).ok()?;
    let entry = bytes.get(..length).filter(|e| e.len() >= STREAM)?;
    let name = entry.get(STREAM..STREAM + usize::from(u16_at(entry, 36)))?;
    let sha1 = sha1_at(entry, 16);
    if !name.is_empty() {
        node.streams.push(Stream {
            name: text(name),
            sha1,
        });
    } else if node.sha1 == [0; 20] {
        node.sha1 = sha1;
    }
    Some(length)
}

fn text(utf16: &[u8]) -> String {
    let (units, _) = utf16.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn sha1_at(bytes: &[u8], at: usize) -> Sha1Digest {
    std::array::from_fn(|i| bytes[at + i])
}

fn align(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: u32 = ATTRIBUTE_DIRECTORY;

    /// An entry whose alternate streams follow it; each has a digest of its number.
    fn entry(name: &str, attributes: u32, listing: u64, streams: &[&str]) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut entry = vec![0; ENTRY];
        entry[8..12].copy_from_slice(&attributes.to_le_bytes());
        entry[16..24].copy_from_slice(&listing.to_le_bytes());
        entry[88..92].copy_from_slice(&7_u32.to_le_bytes());
        entry[96..98].copy_from_slice(&(streams.len() as u16).to_le_bytes());
        entry[100..102].copy_from_slice(&(name.len() as u16).to_le_bytes());
        entry.extend(&name);
        entry.extend([0; 2]);
        let length = entry.len() as u64;
        entry[..8].copy_from_slice(&length.to_le_bytes());
        entry.resize(entry.len().next_multiple_of(8), 0);
        for (n, name) in (1..).zip(streams) {
            let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut stream = vec![0; STREAM];
            stream[16..36].fill(n);
            stream[36..38].copy_from_slice(&(name.len() as u16).to_le_bytes());
            stream.extend(&name);
            let length = stream.len() as u64;
            stream[..8].copy_from_slice(&length.to_le_bytes());
            entry.extend(stream);
            entry.resize(entry.len().next_multiple_of(8), 0);
        }
        entry
    }

    /// No security descriptors, the root, and the listings where it and others say they are.
    fn metadata(listings: &[(usize, Vec<u8>)]) -> Vec<u8> {
        let mut all = vec![0; 8];
        all.extend(entry("", FOLDER, 200, &[]));
        for (at, listing) in listings {
            assert!(all.len() <= *at);
            all.resize(*at, 0);
            all.extend(listing);
            all.extend([0; 8]);
        }
        all
    }

    #[test]
    fn streams_reparse_points_and_hard_links_are_kept() {
        let mut listing = entry("file", 0, 0, &["", "Zone.Identifier"]);
        listing.extend(entry("junction", FOLDER | ATTRIBUTE_REPARSE_POINT, 0, &[]));
        let tree = Tree::parse(&metadata(&[(200, listing)])).unwrap();
        let file = tree.find("FILE").unwrap();
        assert_eq!(
            file.sha1, [1; 20],
            "the content is the stream without a name"
        );
        assert_eq!((file.hard_link, file.reparse_tag), (7, None));
        assert_eq!(file.streams[0].name, "Zone.Identifier");
        assert_eq!((file.streams.len(), file.streams[0].sha1), (1, [2; 20]));
        let junction = tree.find("junction").unwrap();
        assert_eq!(
            (junction.is_folder(), junction.reparse_tag),
            (false, Some(7))
        );
        let paths: Vec<String> = tree.below(tree.root()).map(|n| tree.path(n)).collect();
        assert_eq!(paths, ["\\", "\\file", "\\junction"]);
    }

    #[test]
    fn trees_that_lead_into_themselves_or_nowhere_are_refused() {
        let refused = |listing: Vec<u8>| Tree::parse(&metadata(&[(200, listing)])).unwrap_err();
        let round = refused([entry("a", FOLDER, 200, &[]), entry("b", FOLDER, 200, &[])].concat());
        assert_eq!(round, WimError::BadMetadata("folders lead into each other"));
        let cut = WimError::BadMetadata("an entry is cut short");
        assert_eq!(refused(entry("a", FOLDER, 1 << 40, &[])), cut);
        assert_eq!(refused(entry("a", FOLDER, u64::MAX, &[])), cut);
        let mut long = entry("a", 0, 0, &[]);
        long[0..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(refused(long), cut);
        let unnamed = refused(entry("", 0, 0, &[]));
        assert_eq!(unnamed, WimError::BadMetadata("a file has no name"));
        assert_eq!(Tree::parse(&[0; 8]).unwrap_err(), cut);
    }

    #[test]
    fn folders_may_be_deep_but_not_endless() {
        let parse = |depth: usize| {
            let listings: Vec<(usize, Vec<u8>)> = (1..=depth)
                .map(|n| (n * 200, entry("d", FOLDER, (n as u64 + 1) * 200, &[])))
                .chain([((depth + 1) * 200, Vec::new())])
                .collect();
            Tree::parse(&metadata(&listings))
        };
        let deep = parse(MAX_DEPTH - 1).unwrap();
        assert_eq!(deep.nodes().count(), MAX_DEPTH);
        let endless = WimError::BadMetadata("folders are nested too deeply");
        assert_eq!(parse(MAX_DEPTH).unwrap_err(), endless);
    }
}
