//! A machine as the database knows it.

use std::time::{Duration, SystemTime};

use bootstorm_proto::types::{ClientArch, MacAddress, MachineGuid};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// A machine was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which machine.
    pub mac: MacAddress,
    /// Its GUID, if this sighting told it.
    pub guid: Option<MachineGuid>,
    /// Its architecture, if this sighting told it.
    pub arch: Option<ClientArch>,
    /// How far its boot has come, in one word.
    pub phase: String,
    /// Something arrived at it: it did not only ask.
    pub has_booted: bool,
    /// When.
    pub at: SystemTime,
}

/// A machine as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRecord {
    /// MAC address.
    pub mac: MacAddress,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// Architecture.
    pub arch: Option<ClientArch>,
    /// Name that people gave it.
    pub name: Option<String>,
    /// What it is assigned to boot.
    pub boot: Option<String>,
    /// How far its last boot came.
    pub phase: String,
    /// When it was first seen or named.
    pub first_seen: SystemTime,
    /// When it was last seen.
    pub last_seen: SystemTime,
}

impl MachineRecord {
    /// Reads a row of `machines`.
    pub(crate) fn of_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let mac: String = row.try_get("mac")?;
        let guid: Option<String> = row.try_get("guid")?;
        let arch: Option<i64> = row.try_get("arch")?;
        Ok(Self {
            mac: mac.parse().map_err(|e| undecodable("mac", e))?,
            guid: guid
                .map(|guid| guid.parse())
                .transpose()
                .map_err(|e| undecodable("guid", e))?,
            arch: arch
                .map(u16::try_from)
                .transpose()
                .map_err(|e| undecodable("arch", e))?
                .map(ClientArch),
            name: row.try_get("name")?,
            boot: row.try_get("boot")?,
            phase: row.try_get("phase")?,
            first_seen: from_millis(row.try_get("first_seen")?),
            last_seen: from_millis(row.try_get("last_seen")?),
        })
    }
}

fn undecodable(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    }
}

/// Milliseconds since 1970; a clock before that counts as 1970.
pub(crate) fn to_millis(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn from_millis(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
