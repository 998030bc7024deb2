//! The store (boot configuration data) of one machine.

use bootstorm_catalog::bcd::{BootStore, Firmware, RamdiskEntry};
use bootstorm_catalog::{EntryKind, LoadOptions, Snapshot};
use bootstorm_config::WindowsBoot;
use bootstorm_telemetry::event::Reason;

use super::BootImages;
use super::image::wim;
use crate::Choice;

/// The RAM disk's first blocks, as the files of an image are called.
const SDI: &str = "boot.sdi";

impl BootImages<'_> {
    /// The store with these images, each by its path below the images folder.
    pub(crate) fn store(
        &self,
        catalog: &Snapshot,
        firmware: Firmware,
        windows: &WindowsBoot,
    ) -> Result<Vec<u8>, Reason> {
        let entries = self
            .images
            .iter()
            .map(|image| entry(catalog, image, windows));
        let store = BootStore {
            firmware,
            entries: entries.collect::<Result<_, _>>()?,
            default: self.default,
            menu: self.menu,
            locale: None,
        };
        store.to_bytes().map_err(|error| Reason {
            code: error.code(),
            text: error.to_string().into(),
        })
    }
}

fn entry(
    catalog: &Snapshot,
    choice: &Choice,
    windows: &WindowsBoot,
) -> Result<RamdiskEntry, Reason> {
    let wim = wim(choice).unwrap_or_default();
    let places = [format!("{wim}/{SDI}"), format!("boot/{SDI}")];
    let sdi = places.into_iter().find(|path| catalog.file(path).is_ok());
    let sdi = sdi.ok_or_else(|| Reason {
        code: "windows.no-sdi",
        text: format!("there is no {SDI} in {wim}: put one into boot/ in the images folder").into(),
    })?;
    let options = options(choice);
    Ok(RamdiskEntry {
        block: windows.block_size,
        window: windows.window_size,
        test_signing: options.test_signing,
        options: options.text,
        ..RamdiskEntry::new(&choice.entry.title, path(wim), path(&sdi))
    })
}

fn options(choice: &Choice) -> LoadOptions {
    match &choice.entry.kind {
        EntryKind::Wim { options, .. } => options.clone(),
        EntryKind::Linux { .. } | EntryKind::Efi { .. } | EntryKind::Iso { .. } => {
            LoadOptions::default()
        }
    }
}

/// As a boot manager writes paths.
fn path(path: &str) -> String {
    format!("\\{}", path.replace('/', "\\"))
}
