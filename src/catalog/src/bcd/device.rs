//! Devices: where a file is, as elements of the first format hold it.
//!
//! The layout is not documented; it is the one that bcdedit writes, all little endian.

use std::fmt;

use super::element::write_plain;
use super::hive::{text, utf16};
use super::object::ObjectId;

/// Where the boot manager finds a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// Where the boot manager itself came from: here, the TFTP server.
    Boot,
    /// A RAM disk filled from an image file on the boot device.
    RamDisk {
        /// The object that says how it is fetched.
        options: ObjectId,
        /// The image file.
        path: String,
    },
    /// Any other kind: its bytes.
    Other(Vec<u8>),
}

/// Bytes of an identifier before a device.
const ID: usize = 16;
/// Bytes of the boot device without its identifier.
const BOOT: usize = 0x48;
/// Bytes before the path in a RAM disk: identifier, device header, what is in memory already
/// (nothing), header of the path, and the device that the path is on.
const BEFORE_PATH: usize = ID + 16 + 24 + FILE_HEADER + BOOT;
/// Bytes of the header of a path.
const FILE_HEADER: usize = 12;

/// In a device header: a block device with more in it.
const BLOCK: u32 = 0;
/// In a device header: the boot device.
const BOOT_DEVICE: u32 = 5;
/// Of block devices: a RAM disk.
const RAM_DISK: u32 = 3;

impl Device {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Boot => [&[0; ID], boot().as_slice()].concat(),
            Self::RamDisk { options, path } => ram_disk(*options, path),
            Self::Other(bytes) => bytes.clone(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.get(ID..) == Some(&boot()) {
            return Self::Boot;
        }
        // What can be written is what can be read: all that is not known has to be as it is here.
        if let (Some(options), Some(path)) = (bytes.first_chunk(), bytes.get(BEFORE_PATH..)) {
            let device = Self::RamDisk {
                options: ObjectId::from_bytes(*options),
                path: text(path),
            };
            if device.to_bytes() == bytes {
                return device;
            }
        }
        Self::Other(bytes.to_vec())
    }
}

fn boot() -> [u8; BOOT] {
    let mut device = [0; BOOT];
    device[0] = BOOT_DEVICE as u8;
    device[8] = BOOT as u8;
    device
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "paths have at most 64 KiB in a hive"
)]
fn ram_disk(options: ObjectId, path: &str) -> Vec<u8> {
    let path = utf16(path);
    let file = FILE_HEADER + BOOT + path.len();
    let device = 16 + 24 + file;
    let mut bytes = Vec::with_capacity(ID + device);
    bytes.extend_from_slice(&options.to_bytes());
    for word in [
        BLOCK,
        1,
        device as u32,
        0,
        RAM_DISK,
        // Nothing is in memory: address and size 0, 64 bits each, and offset.
        0,
        0,
        0,
        0,
        0,
        // A path on a device.
        1,
        file as u32,
        5,
    ] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&boot());
    bytes.extend_from_slice(&path);
    bytes
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => f.write_str("boot"),
            Self::RamDisk { options, path } => {
                f.write_str("ramdisk=[boot]")?;
                write_plain(f, path)?;
                write!(f, ",{options}")
            }
            Self::Other(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}
