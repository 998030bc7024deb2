//! One look through the images folder and the fallbacks.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bootstorm_catalog::Problem;
use bootstorm_catalog::path::MAX_PATH;
use serde::{Deserialize, Serialize};

use crate::Fallback;
use crate::limits::{MAX_DEPTH, MAX_FILES, MAX_FOLDERS, MAX_PROBLEMS};

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) inode: u64,
}

impl Stamp {
    /// When this version was written, where a clock can show it.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        let since = Duration::from_nanos(u64::try_from(self.mtime_ns).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    pub(crate) fn of(meta: &Metadata) -> Self {
        let mtime_ns = meta
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(meta.mtime_nsec());
        Self {
            size: meta.len(),
            mtime_ns,
            inode: meta.ino(),
        }
    }
}

/// A file to serve.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it really is, without links on the way.
    pub(crate) source: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) modified: SystemTime,
    /// It comes from a fallback, not from the images folder.
    pub(crate) fallback: bool,
}

/// Everything that one look showed.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// By path below the images folder.
    pub(crate) files: BTreeMap<String, Found>,
    pub(crate) problems: Vec<Problem>,
    /// Folders that could not be read: what is below them may still be there.
    pub(crate) unread: Vec<String>,
    root: PathBuf,
    data: PathBuf,
    folders: usize,
}

/// Looks through `images`, leaving out `data`; both without links on the way.
pub(crate) fn scan(images: &Path, data: &Path, fallbacks: &[Fallback]) -> Scan {
    let mut scan = Scan {
        root: images.to_owned(),
        data: data.to_owned(),
        ..Scan::default()
    };
    scan.walk(images, "", &mut Vec::new());
    scan.fill_from(fallbacks);
    scan
}

/// The path is this folder or lies below it; the empty folder holds everything.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Scan {
    fn walk(&mut self, folder: &Path, path: &str, above: &mut Vec<(u64, u64)>) {
        let meta = match fs::metadata(folder) {
            Ok(meta) => meta,
            Err(e) => return self.unreadable(path, &e),
        };
        let identity = (meta.dev(), meta.ino());
        if above.contains(&identity) {
            return self.problem(
                path,
                "ingest.link-loop",
                "the link leads back to a folder above it",
            );
        }
        if above.len() >= MAX_DEPTH {
            return self.problem(
                path,
                "ingest.too-deep",
                "folders are looked into 32 deep; move it up",
            );
        }
        self.folders += 1;
        if self.folders > MAX_FOLDERS {
            let text = "there are more than 20000 folders; what lies in this one is left out";
            return self.problem(path, "ingest.too-many-folders", text);
        }
        let children = match fs::read_dir(folder) {
            Ok(children) => children,
            Err(e) => return self.unreadable(path, &e),
        };
        above.push(identity);
        for child in children {
            match child {
                Ok(child) => self.child(&child, path, above),
                Err(e) => self.unreadable(path, &e),
            }
        }
        above.pop();
    }

    fn child(&mut self, child: &fs::DirEntry, folder: &str, above: &mut Vec<(u64, u64)>) {
        let name = child.file_name();
        let path = join(folder, &name.to_string_lossy());
        let Some(name) = name.to_str() else {
            let text = "the name is not UTF-8, so no client can ask for it; rename the file";
            return self.problem(&path, "ingest.name-not-utf8", text);
        };
        if is_temporary(name) {
            return;
        }
        if path.len() > MAX_PATH {
            return self.problem(
                &path,
                "ingest.path-too-long",
                "paths have 1024 bytes at most",
            );
        }
        let Some(real) = self.resolve(child, &path) else {
            return;
        };
        match fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => self.walk(&real, &path, above),
            Ok(meta) if meta.is_file() => self.add(path, real, &meta, false),
            // Sockets, pipes and devices have no content to serve.
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => self.unreadable(&path, &e),
        }
    }

    /// Where the child really is; `None` when it must not be served.
    fn resolve(&mut self, child: &fs::DirEntry, path: &str) -> Option<PathBuf> {
        let is_link = child.file_type().is_ok_and(|kind| kind.is_symlink());
        let real = if is_link {
            match fs::canonicalize(child.path()) {
                Ok(real) => real,
                Err(e) => {
                    self.problem(
                        path,
                        "ingest.broken-link",
                        format!("the link leads nowhere: {e}"),
                    );
                    return None;
                }
            }
        } else {
            child.path()
        };
        let in_data = real.starts_with(&self.data);
        if in_data && !is_link {
            return None;
        }
        if in_data || !real.starts_with(&self.root) {
            let text = format!(
                "the link leads out of the images folder, to {}; copy or hard-link the file, or \
                 mount its folder below the images folder",
                real.display()
            );
            self.problem(path, "ingest.link-outside", text);
            return None;
        }
        Some(real)
    }

    fn add(&mut self, path: String, source: PathBuf, meta: &Metadata, fallback: bool) {
        if self.files.len() >= MAX_FILES {
            let text = "there are more than 50000 files; the rest is left out";
            return self.problem("", "ingest.too-many-files", text);
        }
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let found = Found {
            source,
            stamp: Stamp::of(meta),
            modified,
            fallback,
        };
        self.files.insert(path, found);
    }

    fn fill_from(&mut self, fallbacks: &[Fallback]) {
        let mut own: HashSet<String> = self.files.keys().map(|path| path.to_lowercase()).collect();
        for fallback in fallbacks {
            let mut found = Vec::new();
            collect(
                &fallback.source,
                fallback.path.trim_matches('/'),
                0,
                &mut found,
            );
            for (path, source, meta) in found {
                if own.insert(path.to_lowercase()) {
                    self.add(path, source, &meta, true);
                }
            }
        }
    }

    fn unreadable(&mut self, path: &str, e: &io::Error) {
        self.unread.push(path.to_owned());
        self.problem(
            path,
            "ingest.unreadable",
            format!("cannot be read: {e}; what was served stays"),
        );
    }

    fn problem(&mut self, path: &str, code: &'static str, text: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::new(path, code, text.into()));
        }
    }
}

/// The files of a fallback. It belongs to the system, so links are followed, and what cannot be
/// read is not there.
fn collect(source: &Path, path: &str, depth: usize, out: &mut Vec<(String, PathBuf, Metadata)>) {
    let Ok(meta) = fs::metadata(source) else {
        return;
    };
    if meta.is_file() {
        out.push((path.to_owned(), source.to_owned(), meta));
    } else if meta.is_dir() && depth < 4 && out.len() < MAX_FILES {
        for child in fs::read_dir(source).into_iter().flatten().flatten() {
            if let Some(name) = child.file_name().to_str() {
                collect(&child.path(), &join(path, name), depth + 1, out);
            }
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// What rsync, browsers and editors call a file until it is whole.
fn is_temporary(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends = [
        ".part",
        ".partial",
        ".filepart",
        ".crdownload",
        ".tmp",
        ".swp",
        "~",
    ];
    let rsync = name.starts_with('.')
        && name.rsplit_once('.').is_some_and(|(stem, suffix)| {
            !stem.is_empty() && suffix.len() == 6 && suffix.chars().all(char::is_alphanumeric)
        });
    rsync && name.matches('.').count() > 2 || ends.iter().any(|end| lower.ends_with(end))
}
