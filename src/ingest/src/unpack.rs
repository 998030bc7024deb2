//! A Windows image is a folder, too: what machines boot it by is taken out of it once, and served
//! below its path.

use std::collections::BTreeMap;
use std::sync::Arc;

use bootstorm_catalog::wim::{self, Owned, Wim, WimError, WimFile, WimImage};
use bootstorm_catalog::{File, Problem};

use crate::blobs::{hex, unhex};
use crate::copy::CopyError;
use crate::failure::explain;
use crate::index::{Copy, Taken};
use crate::limits::{MAX_LOADER, MAX_LOADERS};
use crate::shelf::Shelf;

/// Everything that was taken out of images.
pub(crate) struct Unpacked {
    /// By digest of the .wim file and number of the image.
    images: BTreeMap<String, Image>,
    files: Vec<Arc<File>>,
    problems: Vec<Problem>,
}

/// What was taken out of one image.
#[derive(Default)]
struct Image {
    /// By name.
    copies: BTreeMap<String, Copy>,
    /// What could not be taken out: name, empty for the whole image, code and words.
    failed: Vec<(String, &'static str, String)>,
    /// It was the disk: worth another try.
    retry: bool,
}

impl Unpacked {
    /// With what the index knows.
    pub(crate) fn new(taken: Taken) -> Self {
        let known = |(key, copies)| {
            let image = Image {
                copies,
                ..Image::default()
            };
            (key, image)
        };
        Self {
            images: taken.into_iter().map(known).collect(),
            files: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn files(&self) -> &[Arc<File>] {
        &self.files
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Something could not be written.
    pub(crate) fn wants_retry(&self) -> bool {
        self.images.values().any(|image| image.retry)
    }

    /// For the index: images that failed are read again by the next server.
    pub(crate) fn taken(&self) -> Taken {
        let whole = self.images.iter().filter(|(_, i)| i.failed.is_empty());
        whole
            .map(|(key, image)| (key.clone(), image.copies.clone()))
            .collect()
    }

    /// The digests of all copies that are in use.
    pub(crate) fn digests(&self) -> impl Iterator<Item = [u8; 32]> {
        let copies = self.images.values().flat_map(|image| image.copies.values());
        copies.filter_map(|copy| unhex(&copy.sha256))
    }

    /// Looks at the images among `served` again: takes out what was not yet, and forgets what
    /// belongs to images that are gone. `tell` hears of each image that was read: its path, how
    /// many files it gave.
    pub(crate) fn renew(
        &mut self,
        served: &[Arc<File>],
        shelf: &dyn Shelf,
        tell: &mut dyn FnMut(&str, usize),
    ) {
        self.files.clear();
        self.problems.clear();
        let mut known = std::mem::take(&mut self.images);
        for owned in wim::owned(served) {
            // What keeps the file from booting at all the catalog says itself.
            let Ok(header) = Wim::parse(&owned.file.content) else {
                continue;
            };
            let Ok(image) = header.boot_image(owned.index) else {
                continue;
            };
            let key = format!("{}:{}", hex(&owned.file.sha256), image.index);
            let before = known.remove(&key).or_else(|| self.images.remove(&key));
            let taken = before
                .filter(|taken| !taken.retry && taken.copies.values().all(|c| shelf.has(c)))
                .unwrap_or_else(|| {
                    let taken = Image::take_out(owned.file, image.index, shelf);
                    tell(&owned.file.path, taken.copies.len());
                    taken
                });
            self.serve(&owned, &taken, shelf);
            self.lint(&owned, &header, image, &taken);
            self.images.insert(key, taken);
        }
    }

    /// Stops serving copies that somebody else wrote to, and says so. The next look takes them
    /// out of their images anew.
    pub(crate) fn drop_harmed(&mut self) -> Vec<Problem> {
        let is_harmed = |file: &mut Arc<File>| !file.content.verify();
        let harmed: Vec<Arc<File>> = self.files.extract_if(.., is_harmed).collect();
        let tell = |file: &Arc<File>| {
            let copy = file.content.origin();
            // Unlinking makes sure that the new copy is a new file.
            if let Err(e) = std::fs::remove_file(copy) {
                tracing::debug!(error = %e, "removing a harmed copy");
            }
            let text = format!(
                "somebody wrote to the server's own copy {}; transfers of it were ended and it is \
                 taken out of the image anew",
                copy.display()
            );
            Problem::new(&*file.path, "ingest.copy-harmed", text)
        };
        harmed.iter().map(tell).collect()
    }

    fn serve(&mut self, owned: &Owned<'_>, taken: &Image, shelf: &dyn Shelf) {
        for (name, copy) in &taken.copies {
            if self.files.len() >= MAX_LOADERS {
                return;
            }
            let Some(sha256) = unhex(&copy.sha256) else {
                continue;
            };
            match shelf.map(&sha256) {
                Ok(content) => self.files.push(Arc::new(File {
                    path: format!("{}/{name}", owned.file.path).into(),
                    content,
                    sha256,
                    modified: owned.file.modified,
                })),
                Err(e) => tracing::debug!(name, error = %e, "a copy cannot be mapped"),
            }
        }
    }

    fn lint(&mut self, owned: &Owned<'_>, header: &Wim, image: &WimImage, taken: &Image) {
        for (name, code, text) in &taken.failed {
            let path = format!("{}/{name}", owned.file.path);
            let path = path.trim_end_matches('/');
            self.problems.push(Problem::new(path, code, text.clone()));
        }
        // What could not be read is not missing as well.
        if taken.failed.is_empty() {
            let names = taken.copies.keys().map(String::as_str);
            self.problems.extend(owned.problems(header, image, names));
        }
    }
}

impl Image {
    /// Takes everything out of the image with this number.
    fn take_out(wim: &File, index: u32, shelf: &dyn Shelf) -> Self {
        let mut image = Self::default();
        if let Err(error) = image.fill(wim, index, shelf) {
            image.fail("", &error);
        }
        // Somebody wrote to the server's copy of the .wim meanwhile: it is no fault of the image.
        image.retry |= !wim.content.is_intact();
        image
    }

    fn fill(&mut self, wim: &File, index: u32, shelf: &dyn Shelf) -> Result<(), WimError> {
        let file = WimFile::open(&wim.content)?;
        let tree = file.tree(index)?;
        for (name, node) in wim::loaders(&tree) {
            // A huge file is no loader, whatever it is called.
            if file.size(node).is_ok_and(|size| size > MAX_LOADER) {
                continue;
            }
            match file.read(node) {
                Err(error) => self.fail(&name, &error),
                Ok(content) => self.keep(name, &content, shelf),
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: String, content: &[u8], shelf: &dyn Shelf) {
        match shelf.keep(content) {
            Ok(copy) => {
                self.copies.insert(name, copy);
            }
            Err(error) => {
                let (code, text) = explain(&CopyError::Write(error), content.len() as u64);
                self.failed.push((name, code, text));
                self.retry = true;
            }
        }
    }

    fn fail(&mut self, name: &str, error: &WimError) {
        let text = error.to_string();
        self.failed.push((name.to_owned(), error.code(), text));
    }
}
