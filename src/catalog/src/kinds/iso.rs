//! ISO images: ISO 9660 with El Torito.

use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use super::{Candidate, Listing, one_line, stem};
use crate::{Entry, EntryKind, File};

const SECTOR: usize = 2048;

/// Finds every .iso file.
pub(crate) fn find(listing: &Listing<'_>, out: &mut Vec<Candidate>) {
    for file in listing.with_extension("iso") {
        out.push(candidate(listing, file));
    }
}

/// What an ISO image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iso {
    /// Volume identifier; may be empty.
    pub volume: String,
    /// El Torito has an entry for BIOS.
    pub bios: bool,
    /// El Torito has an entry for UEFI.
    pub uefi: bool,
    /// The image also carries a partition table, so that it can be written to a disk.
    pub hybrid: bool,
}

impl Iso {
    /// Reads the descriptors of a whole image; `None` when it is no ISO 9660.
    #[must_use]
    pub fn parse(image: &[u8]) -> Option<Self> {
        let primary = sector(image, 16)?;
        if primary[0] != 1 || primary.get(1..6)? != b"CD001" {
            return None;
        }
        let volume = String::from_utf8_lossy(primary.get(40..72)?);
        let (bios, uefi) = el_torito(image).unwrap_or_default();
        Some(Self {
            volume: one_line(volume.trim_matches([' ', '\0'])),
            bios,
            uefi,
            hybrid: image.get(510..512)? == [0x55, 0xaa],
        })
    }

    fn families(&self) -> Vec<Family> {
        match (self.bios, self.uefi) {
            (true, false) => vec![Family::Bios],
            (false, true) => Family::ALL
                .into_iter()
                .filter(|f| *f != Family::Bios)
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn candidate(listing: &Listing<'_>, file: &File) -> Candidate {
    let (settings, problems) = listing.settings(&file.path);
    let name = stem(&file.path);
    let iso = Iso::parse(&file.content);
    let title = iso
        .as_ref()
        .map(|iso| iso.volume.as_str())
        .filter(|v| !v.is_empty());
    let kind = EntryKind::Iso {
        image: file.path.to_string(),
    };
    let mut entry = Entry::new("", title.map_or_else(|| one_line(name), one_line), kind);
    match iso {
        None => entry.unbootable = reason("iso.not-an-iso", "no ISO 9660 image; copy it again"),
        Some(iso) if !iso.bios && !iso.uefi => {
            entry.unbootable = reason(
                "iso.not-bootable",
                "the image holds no boot record: it is a data medium",
            );
        }
        Some(iso) => entry.families = iso.families(),
    }
    settings.apply(&mut entry);
    Candidate {
        entry,
        name: name.into(),
        problems,
    }
}

fn reason(code: &'static str, text: &'static str) -> Option<Reason> {
    Some(Reason {
        code,
        text: text.into(),
    })
}

/// Whether the boot catalogue has entries for BIOS and for UEFI.
fn el_torito(image: &[u8]) -> Option<(bool, bool)> {
    let record = (17..32)
        .map_while(|number| sector(image, number).filter(|s| s[0] != 255))
        .find(|s| s[0] == 0 && s.get(7..30) == Some(b"EL TORITO SPECIFICATION"))?;
    let at = u32::from_le_bytes([record[71], record[72], record[73], record[74]]);
    let catalogue = sector(image, usize::try_from(at).ok()?)?;
    if catalogue[0] != 1 || catalogue[30..32] != [0x55, 0xaa] {
        return None;
    }
    let mut found = (false, false);
    let mut platform = catalogue[1];
    for entry in catalogue.chunks_exact(32).skip(1) {
        match entry[0] {
            0x90 | 0x91 => platform = entry[1],
            0x88 if platform == 0xef => found.1 = true,
            0x88 => found.0 = true,
            0 | 0x44 => {}
            _ => break,
        }
    }
    Some(found)
}

fn sector(image: &[u8], number: usize) -> Option<&[u8]> {
    let start = number.checked_mul(SECTOR)?;
    image.get(start..start.checked_add(SECTOR)?)
}
