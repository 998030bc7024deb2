//! Opens the files to copy, without being led astray between looking and opening.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::scan::{Found, Stamp};

/// Opens the version of the file that was found; `None` when another one is there now.
pub(crate) fn open(images: &Path, found: &Found) -> io::Result<Option<File>> {
    let file = if found.fallback {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags().bits().cast_signed())
            .open(&found.source)?
    } else {
        below(images, &found.source)?
    };
    let meta = file.metadata()?;
    Ok((meta.is_file() && Stamp::of(&meta) == found.stamp).then_some(file))
}

/// The file at this path is still the version that was found.
pub(crate) fn is_unchanged(found: &Found, opened: &File) -> bool {
    let same = |meta: io::Result<fs::Metadata>| meta.is_ok_and(|m| Stamp::of(&m) == found.stamp);
    same(opened.metadata()) && same(fs::metadata(&found.source))
}

/// Opens a path that had no links on the way when it was found, and must still have none.
fn below(images: &Path, source: &Path) -> io::Result<File> {
    let relative = source.strip_prefix(images).map_err(io::Error::other)?;
    let folder = openat(
        CWD,
        images,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&folder, relative, flags(), Mode::empty(), strict) {
        Ok(file) => Ok(file.into()),
        // Linux before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(openat(&folder, relative, flags() | OFlags::NOFOLLOW, Mode::empty())?.into())
        }
        Err(e) => Err(e.into()),
    }
}

/// Not to be held up by a pipe, nor to take over a terminal, that took the file's place.
fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
}
