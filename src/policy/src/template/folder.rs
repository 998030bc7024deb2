//! The folder that templates lie in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

/// Files that are read at most, in order of their names.
const FILES_MAX: usize = 256;

/// Bytes of a file that is read.
const SIZE_MAX: u64 = 256 * 1024;

/// Size and time of each file, by name: what tells that one has changed.
pub(super) type Stamps = BTreeMap<String, (u64, Option<SystemTime>)>;

/// The files of a folder. Names that begin with a dot are those of editors.
pub(super) fn stamps(folder: &Path) -> Stamps {
    let Ok(entries) = fs::read_dir(folder) else {
        return Stamps::new();
    };
    let files = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // Of what a link leads to.
        let about = fs::metadata(entry.path()).ok()?;
        let counts = about.is_file() && !name.starts_with('.') && !name.ends_with('~');
        counts.then(|| (name, (about.len(), about.modified().ok())))
    });
    let mut all: Vec<_> = files.collect();
    all.sort();
    all.truncate(FILES_MAX);
    all.into_iter().collect()
}

/// The text of a file, or what is wrong with it.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(SIZE_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > SIZE_MAX => Err(format!("is larger than {SIZE_MAX} bytes")),
        Ok(_) => Ok(text),
        Err(e) => Err(e.to_string()),
    }
}
