//! Builds small WIM files for tests: header and XML, with an empty lookup table between them.

use super::header::HEADER;

pub(crate) const LZX: u32 = 0x4_0002;
pub(crate) const LZMS: u32 = 0x8_0002;

/// What a sample says; `build` lays it out.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) version: u32,
    pub(crate) flags: u32,
    pub(crate) chunk: u32,
    pub(crate) part: (u16, u16),
    pub(crate) images: u32,
    pub(crate) boot_index: u32,
    pub(crate) xml: Vec<u8>,
}

impl Sample {
    /// A stock Windows PE for x64.
    pub(crate) fn winpe() -> Self {
        let image = "<IMAGE INDEX=\"1\"><NAME>Microsoft Windows PE (x64)</NAME>\
            <DESCRIPTION>A &amp; B</DESCRIPTION><TOTALBYTES>1700000000</TOTALBYTES>\
            <WINDOWS><ARCH>9</ARCH><PRODUCTNAME>Microsoft\u{ae} Windows</PRODUCTNAME>\
            <EDITIONID>WindowsPE</EDITIONID><INSTALLATIONTYPE>WindowsPE</INSTALLATIONTYPE>\
            <LANGUAGES><LANGUAGE>en-US</LANGUAGE><DEFAULT>en-US</DEFAULT></LANGUAGES>\
            <VERSION><MAJOR>10</MAJOR><MINOR>0</MINOR><BUILD>26100</BUILD><SPBUILD>1</SPBUILD>\
            </VERSION></WINDOWS></IMAGE>";
        Self {
            version: 0x1_0d00,
            flags: LZX,
            chunk: 32_768,
            part: (1, 1),
            images: 1,
            boot_index: 1,
            xml: utf16(&format!("<WIM><TOTALBYTES>1</TOTALBYTES>{image}</WIM>")),
        }
    }

    /// Replaces the images: an XML fragment each, without IMAGE around it.
    pub(crate) fn with_images(mut self, images: &[&str]) -> Self {
        let all: String = (1..)
            .zip(images)
            .map(|(n, image)| format!("<IMAGE INDEX=\"{n}\">{image}</IMAGE>"))
            .collect();
        self.images = u32::try_from(images.len()).unwrap();
        self.xml = utf16(&format!("<WIM>{all}</WIM>"));
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let lookup = [0; 50];
        let xml_at = HEADER + lookup.len();
        let mut out = Vec::new();
        out.extend(b"MSWIM\0\0\0");
        for word in [208, self.version, self.flags, self.chunk] {
            out.extend(word.to_le_bytes());
        }
        out.extend([7; 16]);
        out.extend(self.part.0.to_le_bytes());
        out.extend(self.part.1.to_le_bytes());
        out.extend(self.images.to_le_bytes());
        resource(&mut out, HEADER, lookup.len());
        resource(&mut out, xml_at, self.xml.len());
        resource(&mut out, 0, 0);
        out.extend(self.boot_index.to_le_bytes());
        resource(&mut out, 0, 0);
        out.resize(HEADER, 0);
        out.extend(lookup);
        out.extend(&self.xml);
        out
    }
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn resource(out: &mut Vec<u8>, offset: usize, size: usize) {
    for word in [size, offset, size] {
        out.extend((word as u64).to_le_bytes());
    }
}
