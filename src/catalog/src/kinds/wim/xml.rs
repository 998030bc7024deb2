//! The XML at the end of a WIM file: what its images are called and which machines they are for.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{MAX_IMAGES, WimArch, WimError, WimImage};

/// Longest XML that is read: stock images have 2 to 60 KiB.
pub(super) const MAX_XML: u64 = 1 << 20;

const MAX_DEPTH: usize = 16;
const MAX_TEXT: usize = 1024;

pub(super) fn parse(utf16: &[u8]) -> Result<Vec<WimImage>, WimError> {
    let text = decode(utf16)?;
    let mut reader = Reader::from_str(&text);
    let mut walk = Walk::default();
    loop {
        let event = reader
            .read_event()
            .map_err(|_| WimError::BadXml("it is not well-formed"))?;
        match event {
            Event::Start(tag) => walk.open(&tag)?,
            Event::End(_) => walk.close()?,
            Event::Empty(tag) => {
                walk.open(&tag)?;
                walk.close()?;
            }
            Event::Text(text) => walk.text(&text),
            Event::CData(text) => walk.text(&text),
            Event::GeneralRef(name) => {
                let c = match &*name {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => name
                        .resolve_char_ref()
                        .ok()
                        .flatten()
                        .ok_or(WimError::BadXml("it uses an entity that is not defined"))?,
                };
                walk.text(c.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err(WimError::BadXml("it holds a document type")),
            Event::Eof => return walk.finish(),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
        }
    }
}

pub(super) fn decode(utf16: &[u8]) -> Result<String, WimError> {
    let body = utf16
        .strip_prefix(&[0xff, 0xfe])
        .ok_or(WimError::BadXml("no byte order mark"))?;
    if !body.len().is_multiple_of(2) {
        return Err(WimError::BadXml("an odd number of bytes"));
    }
    let units = body
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .map(|text| text.trim_end_matches('\0').to_owned())
        .map_err(|_| WimError::BadXml("it is not UTF-16"))
}

/// Where the reader is, and what it found.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    text: String,
    current: Option<WimImage>,
    images: Vec<WimImage>,
}

impl Walk {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), WimError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(WimError::BadXml("it is nested too deeply"));
        }
        self.path.push(tag.name().0.to_ascii_uppercase());
        self.text.clear();
        if self.path == ["WIM", "IMAGE"] {
            if self.images.len() >= MAX_IMAGES {
                return Err(WimError::TooManyImages);
            }
            let index = tag
                .try_get_attribute("INDEX")
                .ok()
                .flatten()
                .and_then(|a| a.value.trim().parse().ok())
                .ok_or(WimError::BadXml("an image without INDEX"))?;
            self.current = Some(WimImage {
                index,
                ..WimImage::default()
            });
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            if self.text.len() >= MAX_TEXT {
                return;
            }
            self.text.push(if c.is_control() { ' ' } else { c });
        }
    }

    fn close(&mut self) -> Result<(), WimError> {
        let text = std::mem::take(&mut self.text);
        if self.path == ["WIM", "IMAGE"] {
            self.images.extend(self.current.take());
        } else if let (Some(image), [wim, img, field @ ..]) = (&mut self.current, &*self.path)
            && (wim, img) == (&"WIM".into(), &"IMAGE".into())
        {
            let field: Vec<&str> = field.iter().map(String::as_str).collect();
            set(image, &field, text.trim());
        }
        self.path
            .pop()
            .map(drop)
            .ok_or(WimError::BadXml("it is not well-formed"))
    }

    fn finish(self) -> Result<Vec<WimImage>, WimError> {
        if !self.path.is_empty() {
            return Err(WimError::BadXml("it ends too early"));
        }
        Ok(self.images)
    }
}

fn set(image: &mut WimImage, field: &[&str], text: &str) {
    let number = || text.parse::<u64>().ok();
    match field {
        ["NAME"] => image.name = text.into(),
        ["DESCRIPTION"] => image.description = text.into(),
        ["TOTALBYTES"] => image.total_bytes = number().unwrap_or_default(),
        ["WINDOWS", "ARCH"] => image.arch = number().map(WimArch::from_number),
        ["WINDOWS", "PRODUCTNAME"] => image.product = text.into(),
        ["WINDOWS", "EDITIONID"] => image.edition = text.into(),
        ["WINDOWS", "INSTALLATIONTYPE"] => image.installation = text.into(),
        [
            "WINDOWS",
            "VERSION",
            part @ ("MAJOR" | "MINOR" | "BUILD" | "SPBUILD"),
        ] => {
            let slot = match *part {
                "MAJOR" => 0,
                "MINOR" => 1,
                "BUILD" => 2,
                _ => 3,
            };
            let version = image.version.get_or_insert_default();
            version[slot] = number()
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or_default();
        }
        ["WINDOWS", "LANGUAGES", "LANGUAGE"] if image.languages.len() < 64 => {
            image.languages.push(text.into());
        }
        _ => {}
    }
}
