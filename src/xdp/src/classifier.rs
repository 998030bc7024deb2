//! The classifier in the kernel, as the server sees it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bootstorm_ebpf_shared::{COUNTERS, Count, Mac, Sample, Table};

use crate::attach::{Mode, attach};
use crate::error::XdpError;
use crate::housekeeping::{Housekeeping, OwnAddresses};
use crate::interfaces::{Attached, Attachment, Interfaces};
use crate::maps::{self, CountMaps, MachineMaps, RosterMaps, TableMaps};
use crate::program;
use crate::roster::Roster;

/// One counter for each class and cause, see [`bootstorm_ebpf_shared::counter`].
pub type Counts = [Count; COUNTERS];

/// What to attach where.
#[derive(Clone, Debug)]
pub struct XdpConfig {
    /// Where it may run.
    pub mode: Mode,
    /// Whether it takes the place of another program.
    pub replace: bool,
    /// Names and indexes of interfaces.
    pub interfaces: Vec<(String, u32)>,
    /// What holds from the first packet on.
    pub table: Table,
}

/// The program at its interfaces. When it is dropped, or the process ends in whatever way, it is
/// gone from them.
pub struct Classifier {
    interfaces: Arc<Interfaces>,
    loaded: Option<Loaded>,
}

/// What there is when at least one interface has the program.
struct Loaded {
    table: Mutex<TableMaps>,
    roster: Mutex<RosterMaps>,
    counts: CountMaps,
    machines: MachineMaps,
    _housekeeping: Housekeeping,
}

impl Classifier {
    /// Loads the program and attaches it. `on_sample` is called on a thread of its own with
    /// packets that were dropped, a few a second.
    ///
    /// # Errors
    /// In [`Mode::Native`] and [`Mode::Generic`], why an interface cannot have that; nothing is
    /// attached then. In the other modes [`attachments`](Self::attachments) tells.
    pub fn start(
        config: XdpConfig,
        on_sample: impl FnMut(Sample) + Send + 'static,
    ) -> Result<Self, XdpError> {
        if config.interfaces.is_empty() {
            return Ok(Self::outside(vec![], &Attached::Off));
        }
        match config.mode {
            Mode::Off => Ok(Self::outside(config.interfaces, &Attached::Off)),
            Mode::Native | Mode::Generic => Self::inside(&config, on_sample),
            Mode::Auto => Self::inside(&config, on_sample)
                .or_else(|why| Ok(Self::outside(config.interfaces, &Attached::None(why)))),
        }
    }

    /// Every interface, and how its packets meet the classifier now.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        self.interfaces.attachments()
    }

    /// Lets another table hold at once.
    ///
    /// # Errors
    /// A map that cannot be written.
    pub fn set_table(&self, table: &Table) -> Result<(), XdpError> {
        self.loaded
            .as_ref()
            .map_or(Ok(()), |loaded| lock(&loaded.table).write(table))
    }

    /// Lets another roster hold at once. Machines in the old one and the new one keep their
    /// buckets, and no packet of theirs is judged without them.
    ///
    /// # Errors
    /// [`XdpError::MapFull`] when there are more than fit: all that fit are in force. A map that
    /// cannot be written.
    pub fn set_roster(&self, roster: &Roster) -> Result<(), XdpError> {
        let Some(loaded) = &self.loaded else {
            return Ok(());
        };
        let full = lock(&loaded.roster).write(roster)?;
        if full.is_empty() {
            Ok(())
        } else {
            Err(XdpError::MapFull(full))
        }
    }

    /// What passed and what did not since the start, summed over the processors.
    ///
    /// # Errors
    /// A map that cannot be read.
    pub fn counts(&self) -> Result<Counts, XdpError> {
        self.loaded
            .as_ref()
            .map_or(Ok([Count::default(); COUNTERS]), |loaded| {
                loaded.counts.read()
            })
    }

    /// Packets of a machine that its own bucket refused; `None` when the kernel has none for it.
    #[must_use]
    pub fn refused(&self, mac: &Mac) -> Option<u64> {
        let loaded = self.loaded.as_ref()?;
        let as_known = lock(&loaded.roster).refused(mac);
        let as_unknown = loaded.machines.refused(mac);
        match (as_known, as_unknown) {
            (None, None) => None,
            (known, unknown) => Some(known.unwrap_or(0) + unknown.unwrap_or(0)),
        }
    }

    fn inside(
        config: &XdpConfig,
        on_sample: impl FnMut(Sample) + Send + 'static,
    ) -> Result<Self, XdpError> {
        let mut object = program::load()?;
        let mut table = TableMaps::take(&mut object)?;
        table.write(&config.table)?;
        let roster = RosterMaps::take(&mut object)?;
        let counts = CountMaps::take(&mut object)?;
        let machines = MachineMaps::take(&mut object)?;
        let samples = maps::samples(&mut object)?;
        let mut own = OwnAddresses::new(maps::own(&mut object)?);
        own.refresh()?;

        let program = program::xdp(&mut object)?;
        let id = program.info().map(|info| info.id());
        let id = id.map_err(|error| program::refused(&error.into()))?;
        let mut all = Vec::with_capacity(config.interfaces.len());
        for (name, index) in &config.interfaces {
            let end = attach(program, name, *index, config.mode, config.replace);
            if let (Attached::None(why), true) = (&end.0.attached, config.mode != Mode::Auto) {
                return Err(why.clone());
            }
            all.push(end);
        }
        let attached = all.iter().any(|(at, _)| at.attached.is_attached());
        let interfaces = Arc::new(Interfaces::new(all, id));
        if !attached {
            return Ok(Self {
                interfaces,
                loaded: None,
            });
        }
        let housekeeping = Housekeeping::start(samples, own, Arc::clone(&interfaces), on_sample)?;
        Ok(Self {
            interfaces,
            loaded: Some(Loaded {
                table: Mutex::new(table),
                roster: Mutex::new(roster),
                counts,
                machines,
                _housekeeping: housekeeping,
            }),
        })
    }

    fn outside(interfaces: Vec<(String, u32)>, attached: &Attached) -> Self {
        Self {
            interfaces: Arc::new(Interfaces::all(interfaces, attached)),
            loaded: None,
        }
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("attachments", &self.attachments())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(mode: Mode, interfaces: Vec<(String, u32)>) -> Classifier {
        let config = XdpConfig {
            mode,
            replace: false,
            interfaces,
            table: Table::default(),
        };
        Classifier::start(config, drop).unwrap()
    }

    /// Loading takes privileges that tests do not have.
    #[test]
    fn nothing_is_loaded_where_nothing_is_attached() {
        assert_eq!(start(Mode::Native, vec![]).attachments(), []);
        let off = start(Mode::Off, vec![("lo".to_owned(), 1)]);
        assert_eq!(off.attachments()[0].attached, Attached::Off);
        assert_eq!(off.counts().unwrap(), [Count::default(); COUNTERS]);
        assert_eq!(off.set_roster(&Roster::default()), Ok(()));
        assert_eq!(off.set_table(&Table::default()), Ok(()));
        assert_eq!(off.refused(&[0; 6]), None);
    }
}
