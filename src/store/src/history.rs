//! What happened, and how long it is kept.

use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row};

use crate::database::numbers;
use crate::machine::{from_millis, parse, to_millis};
use crate::text::{beginning, body};
use crate::{PAGE_MAX, Store, StoreError, wire};

/// The most events that are kept, and the most boots: beyond it the oldest go.
pub const HISTORY_MAX: i64 = 1_000_000;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unlike any other's, at most 255 bytes.
    pub id: String,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
    /// To the machine of this address.
    #[serde(with = "wire::text")]
    pub mac: Option<MacAddress>,
    /// To the machine of this number.
    pub machine: Option<i64>,
    /// In this boot.
    pub boot: Option<String>,
    /// What, in one word.
    pub kind: String,
    /// Reason code.
    pub code: Option<String>,
    /// In words; what is beyond 1024 bytes is cut.
    pub text: String,
}

impl Store {
    /// Events, newest first, at most [`PAGE_MAX`] before `before`, of one machine or of all; each
    /// with its place in the order of events.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(
        &self,
        machine: Option<i64>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Event)>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM events WHERE ($1 IS NULL OR machine = $1) AND seq < $2 \
             ORDER BY seq DESC LIMIT $3",
        )
        .bind(machine)
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit.min(PAGE_MAX)));
        self.bounded(async {
            let rows = rows.fetch_all(&self.pool()).await?;
            let read: Result<_, _> = rows.iter().map(Event::of_row).collect();
            Ok(read?)
        })
        .await
    }

    /// Forgets events, boots and decided requests that are older than `kept`; some thousand at a
    /// time, until none is left.
    ///
    /// # Errors
    /// [`StoreError`]; what is forgotten already stays so.
    pub async fn forget_old(&self, kept: Duration, now: SystemTime) -> Result<(), StoreError> {
        let until = to_millis(now.checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH));
        for sql in [
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < $1 LIMIT 5000)",
            "DELETE FROM boots WHERE seq IN (SELECT seq FROM boots WHERE began < $1 LIMIT 5000)",
            "DELETE FROM approvals WHERE code IN (SELECT code FROM approvals \
             WHERE state <> 'pending' AND expires < $1 LIMIT 5000)",
        ] {
            while self.forget_some(sql, until).await? > 0 {}
        }
        Ok(())
    }

    async fn forget_some(&self, sql: &'static str, until: i64) -> Result<u64, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let query = sqlx::query(sql).bind(until);
            let gone = query.execute(&mut *transaction).await?.rows_affected();
            transaction.commit().await?;
            Ok(gone)
        })
        .await
    }
}

impl Event {
    fn of_row(row: &AnyRow) -> Result<(i64, Self), Error> {
        let event = Self {
            id: row.try_get("id")?,
            at: from_millis(row.try_get("at")?),
            mac: parse(row, "mac")?,
            machine: row.try_get("machine")?,
            boot: row.try_get("boot")?,
            kind: row.try_get("kind")?,
            code: row.try_get("code")?,
            text: row.try_get("text")?,
        };
        Ok((row.try_get("seq")?, event))
    }
}

/// Notes an event; one that is noted already stays as it is.
pub(crate) async fn happen(connection: &mut AnyConnection, event: &Event) -> Result<(), Error> {
    let seq = numbers(&mut *connection, "event", 1).await?;
    sqlx::query(
        "INSERT INTO events (seq, id, at, mac, machine, boot, kind, code, text) \
         VALUES ($1, $2, $3, $4, coalesce($5, (SELECT machine FROM boots WHERE id = $6), \
         (SELECT machine FROM machine_macs WHERE mac = $4)), $6, $7, $8, $9) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(seq)
    .bind(beginning(&event.id))
    .bind(to_millis(event.at))
    .bind(event.mac.map(|mac| mac.to_string()))
    .bind(event.machine)
    .bind(event.boot.as_deref().map(beginning))
    .bind(beginning(&event.kind))
    .bind(event.code.as_deref().map(beginning))
    .bind(body(&event.text))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM events WHERE seq <= $1")
        .bind(seq - HISTORY_MAX)
        .execute(connection)
        .await?;
    Ok(())
}
