//! The program's maps, by the names that they have in it.

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Ebpf, Pod};
use bootstorm_ebpf_shared::{Bucket, COUNTERS, Count, Guid, Mac, Rule, Settings, Table};

use crate::addresses::Address;
use crate::error::{Full, XdpError, in_words};
use crate::roster::{KeySet, Roster};

/// A value that lies in a map as it lies in memory.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: all of these are `repr(C)`, made of integers, without padding.
unsafe impl Pod for Plain<Settings> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Rule> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Count> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Bucket> {}

/// A MAC with two bytes of zero: keys are whole words.
pub(crate) type MacKey = [u8; 8];

/// The table that user space writes.
pub(crate) struct TableMaps {
    settings: Array<MapData, Plain<Settings>>,
    rules: Array<MapData, Plain<Rule>>,
}

/// Who is known and who is banned.
pub(crate) struct RosterMaps {
    known: KeySet<MacKey, Plain<Bucket>>,
    banned_macs: KeySet<MacKey, u8>,
    banned_guids: KeySet<Guid, u8>,
}

/// The counters.
pub(crate) struct CountMaps(PerCpuArray<MapData, Plain<Count>>);

/// Buckets of machines that nobody knows.
pub(crate) struct MachineMaps(HashMap<MapData, MacKey, Plain<Bucket>>);

impl TableMaps {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, XdpError> {
        Ok(Self {
            settings: take(object, "SETTINGS")?,
            rules: take(object, "RULES")?,
        })
    }

    pub(crate) fn write(&mut self, table: &Table) -> Result<(), XdpError> {
        self.settings
            .set(0, Plain(table.settings), 0)
            .map_err(|error| failed("SETTINGS", &error))?;
        for (class, rule) in (0..).zip(table.rules) {
            self.rules
                .set(class, Plain(rule), 0)
                .map_err(|error| failed("RULES", &error))?;
        }
        Ok(())
    }
}

impl RosterMaps {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, XdpError> {
        let known = (
            "known machines",
            "the rest share the rates of machines that nobody knows",
        );
        let banned = "the engine still refuses the rest";
        Ok(Self {
            known: KeySet::new("KNOWN", known, take(object, "KNOWN")?),
            banned_macs: KeySet::new(
                "BANNED_MACS",
                ("banned MACs", banned),
                take(object, "BANNED_MACS")?,
            ),
            banned_guids: KeySet::new(
                "BANNED_GUIDS",
                ("banned GUIDs", banned),
                take(object, "BANNED_GUIDS")?,
            ),
        })
    }

    /// Writes what fits.
    pub(crate) fn write(&mut self, roster: &Roster) -> Result<Vec<Full>, XdpError> {
        let known: Vec<MacKey> = roster.known.iter().map(mac_key).collect();
        let banned: Vec<MacKey> = roster.banned_macs.iter().map(mac_key).collect();
        let full = [
            self.banned_macs.follow(&banned)?,
            self.banned_guids.follow(&roster.banned_guids)?,
            self.known.follow(&known)?,
        ];
        Ok(full.into_iter().flatten().collect())
    }

    /// Packets that a known machine's bucket refused.
    pub(crate) fn refused(&self, mac: &Mac) -> Option<u64> {
        self.known
            .get(&mac_key(mac))
            .map(|Plain(bucket)| bucket.refused)
    }
}

impl CountMaps {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, XdpError> {
        take(object, "COUNTS").map(Self)
    }

    /// Summed over the processors.
    pub(crate) fn read(&self) -> Result<[Count; COUNTERS], XdpError> {
        let mut sums = [Count::default(); COUNTERS];
        for (at, sum) in (0..).zip(&mut sums) {
            let counts = self.0.get(&at, 0);
            let counts = counts.map_err(|error| failed("COUNTS", &error))?;
            for Plain(count) in counts.iter() {
                sum.packets = sum.packets.wrapping_add(count.packets);
                sum.bytes = sum.bytes.wrapping_add(count.bytes);
            }
        }
        Ok(sums)
    }
}

impl MachineMaps {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, XdpError> {
        take(object, "MACHINES").map(Self)
    }

    /// Packets that an unknown machine's bucket refused.
    pub(crate) fn refused(&self, mac: &Mac) -> Option<u64> {
        let bucket = self.0.get(&mac_key(mac), 0);
        bucket.ok().map(|Plain(bucket)| bucket.refused)
    }
}

/// The ring buffer of dropped packets.
pub(crate) fn samples(object: &mut Ebpf) -> Result<RingBuf<MapData>, XdpError> {
    take(object, "SAMPLES")
}

/// The host's addresses.
pub(crate) fn own(object: &mut Ebpf) -> Result<KeySet<Address, u8>, XdpError> {
    let words = (
        "own addresses",
        "packets to the rest are classified in user space",
    );
    Ok(KeySet::new("OWN", words, take(object, "OWN")?))
}

fn take<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, XdpError> {
    let map = object.take_map(name).ok_or_else(|| XdpError::Map {
        map: name,
        cause: "the object has none".to_owned(),
    })?;
    M::try_from(map).map_err(|error| failed(name, &error))
}

fn failed(map: &'static str, error: &MapError) -> XdpError {
    XdpError::Map {
        map,
        cause: in_words(error),
    }
}

fn mac_key(&[a, b, c, d, e, f]: &Mac) -> MacKey {
    [a, b, c, d, e, f, 0, 0]
}
