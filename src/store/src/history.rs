//! Boots and events of the past.

use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row};

use crate::database::numbers;
use crate::machine::{from_millis, parse, time, to_millis};
use crate::text::{beginning, body};
use crate::{PAGE_MAX, Store, StoreError, wire};

/// The most events that are kept, and the most boots: beyond it the oldest go.
pub const HISTORY_MAX: i64 = 1_000_000;

/// A boot begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootBegin {
    /// Unlike any other's, at most 255 bytes.
    pub id: String,
    /// The machine's number, if it is known.
    pub machine: Option<i64>,
    /// Its address.
    #[serde(with = "wire::text")]
    pub mac: Option<MacAddress>,
    /// What it boots.
    pub entry: String,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
}

/// A boot ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEnd {
    /// Which one.
    pub id: String,
    /// How, in one word.
    pub state: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// What was sent to the machine.
    pub bytes: Option<u64>,
    /// When.
    #[serde(with = "wire::millis")]
    pub at: SystemTime,
}

/// A boot.
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
    /// What it boots.
    pub entry: String,
    /// `began`, or how it ended.
    pub state: String,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What was sent to the machine.
    pub bytes: Option<i64>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
}

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
    /// What, in one word.
    pub kind: String,
    /// Reason code.
    pub code: Option<String>,
    /// In words; what is beyond 1024 bytes is cut.
    pub text: String,
}

impl Store {
    /// Boots, newest first, at most [`PAGE_MAX`] before `before`, of one machine or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boots(
        &self,
        machine: Option<i64>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<BootRecord>, StoreError> {
        let sql = "SELECT * FROM boots WHERE ($1 IS NULL OR machine = $1) AND seq < $2 \
                   ORDER BY seq DESC LIMIT $3";
        self.newest(sql, machine, before, limit, BootRecord::of_row)
            .await
    }

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
        let sql = "SELECT * FROM events WHERE ($1 IS NULL OR machine = $1) AND seq < $2 \
                   ORDER BY seq DESC LIMIT $3";
        self.newest(sql, machine, before, limit, Event::of_row)
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

    async fn newest<T>(
        &self,
        sql: &'static str,
        machine: Option<i64>,
        before: Option<i64>,
        limit: u32,
        read: fn(&AnyRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, StoreError> {
        self.bounded(async {
            let rows = sqlx::query(sql)
                .bind(machine)
                .bind(before.unwrap_or(i64::MAX))
                .bind(i64::from(limit.min(PAGE_MAX)))
                .fetch_all(&self.pool())
                .await?;
            let read: Result<_, _> = rows.iter().map(read).collect();
            Ok(read?)
        })
        .await
    }
}

impl BootRecord {
    fn of_row(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            id: row.try_get("id")?,
            machine: row.try_get("machine")?,
            mac: parse(row, "mac")?,
            entry: row.try_get("entry")?,
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            bytes: row.try_get("bytes")?,
            began: from_millis(row.try_get("began")?),
            ended: time(row, "ended")?,
        })
    }
}

impl Event {
    fn of_row(row: &AnyRow) -> Result<(i64, Self), Error> {
        let event = Self {
            id: row.try_get("id")?,
            at: from_millis(row.try_get("at")?),
            mac: parse(row, "mac")?,
            machine: row.try_get("machine")?,
            kind: row.try_get("kind")?,
            code: row.try_get("code")?,
            text: row.try_get("text")?,
        };
        Ok((row.try_get("seq")?, event))
    }
}

/// Notes that a boot begins; one that is noted already stays as it is.
pub(crate) async fn begin(connection: &mut AnyConnection, boot: &BootBegin) -> Result<(), Error> {
    let seq = numbers(&mut *connection, "boot", 1).await?;
    sqlx::query(
        "INSERT INTO boots (seq, id, machine, mac, entry, state, began) VALUES ($1, $2, \
         coalesce($3, (SELECT machine FROM machine_macs WHERE mac = $4)), $4, $5, 'began', $6) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(seq)
    .bind(beginning(&boot.id))
    .bind(boot.machine)
    .bind(boot.mac.map(|mac| mac.to_string()))
    .bind(beginning(&boot.entry))
    .bind(to_millis(boot.at))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM boots WHERE seq <= $1")
        .bind(seq - HISTORY_MAX)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes that a boot ends; it ends once.
pub(crate) async fn end(connection: &mut AnyConnection, end: &BootEnd) -> Result<(), Error> {
    sqlx::query(
        "UPDATE boots SET state = $2, reason = $3, bytes = $4, ended = $5 \
         WHERE id = $1 AND ended IS NULL",
    )
    .bind(beginning(&end.id))
    .bind(beginning(&end.state))
    .bind(end.reason.as_deref().map(body))
    .bind(
        end.bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    )
    .bind(to_millis(end.at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes an event; one that is noted already stays as it is.
pub(crate) async fn happen(connection: &mut AnyConnection, event: &Event) -> Result<(), Error> {
    let seq = numbers(&mut *connection, "event", 1).await?;
    sqlx::query(
        "INSERT INTO events (seq, id, at, mac, machine, kind, code, text) VALUES ($1, $2, $3, $4, \
         coalesce($5, (SELECT machine FROM machine_macs WHERE mac = $4)), $6, $7, $8) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(seq)
    .bind(beginning(&event.id))
    .bind(to_millis(event.at))
    .bind(event.mac.map(|mac| mac.to_string()))
    .bind(event.machine)
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
