//! Boots, under way and of the past.

use std::time::SystemTime;

use bootstorm_proto::types::{MacAddress, MachineGuid};
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Error, Row};

use crate::database::numbers;
use crate::history::HISTORY_MAX;
use crate::machine::{from_millis, parse, time, to_millis};
use crate::sightings::which;
use crate::text::{beginning, body};
use crate::{PAGE_MAX, Store, StoreError, wire};

/// A boot begins: the machine gets its script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootBegin {
    /// Unlike any other's, at most 255 bytes.
    pub id: String,
    /// The machine's number, if it is known; else it is found by the following.
    pub machine: Option<i64>,
    /// Its address.
    #[serde(with = "wire::text")]
    pub mac: Option<MacAddress>,
    /// Its GUID.
    #[serde(with = "wire::text")]
    pub guid: Option<MachineGuid>,
    /// Its serial number.
    pub serial: Option<String>,
    /// What it boots.
    pub entry: String,
    /// Who decided that.
    pub decider: String,
    /// What must not run twice by accident, in words that tell it from any other.
    pub task: Option<String>,
    /// It is an order for one boot.
    pub once: bool,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
}

/// A boot gets on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootStep {
    /// Which one.
    pub id: String,
    /// How far.
    pub reached: Reached,
    /// What was sent to the machine so far, in bytes.
    pub bytes: Option<u64>,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
}

/// How far a boot gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// It loads what its script names.
    Loading,
    /// It has all that it asked for.
    Loaded,
    /// It reports that it is done.
    Finished,
    /// Something went wrong.
    Failed {
        /// Reason code.
        code: String,
        /// In words.
        text: String,
    },
}

/// A boot. Its five dates are when it was requested, began to load, had loaded, reported that it was
/// done, and last failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Its place in the order of boots.
    pub seq: i64,
    /// Its name.
    pub id: String,
    /// The machine's number.
    pub machine: Option<i64>,
    /// The machine's address.
    pub mac: Option<MacAddress>,
    /// The machine's GUID.
    pub guid: Option<MachineGuid>,
    /// What it boots.
    pub entry: String,
    /// Who decided that.
    pub decider: Option<String>,
    /// What must not run twice by accident.
    pub task: Option<String>,
    /// It is an order for one boot.
    pub once: bool,
    /// What was sent to the machine.
    pub bytes: Option<i64>,
    /// When it got its script.
    pub requested: SystemTime,
    /// When it began to load.
    pub loading: Option<SystemTime>,
    /// When it had all that it asked for.
    pub loaded: Option<SystemTime>,
    /// When it reported that it was done.
    pub finished: Option<SystemTime>,
    /// When something last went wrong.
    pub failed: Option<SystemTime>,
    /// Code of what went wrong.
    pub code: Option<String>,
    /// In words.
    pub reason: Option<String>,
}

/// Where a boot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootState {
    /// Its script was handed out.
    Requested,
    /// It loads.
    Loading,
    /// It has loaded all that it asked for.
    Booted,
    /// It says that it is done.
    Finished,
    /// The last that was heard is an error.
    Failed,
}

/// Which boots; what is not said leaves none out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFilter {
    /// Of the machine of this number.
    pub machine: Option<i64>,
    /// That stand so.
    pub state: Option<BootState>,
    /// Requested then or later.
    pub since: Option<SystemTime>,
    /// Requested before.
    pub until: Option<SystemTime>,
}

/// How many boots got how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootFigures {
    /// Boots.
    pub requests: i64,
    /// That began to load.
    pub started: i64,
    /// That had all that they asked for.
    pub transferred: i64,
    /// That reported that they were done.
    pub booted: i64,
    /// That something went wrong with.
    pub failed: i64,
    /// That had all, and then neither reported nor failed.
    pub limbo: i64,
}

impl BootState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Loading,
        Self::Booted,
        Self::Finished,
        Self::Failed,
    ];

    /// As queries and answers spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Loading => "loading",
            Self::Booted => "booted",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

impl BootFigures {
    /// That still load.
    #[must_use]
    pub const fn transferring(&self) -> i64 {
        self.started - self.transferred
    }
}

impl BootRecord {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> BootState {
        let has_failed = self.failed.is_some_and(|failed| {
            let loaded = self.loaded.unwrap_or(SystemTime::UNIX_EPOCH);
            failed >= loaded
        });
        if self.finished.is_some() {
            BootState::Finished
        } else if has_failed {
            BootState::Failed
        } else if self.loaded.is_some() {
            BootState::Booted
        } else if self.loading.is_some() {
            BootState::Loading
        } else {
            BootState::Requested
        }
    }
}

impl Store {
    /// Boots, newest first, at most [`PAGE_MAX`] before `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boots(
        &self,
        filter: &BootFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<BootRecord>, StoreError> {
        let rows = filter
            .query("SELECT *", "AND seq < $5 ORDER BY seq DESC LIMIT $6")
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit.min(PAGE_MAX)));
        self.bounded(async {
            let rows = rows.fetch_all(&self.pool()).await?;
            let read: Result<_, _> = rows.iter().map(BootRecord::of_row).collect();
            Ok(read?)
        })
        .await
    }

    /// How many boots got how far.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boot_figures(&self, filter: &BootFilter) -> Result<BootFigures, StoreError> {
        let row = filter.query(FIGURES, "");
        self.bounded(async {
            let row = row.fetch_one(&self.pool()).await?;
            Ok(BootFigures {
                requests: row.try_get(0)?,
                started: row.try_get(1)?,
                transferred: row.try_get(2)?,
                booted: row.try_get(3)?,
                failed: row.try_get(4)?,
                limbo: row.try_get(5)?,
            })
        })
        .await
    }

    /// Boots since `since` whose task must not run twice by accident, oldest first, without those
    /// that people have since said anew what their machine boots; at most `limit`, the newest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tasks(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<BootRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM boots WHERE task IS NOT NULL AND began >= $1 AND began > coalesce(\
             (SELECT reset FROM machines WHERE id = boots.machine), 0) ORDER BY seq DESC LIMIT $2",
        )
        .bind(to_millis(since))
        .bind(i64::from(limit));
        self.bounded(async {
            let rows = rows.fetch_all(&self.pool()).await?;
            let read: Result<_, _> = rows.iter().rev().map(BootRecord::of_row).collect();
            Ok(read?)
        })
        .await
    }
}

const FIGURES: &str = "SELECT count(*), count(loading), count(loaded), count(ended), \
     count(failed), count(CASE WHEN ended IS NULL AND failed IS NULL THEN loaded END)";

/// The state as [`BootRecord::state`] tells it. Parameters: machine, state, since, until.
const CHOSEN: &str = "FROM boots WHERE ($1 IS NULL OR machine = $1) AND ($2 IS NULL OR $2 = CASE \
     WHEN ended IS NOT NULL THEN 'finished' \
     WHEN failed IS NOT NULL AND failed >= coalesce(loaded, 0) THEN 'failed' \
     WHEN loaded IS NOT NULL THEN 'booted' \
     WHEN loading IS NOT NULL THEN 'loading' \
     ELSE 'requested' END) AND began >= $3 AND began < $4";

impl BootFilter {
    fn query(&self, what: &'static str, rest: &'static str) -> Query<'static, Any, AnyArguments> {
        // It is made of constants.
        sqlx::query(AssertSqlSafe(format!("{what} {CHOSEN} {rest}")))
            .bind(self.machine)
            .bind(self.state.map(BootState::name))
            .bind(self.since.map_or(0, to_millis))
            .bind(self.until.map_or(i64::MAX, to_millis))
    }
}

impl BootRecord {
    fn of_row(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            id: row.try_get("id")?,
            machine: row.try_get("machine")?,
            mac: parse(row, "mac")?,
            guid: parse(row, "guid")?,
            entry: row.try_get("entry")?,
            decider: row.try_get("decider")?,
            task: row.try_get("task")?,
            once: row.try_get::<i64, _>("once")? != 0,
            bytes: row.try_get("bytes")?,
            requested: from_millis(row.try_get("began")?),
            loading: time(row, "loading")?,
            loaded: time(row, "loaded")?,
            finished: time(row, "ended")?,
            failed: time(row, "failed")?,
            code: row.try_get("code")?,
            reason: row.try_get("reason")?,
        })
    }
}

/// Notes that a boot begins; one that is noted already stays as it is.
pub(crate) async fn begin(connection: &mut AnyConnection, boot: &BootBegin) -> Result<(), Error> {
    let machine = match boot.machine {
        Some(machine) => Some(machine),
        None => which(connection, boot.mac, boot.guid, boot.serial.as_deref()).await?,
    };
    let seq = numbers(&mut *connection, "boot", 1).await?;
    sqlx::query(
        "INSERT INTO boots (seq, id, machine, mac, guid, entry, decider, task, once, began) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(seq)
    .bind(beginning(&boot.id))
    .bind(machine)
    .bind(boot.mac.map(|mac| mac.to_string()))
    .bind(boot.guid.map(|guid| guid.to_string()))
    .bind(beginning(&boot.entry))
    .bind(beginning(&boot.decider))
    .bind(boot.task.as_deref().map(beginning))
    .bind(i64::from(boot.once))
    .bind(to_millis(boot.at))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM boots WHERE seq <= $1")
        .bind(seq - HISTORY_MAX)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes how far a boot got. It begins to load once and is done once; it may have loaded all and
/// failed more than once, of which the last counts. Gives the machine's number if what it has done
/// is news.
pub(crate) async fn step(
    connection: &mut AnyConnection,
    step: &BootStep,
) -> Result<Option<i64>, Error> {
    let id = beginning(&step.id);
    let bytes = step
        .bytes
        .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    sqlx::query(
        "UPDATE boots SET bytes = CASE WHEN bytes > $2 THEN bytes ELSE coalesce($2, bytes) END \
         WHERE id = $1",
    )
    .bind(id.clone())
    .bind(bytes)
    .execute(&mut *connection)
    .await?;
    let update = sqlx::query(match step.reached {
        Reached::Loading => "UPDATE boots SET loading = coalesce(loading, $2) WHERE id = $1",
        Reached::Loaded => {
            "UPDATE boots SET loaded = $2 WHERE id = $1 AND coalesce(loaded, 0) < $2"
        }
        Reached::Finished => "UPDATE boots SET ended = coalesce(ended, $2) WHERE id = $1",
        Reached::Failed { .. } => {
            "UPDATE boots SET failed = $2, code = $3, reason = $4 \
             WHERE id = $1 AND coalesce(failed, 0) <= $2"
        }
    });
    let mut update = update.bind(id).bind(to_millis(step.at));
    if let Reached::Failed { code, text } = &step.reached {
        update = update.bind(beginning(code)).bind(body(text));
    }
    update.execute(&mut *connection).await?;
    match step.reached {
        Reached::Finished => finish(connection, &step.id).await,
        Reached::Loading | Reached::Loaded | Reached::Failed { .. } => Ok(None),
    }
}

/// Remembers with the machine what it has done, unless it was an order or people have since said
/// anew what it boots.
async fn finish(connection: &mut AnyConnection, boot: &str) -> Result<Option<i64>, Error> {
    let changed = sqlx::query_scalar(
        "UPDATE machines SET done = (SELECT task FROM boots WHERE id = $1) \
         WHERE id = (SELECT machine FROM boots WHERE id = $1 AND task IS NOT NULL AND once = 0) \
         AND coalesce(reset, 0) < (SELECT began FROM boots WHERE id = $1) RETURNING id",
    );
    changed
        .bind(beginning(boot))
        .fetch_optional(connection)
        .await
}
