//! What machines tell of themselves by being there.

use std::sync::atomic::Ordering;

use bootstorm_proto::types::{MacAddress, MachineGuid};
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
/// the address does, unless the serial number says that it is another one. Gives the machine's
/// number if that changes what a snapshot holds of it.
pub(crate) async fn note(
    connection: &mut AnyConnection,
    seen: &Sighting,
) -> Result<Option<i64>, Error> {
    if seen.mac.is_none() && seen.guid.is_none() {
        return Ok(None);
    }
    let now = Now::of(seen.mac, seen.guid, seen.hardware.serial.as_deref());
    let candidates = now.candidates(connection).await?;
    let is_free = !candidates.iter().any(|before| before.has_mac);
    let before = now.choose(&candidates);
    let id = match before {
        Some(before) => before.id,
        None => begin(connection, seen).await?,
    };
    // Only a machine without one gets an address from what is seen: docks move about, and a GUID
    // may turn out to be in many machines.
    let gets_mac = is_free && before.is_none_or(|before| !before.has_any_mac);
    if let Some(mac) = now.mac.as_ref().filter(|_| gets_mac) {
        sqlx::query("INSERT INTO machine_macs (mac, machine) VALUES ($1, $2)")
            .bind(mac.clone())
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    now.update(connection, id, seen).await?;
    let tells = match before {
        Some(before) => before.is_changed(seen, &now, gets_mac),
        None => seen.has_booted,
    };
    Ok(tells.then_some(id))
}

/// The number of the machine that these mean.
pub(crate) async fn which(
    connection: &mut AnyConnection,
    mac: Option<MacAddress>,
    guid: Option<MachineGuid>,
    serial: Option<&str>,
) -> Result<Option<i64>, Error> {
    let now = Now::of(mac, guid, serial);
    let candidates = now.candidates(connection).await?;
    Ok(now.choose(&candidates).map(|before| before.id))
}

/// What a sighting tells, as the database has it.
struct Now {
    guid: Option<String>,
    mac: Option<String>,
    serial: Option<String>,
}

impl Now {
    fn of(mac: Option<MacAddress>, guid: Option<MachineGuid>, serial: Option<&str>) -> Self {
        Self {
            guid: guid.map(|guid| guid.to_string()),
            mac: mac.map(|mac| mac.to_string()),
            serial: serial.map(beginning),
        }
    }

    /// Machines with this GUID or this address.
    async fn candidates(&self, connection: &mut AnyConnection) -> Result<Vec<Before>, Error> {
        let rows = sqlx::query(
            "SELECT id, guid, serial, admitted, booted, \
             (SELECT count(*) FROM machine_macs WHERE machine = id) AS macs, \
             (SELECT count(*) FROM machine_macs WHERE machine = id AND mac = $2) AS has_mac \
             FROM machines \
             WHERE guid = $1 OR id = (SELECT machine FROM machine_macs WHERE mac = $2) \
             ORDER BY has_mac DESC, id LIMIT 32",
        )
        .bind(self.guid.clone())
        .bind(self.mac.clone())
        .fetch_all(connection)
        .await?;
        rows.iter().map(Before::of_row).collect()
    }

    fn choose<'b>(&self, candidates: &'b [Before]) -> Option<&'b Before> {
        let fits = |before: &&Before| {
            // With an address alone another machine could not be told from it next time.
            let is_another = self.guid.is_some() && differs(&self.serial, &before.serial);
            !is_another
        };
        let has_guid = |before: &Before| self.guid.is_some() && self.guid == before.guid;
        let candidates = candidates.iter().filter(fits);
        // The last of equals would be chosen.
        candidates
            .rev()
            .max_by_key(|before| (has_guid(before), before.has_mac))
    }

    async fn update(
        &self,
        connection: &mut AnyConnection,
        id: i64,
        seen: &Sighting,
    ) -> Result<(), Error> {
        let word = |text: &Option<String>| text.as_deref().map(beginning);
        sqlx::query(
            "UPDATE machines SET guid = coalesce($2, guid), arch = coalesce($3, arch), \
             serial = coalesce($4, serial), asset = coalesce($5, asset), \
             manufacturer = coalesce($6, manufacturer), product = coalesce($7, product), \
             phase = CASE WHEN last_seen > $8 THEN phase ELSE $9 END, \
             booted = coalesce(booted, $10), \
             last_seen = CASE WHEN last_seen > $8 THEN last_seen ELSE $8 END WHERE id = $1",
        )
        .bind(id)
        .bind(self.guid.clone())
        .bind(seen.arch.map(|arch| i64::from(arch.0)))
        .bind(self.serial.clone())
        .bind(word(&seen.hardware.asset))
        .bind(word(&seen.hardware.manufacturer))
        .bind(word(&seen.hardware.product))
        .bind(to_millis(seen.at))
        .bind(beginning(&seen.phase))
        .bind(seen.has_booted.then(|| to_millis(seen.at)))
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Both are told and they are not the same.
fn differs(one: &Option<String>, other: &Option<String>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// What the database held of a machine.
struct Before {
    id: i64,
    guid: Option<String>,
    serial: Option<String>,
    is_admitted: bool,
    has_booted: bool,
    has_any_mac: bool,
    has_mac: bool,
}

impl Before {
    fn of_row(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            guid: row.try_get("guid")?,
            serial: row.try_get("serial")?,
            is_admitted: row.try_get::<Option<i64>, _>("admitted")?.is_some(),
            has_booted: row.try_get::<Option<i64>, _>("booted")?.is_some(),
            has_any_mac: row.try_get::<i64, _>("macs")? > 0,
            has_mac: row.try_get::<i64, _>("has_mac")? > 0,
        })
    }

    /// Machines that nobody knows are no news: there may be thousands of them a minute.
    fn is_changed(&self, seen: &Sighting, now: &Now, gets_mac: bool) -> bool {
        let is_new = |now: &Option<String>, before| now.is_some() && now != before;
        let boots_first = seen.has_booted && !self.has_booted;
        let is_known = self.is_admitted || self.has_booted;
        let tells_more = is_new(&now.guid, &self.guid) || is_new(&now.serial, &self.serial);
        boots_first || is_known && (gets_mac || tells_more)
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
