//! The database file and what is asked of it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use sqlx::Row;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::machines::to_millis;
use crate::{MachineRecord, Sighting, StoreError};

/// The most machines that are kept. Beyond it, those that have neither name nor assignment are
/// forgotten, first those that never booted, of them those that were longest not seen: a flood with invented addresses must not fill the disk.
pub const MACHINES_MAX: u32 = 200_000;

/// The most machines that one page holds.
pub const PAGE_MAX: u32 = 1000;

/// Counting rows costs a scan, so it is done once for so many sightings.
const SIGHTINGS_BETWEEN_COUNTS: usize = 1000;

/// How long another process may hold the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest name, assignment or phase, in bytes.
const TEXT_MAX: usize = 255;

/// Machines and their assignments. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
    sightings: Arc<AtomicUsize>,
    machines_max: u32,
}

impl Store {
    /// Opens the database, makes it if it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged file is left as it is.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // With a write-ahead log a power cut loses the last transactions, never the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .optimize_on_close(true, 400);
        let fail = |source| StoreError::of(path, BUSY_TIMEOUT, source);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_TIMEOUT * 2)
            .connect_with(options)
            .await
            .map_err(fail)?;
        let store = Self {
            pool,
            path: path.to_owned(),
            sightings: Arc::default(),
            machines_max: MACHINES_MAX,
        };
        store.check().await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Notes that machines were seen, in one transaction. What a sighting does not tell stays as it
    /// was.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is noted.
    pub async fn seen(&self, sightings: &[Sighting]) -> Result<(), StoreError> {
        let result = async {
            // A transaction that only later turns out to write would be refused, not made to wait.
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for sighting in sightings {
                sqlx::query(
                    "INSERT INTO machines (mac, guid, arch, phase, first_seen, last_seen, booted) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) \
                     ON CONFLICT (mac) DO UPDATE SET \
                     guid = coalesce(excluded.guid, guid), \
                     arch = coalesce(excluded.arch, arch), \
                     phase = excluded.phase, \
                     booted = coalesce(booted, excluded.booted), \
                     last_seen = max(last_seen, excluded.last_seen)",
                )
                .bind(sighting.mac.to_string())
                .bind(sighting.guid.map(|guid| guid.to_string()))
                .bind(sighting.arch.map(|arch| i64::from(arch.0)))
                .bind(beginning(&sighting.phase))
                .bind(to_millis(sighting.at))
                .bind(sighting.has_booted.then(|| to_millis(sighting.at)))
                .execute(&mut *transaction)
                .await?;
            }
            let before = self.sightings.fetch_add(sightings.len(), Ordering::Relaxed);
            if (before % SIGHTINGS_BETWEEN_COUNTS) + sightings.len() >= SIGHTINGS_BETWEEN_COUNTS {
                forget_surplus(&mut transaction, self.machines_max).await?;
            }
            transaction.commit().await
        };
        result.await.map_err(|e| self.fail(e))
    }

    /// Machines in the order of their addresses, those behind `after`, at most [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn machines(
        &self,
        after: Option<MacAddress>,
        limit: u32,
    ) -> Result<Vec<MachineRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM machines WHERE mac > ?1 ORDER BY mac LIMIT ?2")
            .bind(after.map(|mac| mac.to_string()).unwrap_or_default())
            .bind(limit.min(PAGE_MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.fail(e))?;
        let machines: Result<_, _> = rows.iter().map(MachineRecord::of_row).collect();
        machines.map_err(|e| self.fail(e))
    }

    /// One machine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn machine(&self, mac: MacAddress) -> Result<Option<MachineRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM machines WHERE mac = ?1")
            .bind(mac.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| self.fail(e))?;
        let machine = row.as_ref().map(MachineRecord::of_row).transpose();
        machine.map_err(|e| self.fail(e))
    }

    /// Says what a machine boots, known or not; `None` takes the assignment away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn assign(&self, mac: MacAddress, boot: Option<&str>) -> Result<(), StoreError> {
        check_text("an assignment", boot)?;
        let sql = "INSERT INTO machines (mac, boot, phase, first_seen, last_seen) \
                   VALUES (?1, ?2, '', ?3, ?3) \
                   ON CONFLICT (mac) DO UPDATE SET boot = excluded.boot";
        self.set(sql, mac, boot).await
    }

    /// Names a machine for people, known or not; `None` takes the name away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rename(&self, mac: MacAddress, name: Option<&str>) -> Result<(), StoreError> {
        check_text("a name", name)?;
        let sql = "INSERT INTO machines (mac, name, phase, first_seen, last_seen) \
                   VALUES (?1, ?2, '', ?3, ?3) \
                   ON CONFLICT (mac) DO UPDATE SET name = excluded.name";
        self.set(sql, mac, name).await
    }

    /// All assignments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn assignments(&self) -> Result<Vec<(MacAddress, String)>, StoreError> {
        let rows = sqlx::query("SELECT mac, boot FROM machines WHERE boot IS NOT NULL")
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.fail(e))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let mac: String = row.try_get("mac")?;
            let mac = mac.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            Ok((mac, row.try_get("boot")?))
        };
        let assignments: Result<_, _> = rows.iter().map(read).collect();
        assignments.map_err(|e| self.fail(e))
    }

    /// Machines that booted here, or that people named or assigned something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known(&self) -> Result<Vec<MacAddress>, StoreError> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT mac FROM machines \
             WHERE booted IS NOT NULL OR name IS NOT NULL OR boot IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.fail(e))?;
        let read = |mac: &String| mac.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)));
        let known: Result<_, _> = rows.iter().map(read).collect();
        known.map_err(|e| self.fail(e))
    }

    /// Writes the log back into the file and closes it.
    pub async fn close(self) {
        self.pool.close().await;
    }

    async fn set(
        &self,
        sql: &'static str,
        mac: MacAddress,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query(sql)
            .bind(mac.to_string())
            .bind(value)
            .bind(to_millis(SystemTime::now()))
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|e| self.fail(e))
    }

    async fn check(&self) -> Result<(), StoreError> {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.fail(e))?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            path: self.path.clone(),
            evidence: verdict,
        })
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        match sqlx::migrate!("./migrations").run(&self.pool).await {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(step) | MigrateError::VersionTooNew(step, _)) => {
                Err(StoreError::Newer {
                    path: self.path.clone(),
                    step,
                })
            }
            Err(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => {
                Err(self.fail(e))
            }
            Err(e) => Err(self.fail(sqlx::Error::Migrate(Box::new(e)))),
        }
    }

    fn fail(&self, source: sqlx::Error) -> StoreError {
        StoreError::of(&self.path, BUSY_TIMEOUT, source)
    }
}

async fn forget_surplus(
    connection: &mut sqlx::SqliteConnection,
    machines_max: u32,
) -> Result<(), sqlx::Error> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM machines")
        .fetch_one(&mut *connection)
        .await?;
    let surplus = count - i64::from(machines_max);
    if surplus > 0 {
        sqlx::query(
            "DELETE FROM machines WHERE mac IN (SELECT mac FROM machines \
             WHERE boot IS NULL AND name IS NULL ORDER BY booted IS NOT NULL, last_seen LIMIT ?1)",
        )
        .bind(surplus)
        .execute(connection)
        .await?;
        tracing::info!(surplus, "forgot the machines that were longest not seen");
    }
    Ok(())
}

/// SQLite makes its files by the umask; this one names every machine of the house.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    made.map(|_| ()).map_err(|e| StoreError::Unwritable {
        path: path.to_owned(),
        evidence: e.to_string(),
    })
}

fn check_text(what: &'static str, text: Option<&str>) -> Result<(), StoreError> {
    let Some(text) = text else { return Ok(()) };
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > TEXT_MAX {
        "it is longer than 255 bytes"
    } else if text.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    let text = beginning(text).escape_debug().to_string();
    Err(StoreError::BadText { what, text, why })
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[cfg(test)]
mod tests;
