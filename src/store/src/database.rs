//! The connections to the database, and the limits that every call keeps to.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::MigrateError;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _};
use sqlx::{Error, Transaction};

use crate::machines::MACHINES_MAX;
use crate::{Location, StoreError, schema};

/// The longest that any call takes.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Machines and what is said of them. Clones share the connections.
///
/// Whoever writes waits for whoever writes already, also when that is another server: SQLite does
/// so by itself, PostgreSQL by a lock. So what a transaction reads stays true until it ends.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    location: Location,
    /// Made anew when a call has hung: a connection of the old one may hang for good.
    pool: Mutex<AnyPool>,
    /// Who makes the changes of this store.
    pub(crate) origin: String,
    /// How many sightings were noted, to know when to count the machines.
    pub(crate) sightings: AtomicUsize,
    pub(crate) machines_max: u32,
}

impl Store {
    /// Opens the database, makes the file if it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged file is left as it is.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        Self::open_with(location, MACHINES_MAX).await
    }

    pub(crate) async fn open_with(
        location: &Location,
        machines_max: u32,
    ) -> Result<Self, StoreError> {
        install_default_drivers();
        if let Location::File(path) = location {
            create_private(location, path)?;
        }
        let fail = |source| StoreError::of(location, BUSY, source);
        prepare(location).await?;
        let pool = pool(location).map_err(fail)?;
        Ok(Self {
            shared: Arc::new(Shared {
                location: location.clone(),
                pool: Mutex::new(pool),
                origin: crate::changes::origin(),
                sightings: AtomicUsize::new(0),
                machines_max,
            }),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.shared.location
    }

    /// Writes the log back into the file and closes it.
    pub async fn close(self) {
        self.pool().close().await;
    }

    /// Ends what takes too long.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        self.bounded_by(LIMIT, work).await
    }

    /// Ends what takes longer than `limit`.
    pub(crate) async fn bounded_by<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Store(error))) => Err(error),
            Ok(Err(Failure::Database(source))) => {
                Err(StoreError::of(self.location(), BUSY, source))
            }
            Err(_) => {
                self.renew();
                Err(StoreError::Away {
                    database: self.location().clone(),
                    evidence: format!("no answer within {limit:?}"),
                })
            }
        }
    }

    pub(crate) fn pool(&self) -> AnyPool {
        let pool = self.shared.pool.lock();
        pool.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to write; waits for others that write.
    pub(crate) async fn writing(&self) -> Result<Transaction<'static, Any>, Error> {
        let pool = self.pool();
        match self.location() {
            // A transaction that only later turns out to write would be refused, not made to wait.
            Location::File(_) => pool.begin_with("BEGIN IMMEDIATE").await,
            Location::Postgres(_) => {
                let mut transaction = pool.begin().await?;
                transaction.execute(ONE_WRITER).await?;
                Ok(transaction)
            }
        }
    }

    fn renew(&self) {
        if matches!(self.location(), Location::Postgres(_))
            && let Ok(fresh) = pool(self.location())
        {
            let mut pool = self
                .shared
                .pool
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *pool = fresh;
        }
    }
}

/// Why a call fails.
pub(crate) enum Failure {
    Store(StoreError),
    Database(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Gives the next number of a kind away, and `count - 1` behind it.
pub(crate) async fn numbers(
    connection: &mut AnyConnection,
    kind: &'static str,
    count: usize,
) -> Result<i64, Error> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 =
        sqlx::query_scalar("UPDATE numbers SET last = last + $2 WHERE kind = $1 RETURNING last")
            .bind(kind)
            .bind(count)
            .fetch_one(connection)
            .await?;
    Ok(last - count + 1)
}

/// How long another process may hold the lock of a file.
const BUSY: Duration = Duration::from_millis(1500);

/// Any number does, as long as all servers take the same; it is `boot` in ASCII.
const ONE_WRITER: &str = "SELECT pg_advisory_xact_lock(1651470196)";

/// With a write-ahead log a power cut loses the last transactions, never the file.
const SQLITE: &str = "PRAGMA busy_timeout = 1500; PRAGMA journal_mode = WAL; \
                      PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";

/// The server gives up as well when nobody waits any more.
const POSTGRES: &str =
    "SET statement_timeout = 2000; SET idle_in_transaction_session_timeout = 5000";

/// Connects when it is needed.
fn pool(location: &Location) -> Result<AnyPool, Error> {
    let settings = match location {
        Location::File(_) => SQLITE,
        Location::Postgres(_) => POSTGRES,
    };
    let options = AnyPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(LIMIT)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(settings).await.map(|_| ()) })
        });
    Ok(options.connect_lazy_with(location.options()?))
}

/// Checks the file and brings the schema up to date, which may take longer than other calls.
async fn prepare(location: &Location) -> Result<(), StoreError> {
    let fail = |source| StoreError::of(location, BUSY, source);
    let options = location.options().map_err(fail)?;
    let connect = tokio::time::timeout(LIMIT * 2, options.connect());
    let mut connection = connect
        .await
        .unwrap_or(Err(Error::PoolTimedOut))
        .map_err(fail)?;
    if matches!(location, Location::File(_)) {
        connection.execute(SQLITE).await.map_err(fail)?;
        check(location, &mut connection).await?;
    }
    match schema::migrator().run(&mut connection).await {
        Ok(()) => {}
        Err(MigrateError::VersionMissing(step) | MigrateError::VersionTooNew(step, _)) => {
            let database = location.clone();
            return Err(StoreError::Newer { database, step });
        }
        Err(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => {
            return Err(fail(e));
        }
        Err(e) => return Err(fail(Error::Migrate(Box::new(e)))),
    }
    connection.close().await.map_err(fail)
}

async fn check(location: &Location, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|source| StoreError::of(location, BUSY, source))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        database: location.clone(),
        evidence: verdict,
    })
}

/// SQLite makes its files by the umask; this one names every machine of the house.
fn create_private(location: &Location, path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    made.map(|_| ()).map_err(|e| StoreError::Unwritable {
        database: location.clone(),
        evidence: e.to_string(),
    })
}
