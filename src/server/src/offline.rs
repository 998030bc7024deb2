//! What can be known without a running server.

use bootstorm_catalog::Catalog;
use bootstorm_config::Config;

/// The catalog of the last run on the data folder, and what the reader should know about it.
pub(crate) fn catalog(config: &Config) -> (Catalog, Option<String>) {
    let snapshot = bootstorm_ingest::last_served(&config.data);
    let empty = snapshot.files().next().is_none();
    let note = empty.then(|| {
        format!(
            "no server has run with the data folder {} yet, so no images are known; name it with \
             --data",
            config.data.display()
        )
    });
    let catalog = Catalog::default();
    catalog.publish(snapshot);
    (catalog, note)
}
