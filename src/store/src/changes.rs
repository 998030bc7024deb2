//! What other servers and the command line change, so that a snapshot can follow.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{AnyConnection, Error, Executor as _, Row};

use crate::database::numbers;
use crate::{Location, Store, StoreError};

/// How many changes are remembered; whoever is further behind reads everything.
const KEPT: i64 = 10_000;

/// A transaction that changes more tells that everything changed.
const TOLD_MAX: usize = 1000;

/// How often a file is looked at. A server says when to look; if it is not heard, it is asked after
/// a few times as long.
const LOOK: Duration = Duration::from_secs(1);

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Machine(i64),
    Approval(String),
}

/// What others changed since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Too much to tell: read everything.
    All,
    /// These; one that is not found any more is gone.
    Some {
        /// Numbers of machines.
        machines: BTreeSet<i64>,
        /// Codes of requests to be let in.
        approvals: BTreeSet<String>,
    },
}

impl Changes {
    /// Nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::All => false,
            Self::Some {
                machines,
                approvals,
            } => machines.is_empty() && approvals.is_empty(),
        }
    }
}

/// Follows the changes of others. What is read from the store after it was made, and every
/// [`Changes`] then, is all there is.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    seen: i64,
    /// What had been seen before the last changes were told.
    taken_in: i64,
    listener: Option<PgListener>,
}

impl Store {
    /// Begins to follow what others change; this store's own changes are not told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<Watch, StoreError> {
        let seen = self
            .bounded(async { Ok(last(&self.pool()).await?) })
            .await?;
        Ok(Watch {
            store: self.clone(),
            seen,
            taken_in: seen,
            listener: None,
        })
    }

    /// Notes what a transaction changes, for other servers.
    pub(crate) async fn tell(
        &self,
        connection: &mut AnyConnection,
        changes: &[Change],
    ) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.len() > TOLD_MAX {
            self.tell_one(connection, "all", None).await?;
        } else {
            for change in changes {
                let (kind, subject) = match change {
                    Change::Machine(id) => ("machine", id.to_string()),
                    Change::Approval(code) => ("approval", code.clone()),
                };
                self.tell_one(connection, kind, Some(subject)).await?;
            }
        }
        if matches!(self.location(), Location::Postgres(_)) {
            connection.execute("NOTIFY bootstorm").await?;
        }
        Ok(())
    }

    async fn tell_one(
        &self,
        connection: &mut AnyConnection,
        kind: &'static str,
        subject: Option<String>,
    ) -> Result<(), Error> {
        let seq = numbers(&mut *connection, "change", 1).await?;
        sqlx::query("INSERT INTO changes (seq, origin, kind, subject) VALUES ($1, $2, $3, $4)")
            .bind(seq)
            .bind(self.shared.origin.clone())
            .bind(kind)
            .bind(subject)
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM changes WHERE seq <= $1")
            .bind(seq - KEPT)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Watch {
    /// Waits until others have changed something. May be dropped and called again.
    ///
    /// # Errors
    /// [`StoreError`] while the database is away; call again later, nothing is missed.
    pub async fn next(&mut self) -> Result<Changes, StoreError> {
        self.taken_in = self.seen;
        loop {
            let changes = self.look().await?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.wait().await;
        }
    }

    /// The changes that were told last could not be taken in: they are told again.
    pub fn rewind(&mut self) {
        self.seen = self.taken_in;
    }

    /// What others have changed since the last look.
    async fn look(&mut self) -> Result<Changes, StoreError> {
        let store = &self.store;
        let seen = self.seen;
        let (rows, last, kept) = store
            .bounded(async {
                let pool = store.pool();
                let last = last(&pool).await?;
                let sql = "SELECT min(seq) FROM changes";
                let kept: Option<i64> = sqlx::query_scalar(sql).fetch_one(&pool).await?;
                let rows = sqlx::query(
                    "SELECT kind, subject FROM changes WHERE seq > $1 AND seq <= $2 AND origin <> $3",
                )
                .bind(seen)
                .bind(last)
                .bind(store.shared.origin.clone())
                .fetch_all(&pool)
                .await?;
                Ok((rows, last, kept))
            })
            .await?;
        // A database that was restored from a copy may be behind.
        let is_behind = last < seen || kept.is_some_and(|kept| seen + 1 < kept);
        let mut machines = BTreeSet::new();
        let mut approvals = BTreeSet::new();
        let mut is_all = is_behind;
        for row in rows {
            let fail = |source| StoreError::of(store.location(), Duration::ZERO, source);
            let kind: String = row.try_get(0).map_err(fail)?;
            let subject: Option<String> = row.try_get(1).map_err(fail)?;
            match (kind.as_str(), subject) {
                ("machine", Some(id)) => machines.extend(id.parse::<i64>()),
                ("approval", Some(code)) => approvals.extend([code]),
                _ => is_all = true,
            }
        }
        self.seen = last;
        Ok(if is_all {
            Changes::All
        } else {
            Changes::Some {
                machines,
                approvals,
            }
        })
    }

    async fn wait(&mut self) {
        let Location::Postgres(url) = self.store.location() else {
            return tokio::time::sleep(LOOK).await;
        };
        let Some(listener) = &mut self.listener else {
            self.listener = listen(url).await;
            if self.listener.is_none() {
                tokio::time::sleep(LOOK).await;
            }
            // What was said before somebody listened is seen by looking again.
            return;
        };
        let heard = tokio::time::timeout(LOOK * 5, listener.recv()).await;
        if matches!(heard, Ok(Err(_))) {
            self.listener = None;
        }
    }
}

/// Who made a change.
pub(crate) fn origin() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

async fn last(pool: &sqlx::AnyPool) -> Result<i64, Error> {
    sqlx::query_scalar("SELECT last FROM numbers WHERE kind = 'change'")
        .fetch_one(pool)
        .await
}

async fn listen(url: &str) -> Option<PgListener> {
    let connect = async {
        let mut listener = PgListener::connect(url).await?;
        listener.listen("bootstorm").await?;
        Ok::<_, Error>(listener)
    };
    tokio::time::timeout(LOOK * 2, connect).await.ok()?.ok()
}
