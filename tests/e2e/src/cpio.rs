//! The "newc" cpio archive that Linux unpacks as its first root file system.

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes an archive entry by entry; the kernel wants directories before what is in them.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// An empty directory.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        self.entry(path, DIRECTORY, (0, 0), &[])
    }

    /// A file that may be executed.
    pub fn program(&mut self, path: &str, content: &[u8]) -> &mut Self {
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// A character device node.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> &mut Self {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Closes the archive.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        std::mem::take(&mut self.bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> &mut Self {
        self.inode += 1;
        let (owner, links, modified, holder) = (0, 1, 0, 0);
        let header = [
            self.inode,
            mode,
            owner,
            owner,
            links,
            modified,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            holder,
            holder,
            device.0,
            device.1,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_padded_to_four_bytes_and_end_with_the_trailer() {
        let bytes = Archive::default().program("init", b"abcde").finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[6..22], b"00000001000081ED");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[94..102], b"00000005");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..124], b"abcde\0\0\0");
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
