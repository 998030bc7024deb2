//! What machines tell of themselves by being there.

use std::sync::atomic::Ordering;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row};

use crate::database::numbers;
use crate::machine::to_millis;
use crate::text::beginning;
use crate::{Sighting, Store};

/// Counting rows costs a scan, so it is done once for so many sightings.
const SIGHTINGS_BETWEEN_COUNTS: usize = 1000;

impl Store {
    pub(crate) async fn forget_surplus(
        &self,
        connection: &mut AnyConnection,
        sightings: usize,
    ) -> Result<(), Error> {
        let before = self
            .shared
            .sightings
            .fetch_add(sightings, Ordering::Relaxed);
        if (before % SIGHTINGS_BETWEEN_COUNTS) + sightings < SIGHTINGS_BETWEEN_COUNTS {
            return Ok(());
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM machines")
            .fetch_one(&mut *connection)
            .await?;
        let surplus = count - i64::from(self.shared.machines_max);
        if surplus > 0 {
            sqlx::query(
                "DELETE FROM machines WHERE id IN (SELECT id FROM machines WHERE admitted IS NULL \
                 ORDER BY CASE WHEN booted IS NULL THEN 0 ELSE 1 END, last_seen, id LIMIT $1)",
            )
            .bind(surplus)
            .execute(connection)
            .await?;
            tracing::info!(surplus, "forgot the machines that were longest not seen");
        }
        Ok(())
    }
}

/// Notes one sighting. What it does not tell stays as it was. A GUID says which machine it is, else
/// the address does. Gives the machine's number if that changes what a snapshot holds of it.
pub(crate) async fn note(
    connection: &mut AnyConnection,
    seen: &Sighting,
) -> Result<Option<i64>, Error> {
    if seen.mac.is_none() && seen.guid.is_none() {
        return Ok(None);
    }
    let guid = seen.guid.map(|guid| guid.to_string());
    let mac = seen.mac.map(|mac| mac.to_string());
    let found = sqlx::query(
        "SELECT id, guid, serial, admitted, booted, \
         (SELECT machine FROM machine_macs WHERE mac = $2) AS owner FROM machines \
         WHERE id = coalesce((SELECT min(id) FROM machines WHERE guid = $1), \
         (SELECT machine FROM machine_macs WHERE mac = $2))",
    )
    .bind(guid.clone())
    .bind(mac.clone())
    .fetch_optional(&mut *connection)
    .await?;
    let before = found.as_ref().map(Before::of_row).transpose()?;
    let id = match &before {
        Some(before) => before.id,
        None => begin(connection, seen).await?,
    };
    let owner = before.as_ref().and_then(|before| before.owner);
    let serial = word(&seen.hardware.serial);
    // An address that another machine has stays with it: docks move about.
    if let (Some(mac), None) = (&mac, owner) {
        sqlx::query("INSERT INTO machine_macs (mac, machine) VALUES ($1, $2)")
            .bind(mac.clone())
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "UPDATE machines SET guid = coalesce($2, guid), arch = coalesce($3, arch), \
         serial = coalesce($4, serial), asset = coalesce($5, asset), \
         manufacturer = coalesce($6, manufacturer), product = coalesce($7, product), \
         phase = CASE WHEN last_seen > $8 THEN phase ELSE $9 END, \
         booted = coalesce(booted, $10), \
         last_seen = CASE WHEN last_seen > $8 THEN last_seen ELSE $8 END WHERE id = $1",
    )
    .bind(id)
    .bind(guid.clone())
    .bind(seen.arch.map(|arch| i64::from(arch.0)))
    .bind(serial.clone())
    .bind(word(&seen.hardware.asset))
    .bind(word(&seen.hardware.manufacturer))
    .bind(word(&seen.hardware.product))
    .bind(to_millis(seen.at))
    .bind(beginning(&seen.phase))
    .bind(seen.has_booted.then(|| to_millis(seen.at)))
    .execute(connection)
    .await?;
    let tells = match &before {
        Some(before) => before.is_changed(seen, guid.as_ref(), serial.as_ref()),
        None => seen.has_booted,
    };
    Ok(tells.then_some(id))
}

/// What the database held of a machine.
struct Before {
    id: i64,
    guid: Option<String>,
    serial: Option<String>,
    is_admitted: bool,
    has_booted: bool,
    owner: Option<i64>,
}

impl Before {
    fn of_row(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            guid: row.try_get("guid")?,
            serial: row.try_get("serial")?,
            is_admitted: row.try_get::<Option<i64>, _>("admitted")?.is_some(),
            has_booted: row.try_get::<Option<i64>, _>("booted")?.is_some(),
            owner: row.try_get("owner")?,
        })
    }

    /// Machines that nobody knows are no news: there may be thousands of them a minute.
    fn is_changed(&self, seen: &Sighting, guid: Option<&String>, serial: Option<&String>) -> bool {
        let is_new =
            |now: Option<&String>, before: &Option<String>| now.is_some() && now != before.as_ref();
        let boots_first = seen.has_booted && !self.has_booted;
        let is_known = self.is_admitted || self.has_booted;
        let has_address = seen.mac.is_none() || self.owner.is_some();
        boots_first
            || is_known
                && (!has_address || is_new(guid, &self.guid) || is_new(serial, &self.serial))
    }
}

async fn begin(connection: &mut AnyConnection, seen: &Sighting) -> Result<i64, Error> {
    let id = numbers(&mut *connection, "machine", 1).await?;
    sqlx::query("INSERT INTO machines (id, phase, first_seen, last_seen) VALUES ($1, '', $2, $2)")
        .bind(id)
        .bind(to_millis(seen.at))
        .execute(connection)
        .await?;
    Ok(id)
}

/// What a machine says of itself.
fn word(text: &Option<String>) -> Option<String> {
    text.as_deref().map(beginning)
}
