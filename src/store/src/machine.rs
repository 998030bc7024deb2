//! A machine as the database knows it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use bootstorm_proto::types::{ClientArch, MacAddress, MachineGuid};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::wire;

/// A machine was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Its address, unless several machines share it.
    #[serde(with = "wire::text")]
    pub mac: Option<MacAddress>,
    /// Its GUID, if this sighting told it and it tells machines apart.
    #[serde(with = "wire::text")]
    pub guid: Option<MachineGuid>,
    /// Its architecture, if this sighting told it.
    #[serde(with = "wire::arch")]
    pub arch: Option<ClientArch>,
    /// What it is, as far as this sighting told it.
    pub hardware: Hardware,
    /// How far its boot has come, in one word.
    pub phase: String,
    /// Something arrived at it: it did not only ask.
    pub has_booted: bool,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
}

/// What SMBIOS says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Serial number.
    pub serial: Option<String>,
    /// Asset tag.
    pub asset: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Product name.
    pub product: Option<String>,
}

/// How people say which machine they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By its number.
    Id(i64),
    /// By one of its addresses.
    Mac(MacAddress),
    /// By its GUID.
    Guid(MachineGuid),
    /// By its name.
    Name(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Guid(guid) => guid.fmt(f),
            Self::Name(name) => name.escape_debug().fmt(f),
        }
    }
}

/// What a machine boots next time, and then no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// What it boots: as an assignment.
    pub boot: String,
    /// Who said so.
    pub by: Option<String>,
    /// When. Names this order, so that a later one is not taken for it.
    pub at: SystemTime,
}

/// A machine as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRecord {
    /// Its number, never given to another one.
    pub id: i64,
    /// MAC addresses, in order.
    pub macs: Vec<MacAddress>,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// Name that people gave it.
    pub name: Option<String>,
    /// What SMBIOS says of it.
    pub hardware: Hardware,
    /// Architecture.
    pub arch: Option<ClientArch>,
    /// Tags, in order.
    pub tags: Vec<String>,
    /// Named values for templates.
    pub values: BTreeMap<String, String>,
    /// What it is assigned to boot.
    pub boot: Option<String>,
    /// What it boots next time.
    pub once: Option<Once>,
    /// Since when it waits until people let it go on.
    pub held: Option<SystemTime>,
    /// When people first said anything of it.
    pub admitted: Option<SystemTime>,
    /// When something first arrived at it.
    pub booted: Option<SystemTime>,
    /// The task that it has reported done.
    pub done: Option<String>,
    /// When people last said anew what it boots.
    pub reset: Option<SystemTime>,
    /// How far its last boot came.
    pub phase: String,
    /// When it was first seen or named.
    pub first_seen: SystemTime,
    /// When it was last seen.
    pub last_seen: SystemTime,
}

impl MachineRecord {
    /// It booted here, or people said something of it.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.admitted.is_some() || self.booted.is_some()
    }

    /// Reads a row of `machines`; addresses, tags and values are in tables of their own.
    pub(crate) fn of_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let arch: Option<i64> = row.try_get("arch")?;
        let arch = arch.map(u16::try_from).transpose();
        let once: Option<String> = row.try_get("once")?;
        let once_at: Option<i64> = row.try_get("once_at")?;
        let once_by = row.try_get("once_by")?;
        Ok(Self {
            id: row.try_get("id")?,
            macs: Vec::new(),
            guid: parse(row, "guid")?,
            name: row.try_get("name")?,
            hardware: Hardware {
                serial: row.try_get("serial")?,
                asset: row.try_get("asset")?,
                manufacturer: row.try_get("manufacturer")?,
                product: row.try_get("product")?,
            },
            arch: arch.map_err(|e| undecodable("arch", e))?.map(ClientArch),
            tags: Vec::new(),
            values: BTreeMap::new(),
            boot: row.try_get("boot")?,
            once: once.map(|boot| Once {
                boot,
                by: once_by,
                at: from_millis(once_at.unwrap_or_default()),
            }),
            held: time(row, "held")?,
            admitted: time(row, "admitted")?,
            booted: time(row, "booted")?,
            done: row.try_get("done")?,
            reset: time(row, "reset")?,
            phase: row.try_get("phase")?,
            first_seen: from_millis(row.try_get("first_seen")?),
            last_seen: from_millis(row.try_get("last_seen")?),
        })
    }
}

/// A column that holds the text form of something, or nothing.
pub(crate) fn parse<T>(row: &AnyRow, column: &str) -> Result<Option<T>, sqlx::Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.try_get(column)?;
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|e| undecodable(column, e))
}

/// A column that holds a time, or nothing.
pub(crate) fn time(row: &AnyRow, column: &str) -> Result<Option<SystemTime>, sqlx::Error> {
    let millis: Option<i64> = row.try_get(column)?;
    Ok(millis.map(from_millis))
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

pub(crate) fn from_millis(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
