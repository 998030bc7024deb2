//! The only place that maps files into memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A whole file, read-only, in memory.
#[derive(Debug)]
pub struct Mapping {
    // An empty file cannot be mapped.
    map: Option<Mmap>,
}

impl Mapping {
    /// Maps `path`, which must be a copy that only this server writes to.
    ///
    /// # Errors
    /// What opening or mapping the file answered.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the file is a digest-named copy in the server's own data folder: nothing
        // truncates or rewrites it while it is mapped; it is only ever unlinked.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map) })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}
