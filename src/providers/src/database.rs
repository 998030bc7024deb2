//! Questions to other people's databases: read-only, bounded, and over when nobody waits any more.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Row, TypeInfo as _};

use crate::ProviderError;

/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;

/// After so many steps of SQLite's virtual machine it is asked whether anybody still waits.
const STEPS: i32 = 10_000;

/// The columns of one row, names in lower case.
pub(crate) type Columns = Map<String, Value>;

/// A database that others keep.
pub(crate) struct Database {
    place: Place,
    idle: Mutex<Vec<Connection>>,
}

enum Place {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Database {
    /// A database at `sqlite:FILE` or `postgres://...`; a question to it takes this long at most.
    pub(crate) fn new(url: &str, budget: Duration) -> Result<Self, String> {
        let bad = |e: sqlx::Error| format!("its database: {e}");
        let place = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(bad)?;
            Place::Sqlite(options.read_only(true).busy_timeout(budget))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url).map_err(bad)?;
            let limit = format!("{}ms", budget.as_millis());
            Place::Postgres(options.application_name("bootstorm").options([
                ("default_transaction_read_only", "on"),
                ("statement_timeout", limit.as_str()),
            ]))
        } else {
            return Err("its database is neither sqlite:FILE nor postgres://...".to_owned());
        };
        Ok(Self {
            place,
            idle: Mutex::default(),
        })
    }

    /// The first rows of a query with `$1`, `$2` ... for the values. Dropping the future ends it.
    pub(crate) async fn rows(
        &self,
        query: &str,
        values: &[Option<String>],
        most: usize,
    ) -> Result<Vec<Columns>, ProviderError> {
        let idle = self.idle().pop();
        let kept = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await.map_err(failed)?,
        };
        let mut rows = connection.rows(query, values, most).await;
        if kept && rows.as_ref().is_err_and(is_gone) {
            // The server closed it meanwhile; a question can be repeated.
            connection = self.connect().await.map_err(failed)?;
            rows = connection.rows(query, values, most).await;
        }
        let rows = rows.map_err(failed)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(rows)
    }

    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match &self.place {
            Place::Sqlite(options) => {
                let mut connection = options.connect().await?;
                let given_up = Arc::<AtomicBool>::default();
                let watched = Arc::clone(&given_up);
                let goes_on = move || !watched.load(Ordering::Relaxed);
                connection
                    .lock_handle()
                    .await?
                    .set_progress_handler(STEPS, goes_on);
                Ok(Connection::Sqlite {
                    connection,
                    _given_up: GiveUp(given_up),
                })
            }
            Place::Postgres(options) => Ok(Connection::Postgres(options.connect().await?)),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection; dropping it ends what it was asked.
enum Connection {
    Sqlite {
        connection: SqliteConnection,
        _given_up: GiveUp,
    },
    Postgres(PgConnection),
}

/// SQLite runs in a thread of its own that does not see that nobody waits any more.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    async fn rows(
        &mut self,
        query: &str,
        values: &[Option<String>],
        most: usize,
    ) -> Result<Vec<Columns>, sqlx::Error> {
        // The query is the administrator's; what machines say is bound to it and never part of it.
        let query = AssertSqlSafe(query.to_owned());
        match self {
            Self::Sqlite { connection, .. } => {
                let query = values
                    .iter()
                    .fold(sqlx::query(query), |q, value| q.bind(value.clone()));
                collect(query.fetch(connection), most).await
            }
            Self::Postgres(connection) => {
                let query = values
                    .iter()
                    .fold(sqlx::query(query), |q, value| q.bind(value.clone()));
                collect(query.fetch(connection), most).await
            }
        }
    }
}

async fn collect<R: Cells>(
    rows: impl Stream<Item = Result<R, sqlx::Error>>,
    most: usize,
) -> Result<Vec<Columns>, sqlx::Error> {
    let mut rows = std::pin::pin!(rows.take(most));
    let mut all = Vec::new();
    while let Some(row) = rows.next().await {
        let row = row?;
        let mut columns = Columns::new();
        for column in row.columns() {
            let name = column.name().to_ascii_lowercase();
            columns.insert(name, row.cell(column.ordinal())?);
        }
        all.push(columns);
    }
    Ok(all)
}

/// A row whose cells have the types that JSON has.
trait Cells: Row {
    fn cell(&self, index: usize) -> Result<Value, sqlx::Error>;
}

macro_rules! cells {
    ($row:ty: $($kind:ty),+) => {
        impl Cells for $row {
            fn cell(&self, index: usize) -> Result<Value, sqlx::Error> {
                $(
                    match self.try_get::<Option<$kind>, _>(index) {
                        Err(sqlx::Error::ColumnDecode { .. }) => {}
                        cell => return cell.map(Value::from),
                    }
                )+
                let column = self.column(index);
                let kind = column.type_info().name();
                let name = column.name();
                let text = format!("column `{name}` is of type {kind}; cast it to text");
                Err(sqlx::Error::Decode(text.into()))
            }
        }
    };
}

cells!(SqliteRow: String, i64, f64, bool);
cells!(PgRow: String, i64, i32, i16, f64, f32, bool);

/// Whether the connection is of no use any more.
fn is_gone(e: &sqlx::Error) -> bool {
    // PostgreSQL's class 57P: the server ends, or ended this connection.
    let code = e.as_database_error().and_then(|e| e.code());
    matches!(e, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
        || code.is_some_and(|code| code.starts_with("57P"))
}

fn failed(e: sqlx::Error) -> ProviderError {
    ProviderError::Failed(e.to_string().replace(char::is_control, " "))
}
