//! The packet classifier: what it decides by, and what it did.

mod neighbours;
mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bootstorm_config::Config;
use bootstorm_control::classifier::{Attachment, Dropped, RecentlyDropped, Standing};
use bootstorm_ebpf_shared::{Count, Table};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::metrics::Place;
use tracing::info;

use crate::network;
use table::table;

/// Both halves of the classifier.
#[derive(Debug)]
pub(crate) struct Classifier {
    /// Who else on this host takes DHCP, a line each.
    neighbours: Vec<String>,
    table: ArcSwap<Table>,
    dropped: RecentlyDropped,
}

impl Classifier {
    /// Looks who else is on this host; before the own ports are open.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        let interfaces = interfaces(config)?;
        let neighbours = neighbours::look(config, &interfaces);
        for line in &neighbours {
            info!("{line}: DHCP that is not for PXE, or that makes no sense, passes");
        }
        Ok(Self {
            table: ArcSwap::from_pointee(table(config, !neighbours.is_empty())),
            neighbours,
            dropped: RecentlyDropped::default(),
        })
    }

    /// Takes rates, rules and bans of a configuration that was read again.
    pub(crate) fn configure(&self, config: &Config) {
        let table = table(config, !self.neighbours.is_empty());
        self.table.store(Arc::new(table));
    }
}

impl bootstorm_control::Classifier for Classifier {
    fn attachments(&self) -> Vec<Attachment> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        self.neighbours.clone()
    }

    fn table(&self) -> Table {
        **self.table.load()
    }

    fn counts(&self, _: Place) -> Vec<Count> {
        Vec::new()
    }

    fn dropped(&self) -> Vec<Dropped> {
        self.dropped.all()
    }

    fn standing(&self, _: MacAddress) -> Standing {
        Standing::default()
    }
}

/// Those that are answered on: the ones that are named, else all that are up but loopback.
fn interfaces(config: &Config) -> anyhow::Result<Vec<(String, u32)>> {
    let interfaces = if config.interfaces.is_empty() {
        let mut all = network::interfaces()?;
        all.retain(|interface| interface.up && !interface.loopback);
        all
    } else {
        network::chosen(&config.interfaces)?
    };
    Ok(interfaces.into_iter().map(|i| (i.name, i.index)).collect())
}
