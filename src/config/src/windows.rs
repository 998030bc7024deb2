//! Windows' own boot manager over TFTP: `[boot.windows]`.

use std::path::{Path, PathBuf};

use bootstorm_proto::types::{BlockSize, WindowSize};
use serde::Deserialize;

use crate::Finding;

/// What boot managers of Windows are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowsBoot {
    /// Bytes of a TFTP block that they ask for; `None` leaves it to them.
    pub block_size: Option<BlockSize>,
    /// Blocks that may be sent at a time, likewise.
    pub window_size: Option<WindowSize>,
    /// Which of an image's boot managers is preferred, where the image does not say.
    pub signing: Signing,
    /// Folder with variables of machines, `MAC.var` or `GUID.var`: secrets.
    pub variables: Option<PathBuf>,
}

/// Whose signature firmware has to trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Signing {
    /// Windows Production PCA 2011.
    #[default]
    #[serde(rename = "2011")]
    Pca2011,
    /// Windows UEFI CA 2023.
    #[serde(rename = "2023")]
    Ca2023,
}

impl Default for WindowsBoot {
    /// Sixteen blocks of what fits an Ethernet frame behind a tunnel's header.
    fn default() -> Self {
        Self {
            block_size: BlockSize::try_from(1456).ok(),
            window_size: WindowSize::try_from(16).ok(),
            signing: Signing::default(),
            variables: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    block_size: Option<u32>,
    window_size: Option<u32>,
    signing: Option<Signing>,
    variables: Option<PathBuf>,
}

/// Takes over what is written; 0 leaves a size to the boot manager.
pub(crate) fn take(
    to: &mut WindowsBoot,
    written: Written,
    folder: &Path,
    findings: &mut Vec<Finding>,
) {
    match written.block_size {
        None => {}
        Some(0) => to.block_size = None,
        Some(size) => match BlockSize::try_from(size) {
            Ok(size) => to.block_size = Some(size),
            Err(e) => findings.push(Finding::bad_value("boot.windows.block_size", e.to_string())),
        },
    }
    match written.window_size {
        None => {}
        Some(0) => to.window_size = None,
        Some(size) => match WindowSize::try_from(size) {
            Ok(size) => to.window_size = Some(size),
            Err(e) => findings.push(Finding::bad_value(
                "boot.windows.window_size",
                e.to_string(),
            )),
        },
    }
    to.signing = written.signing.unwrap_or(to.signing);
    to.variables = written.variables.map(|path| folder.join(path));
}

/// Variables are secrets: they must not lie where everybody may fetch them.
pub(crate) fn lint(windows: &WindowsBoot, images: &Path, findings: &mut Vec<Finding>) {
    const KEY: &str = "boot.windows.variables";
    let Some(folder) = &windows.variables else {
        return;
    };
    if !folder.is_dir() {
        let text = format!("{} is no folder", folder.display());
        return findings.push(Finding::error("config.no-such-file", KEY, text));
    }
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(folder).starts_with(real(images)) {
        let text = format!(
            "{} lies in the images folder, where every machine may fetch it",
            folder.display()
        );
        findings.push(Finding::error("config.secret-in-images", KEY, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_lie_in_a_folder_outside_of_the_images() {
        let images = tempfile::tempdir().unwrap();
        let told = |folder: &Path| {
            let windows = WindowsBoot {
                variables: Some(folder.to_owned()),
                ..WindowsBoot::default()
            };
            let mut findings = Vec::new();
            lint(&windows, images.path(), &mut findings);
            findings.iter().map(|f| f.code).collect::<Vec<_>>()
        };
        let below = images.path().join("secret");
        assert_eq!(told(&below), ["config.no-such-file"]);
        std::fs::create_dir(&below).unwrap();
        assert_eq!(told(&below), ["config.secret-in-images"]);
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(told(elsewhere.path()).is_empty());
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(&below, &link).unwrap();
        assert_eq!(told(&link), ["config.secret-in-images"]);
    }
}
