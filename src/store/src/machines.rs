//! Machines, read.

use std::collections::HashMap;

use bootstorm_proto::types::MacAddress;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Error, Row};

use crate::database::Failure;
use crate::machine::parse;
use crate::{Key, MachineRecord, Store, StoreError};

/// The most machines that are kept. Beyond it, those of which people said nothing are forgotten,
/// first those that never booted, of them those that were longest not seen: a flood with invented
/// addresses must not fill the disk.
pub const MACHINES_MAX: u32 = 200_000;

/// The most machines that one page holds.
pub const PAGE_MAX: u32 = 1000;

/// Which machines; what is not said leaves none out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Part of a name, a serial number, an asset tag or a MAC address, in small letters.
    pub text: Option<String>,
    /// Has this tag.
    pub tag: Option<String>,
    /// Is assigned this.
    pub boot: Option<String>,
    /// Is held, or is not.
    pub held: Option<bool>,
    /// Boots something once, or does not.
    pub once: Option<bool>,
    /// Is known, or is not.
    pub known: Option<bool>,
}

impl Store {
    /// Machines in the order of their numbers, those behind `after`, at most [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn machines(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<MachineRecord>, StoreError> {
        self.page(filter, after.unwrap_or(0), limit.min(PAGE_MAX))
            .await
    }

    /// Everything, for a snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self) -> Result<Vec<MachineRecord>, StoreError> {
        let mut all: Vec<MachineRecord> = Vec::new();
        loop {
            let after = all.last().map_or(0, |machine| machine.id);
            let page = self.page(&Filter::default(), after, LOAD_PAGE).await?;
            let is_last = page.len() < LOAD_PAGE as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// One machine.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] and others.
    pub async fn machine(&self, key: &Key) -> Result<Option<MachineRecord>, StoreError> {
        self.bounded(async {
            let mut connection = self.pool().acquire().await?;
            let Some(id) = find(&mut connection, key).await? else {
                return Ok(None);
            };
            Ok(read(&mut connection, id).await?)
        })
        .await
    }

    async fn page(
        &self,
        filter: &Filter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<MachineRecord>, StoreError> {
        let chosen = Chosen::page(filter, after, limit);
        self.bounded(async {
            let mut connection = self.pool().acquire().await?;
            Ok(chosen.fetch(&mut connection).await?)
        })
        .await
    }
}

/// The number of the machine that a key means.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    key: &Key,
) -> Result<Option<i64>, Failure> {
    let query = match key {
        Key::Id(id) => sqlx::query_scalar("SELECT id FROM machines WHERE id = $1").bind(*id),
        Key::Mac(mac) => sqlx::query_scalar("SELECT machine FROM machine_macs WHERE mac = $1")
            .bind(mac.to_string()),
        Key::Guid(guid) => sqlx::query_scalar("SELECT id FROM machines WHERE guid = $1 LIMIT 2")
            .bind(guid.to_string()),
        Key::Name(name) => {
            sqlx::query_scalar("SELECT id FROM machines WHERE name = $1 LIMIT 2").bind(name.clone())
        }
    };
    let found: Vec<i64> = query.fetch_all(connection).await?;
    if found.len() > 1 {
        let key = key.to_string();
        return Err(StoreError::Ambiguous { key }.into());
    }
    Ok(found.first().copied())
}

/// A machine with all that belongs to it.
pub(crate) async fn read(
    connection: &mut AnyConnection,
    id: i64,
) -> Result<Option<MachineRecord>, Error> {
    Ok(Chosen::one(id).fetch(connection).await?.pop())
}

const LOAD_PAGE: u32 = 10_000;

/// A choice of machines, which several tables are asked for.
struct Chosen<'a> {
    /// A query for numbers.
    sql: &'static str,
    filter: Option<&'a Filter>,
    number: i64,
    limit: u32,
}

/// Parameters: number behind which, how many, text, tag, boot, held, once, known.
const PAGE: &str = "SELECT id FROM machines WHERE id > $1 \
    AND ($3 IS NULL OR lower(name) LIKE $3 ESCAPE '\\' OR lower(serial) LIKE $3 ESCAPE '\\' \
      OR lower(asset) LIKE $3 ESCAPE '\\' OR id IN \
        (SELECT machine FROM machine_macs WHERE mac LIKE $3 ESCAPE '\\')) \
    AND ($4 IS NULL OR id IN (SELECT machine FROM machine_tags WHERE tag = $4)) \
    AND ($5 IS NULL OR boot = $5) \
    AND ($6 IS NULL OR (CASE WHEN held IS NULL THEN 0 ELSE 1 END) = $6) \
    AND ($7 IS NULL OR (CASE WHEN once IS NULL THEN 0 ELSE 1 END) = $7) \
    AND ($8 IS NULL OR (CASE WHEN coalesce(admitted, booted) IS NULL THEN 0 ELSE 1 END) = $8) \
    ORDER BY id LIMIT $2";

const PLAIN_PAGE: &str = "SELECT id FROM machines WHERE id > $1 ORDER BY id LIMIT $2";

const ONE: &str = "SELECT id FROM machines WHERE id = $1 LIMIT $2";

impl<'a> Chosen<'a> {
    fn page(filter: &'a Filter, after: i64, limit: u32) -> Self {
        let is_plain = *filter == Filter::default();
        Self {
            sql: if is_plain { PLAIN_PAGE } else { PAGE },
            filter: Some(filter).filter(|_| !is_plain),
            number: after,
            limit,
        }
    }

    const fn one(id: i64) -> Self {
        Self {
            sql: ONE,
            filter: None,
            number: id,
            limit: 1,
        }
    }

    async fn fetch(&self, connection: &mut AnyConnection) -> Result<Vec<MachineRecord>, Error> {
        let rows = self.query("SELECT * FROM machines WHERE id IN", " ORDER BY id");
        let rows = rows.fetch_all(&mut *connection).await?;
        let machines: Result<Vec<_>, _> = rows.iter().map(MachineRecord::of_row).collect();
        let mut machines = machines?;
        let places = machines.iter().enumerate().map(|(at, m)| (m.id, at));
        let places: HashMap<i64, usize> = places.collect();
        let sql = "SELECT machine, mac FROM machine_macs WHERE machine IN";
        for row in self
            .query(sql, " ORDER BY mac")
            .fetch_all(&mut *connection)
            .await?
        {
            if let Some(machine) = of(&mut machines, &places, row.try_get(0)?) {
                machine.macs.extend(parse::<MacAddress>(&row, "mac")?);
            }
        }
        let sql = "SELECT machine, tag FROM machine_tags WHERE machine IN";
        for row in self
            .query(sql, " ORDER BY tag")
            .fetch_all(&mut *connection)
            .await?
        {
            if let Some(machine) = of(&mut machines, &places, row.try_get(0)?) {
                machine.tags.push(row.try_get(1)?);
            }
        }
        let sql = "SELECT machine, name, value FROM machine_values WHERE machine IN";
        for row in self.query(sql, "").fetch_all(connection).await? {
            if let Some(machine) = of(&mut machines, &places, row.try_get(0)?) {
                machine.values.insert(row.try_get(1)?, row.try_get(2)?);
            }
        }
        Ok(machines)
    }

    fn query(&self, what: &'static str, order: &'static str) -> Query<'static, Any, AnyArguments> {
        let sql = format!("{what} ({}){order}", self.sql);
        // It is made of the constants above.
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(self.number)
            .bind(i64::from(self.limit));
        let Some(filter) = self.filter else {
            return query;
        };
        query
            .bind(filter.text.as_deref().map(pattern))
            .bind(filter.tag.clone())
            .bind(filter.boot.clone())
            .bind(filter.held.map(i64::from))
            .bind(filter.once.map(i64::from))
            .bind(filter.known.map(i64::from))
    }
}

fn of<'m>(
    machines: &'m mut [MachineRecord],
    places: &HashMap<i64, usize>,
    id: i64,
) -> Option<&'m mut MachineRecord> {
    machines.get_mut(*places.get(&id)?)
}

/// Text anywhere, for LIKE.
fn pattern(text: &str) -> String {
    let text = text.to_lowercase();
    let text = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{text}%")
}
