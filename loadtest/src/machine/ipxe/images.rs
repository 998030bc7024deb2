//! What a script has fetched.

use std::sync::Arc;

use crate::machine::url::Url;

/// Images of one boot.
const IMAGES_MAX: usize = 128;
/// Bytes of all scripts among them.
const SCRIPTS_MAX: usize = 1024 * 1024;

/// An image.
#[derive(Clone, Debug)]
pub(super) struct Image {
    name: String,
    /// Where it came from in the end.
    pub(super) url: Url,
    /// Its text, if it is a script; else it is a program or data.
    pub(super) script: Option<Arc<str>>,
}

/// The images that are there.
#[derive(Debug, Default)]
pub(super) struct Images {
    all: Vec<Image>,
    selected: Option<usize>,
}

impl Images {
    /// Adds one, and tells where it is.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn add(
        &mut self,
        name: &str,
        url: Url,
        script: Option<Arc<str>>,
    ) -> Result<usize, &'static str> {
        let scripts = self.all.iter().filter_map(|image| image.script.as_ref());
        let used: usize = scripts.map(|script| script.len()).sum();
        let more = script.as_ref().map_or(0, |script| script.len());
        if self.all.len() >= IMAGES_MAX || used + more > SCRIPTS_MAX {
            return Err("no memory for it");
        }
        self.all.push(Image {
            name: name.to_owned(),
            url,
            script,
        });
        Ok(self.all.len() - 1)
    }

    /// Where the image of a name is.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|image| image.name == name)
    }

    /// Makes an image the one that is booted.
    pub(super) const fn select(&mut self, image: usize) {
        self.selected = Some(image);
    }

    /// The image that is booted.
    pub(super) const fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// An image.
    pub(super) fn get(&self, image: usize) -> Option<&Image> {
        self.all.get(image)
    }

    /// Forgets one, or all.
    pub(super) fn free(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                let Some(at) = self.find(name) else { return };
                self.all.remove(at);
                self.selected = match self.selected {
                    Some(selected) if selected == at => None,
                    Some(selected) if selected > at => Some(selected - 1),
                    other => other,
                };
            }
            None => *self = Self::default(),
        }
    }
}

/// The name that an image has where none is given: the last part of its URL's path.
pub(super) fn name_of(url: &Url) -> String {
    let path = url.target.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
