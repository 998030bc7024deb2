//! What people say of machines.

use std::time::{Duration, SystemTime};

use bootstorm_proto::types::{MacAddress, MachineGuid};
use sqlx::{AnyConnection, Error, Row};

use crate::changes::Change;
use crate::database::{Failure, numbers};
use crate::machine::to_millis;
use crate::machines::{find, read};
use crate::text::check;
use crate::{Key, LIMIT, MachineRecord, Once, Store, StoreError};

/// The most tags that a machine has.
pub const TAGS_MAX: usize = 64;

/// The most values that a machine has.
pub const VALUES_MAX: usize = 128;

/// The most addresses that a machine has.
const MACS_MAX: usize = 32;

/// What one of many changes adds to the time limit.
const EACH: Duration = Duration::from_millis(2);

/// One thing that people say of a machine; `None` takes it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is let in, nothing more.
    Admit,
    /// Its name.
    Name(Option<String>),
    /// What it boots each time. Another one than before, like an order or a release, begins anew:
    /// what the machine has done does not count.
    Boot(Option<String>),
    /// What it boots next time; a newer order takes the place of an older one.
    Once(Option<Once>),
    /// Whether it waits.
    Held(bool),
    /// Its GUID.
    Guid(Option<MachineGuid>),
    /// Its serial number.
    Serial(Option<String>),
    /// Its asset tag.
    Asset(Option<String>),
    /// It has this address.
    AddMac(MacAddress),
    /// It does not have this address.
    RemoveMac(MacAddress),
    /// It has this tag.
    AddTag(String),
    /// It does not have this tag.
    RemoveTag(String),
    /// A named value.
    Value(String, Option<String>),
}

impl Store {
    /// Changes one machine, all or nothing. One that nobody knows is made if its address or GUID is
    /// given. Gives it as it then is.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    pub async fn change(&self, key: &Key, edits: &[Edit]) -> Result<MachineRecord, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let id = change(&mut transaction, key, edits).await?;
            self.tell(&mut transaction, &[Change::Machine(id)]).await?;
            let machine = read(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(machine.ok_or(Error::RowNotFound)?)
        })
        .await
    }

    /// Changes many, all or nothing, such as the lines of a file. The time limit grows with them.
    ///
    /// # Errors
    /// The place of the one that cannot be changed, and why; then nothing has changed.
    pub async fn change_all(
        &self,
        changes: &[(Key, Vec<Edit>)],
    ) -> Result<(), (usize, StoreError)> {
        let mut place = 0;
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let limit = LIMIT + EACH.saturating_mul(count);
        let done = self.bounded_by(limit, async {
            let mut transaction = self.writing().await?;
            let mut changed = Vec::with_capacity(changes.len());
            for (at, (key, edits)) in changes.iter().enumerate() {
                place = at;
                let id = change(&mut transaction, key, edits).await?;
                changed.push(Change::Machine(id));
            }
            self.tell(&mut transaction, &changed).await?;
            Ok(transaction.commit().await?)
        });
        let done = done.await;
        done.map_err(|error| (place, error))
    }

    /// Forgets a machine. `false`: there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let Some(id) = find(&mut transaction, key).await? else {
                return Ok(false);
            };
            sqlx::query("DELETE FROM machines WHERE id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            self.tell(&mut transaction, &[Change::Machine(id)]).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Takes what a machine is to boot once: of all that ask for one order, on however many
    /// servers, exactly one gets it. `at` names the order.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Away`] it may be taken or not; whoever then boots it
    /// might boot it twice.
    pub async fn take_once(
        &self,
        machine: i64,
        at: SystemTime,
    ) -> Result<Option<String>, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let taken = take_once(&mut transaction, machine, at).await?;
            if taken.is_some() {
                self.tell(&mut transaction, &[Change::Machine(machine)])
                    .await?;
            }
            transaction.commit().await?;
            Ok(taken)
        })
        .await
    }
}

/// Takes an order in one statement; an order that another one replaced is not taken.
pub(crate) async fn take_once(
    connection: &mut AnyConnection,
    machine: i64,
    at: SystemTime,
) -> Result<Option<String>, Error> {
    let taken = sqlx::query(
        "UPDATE machines SET once = NULL, once_by = NULL, once_at = NULL, once_taken = once \
         WHERE id = $1 AND once_at = $2 AND once IS NOT NULL RETURNING once_taken",
    )
    .bind(machine)
    .bind(to_millis(at))
    .fetch_optional(connection)
    .await?;
    taken.map(|row| row.try_get(0)).transpose()
}

/// Changes a machine, made if need be, within a transaction; gives its number.
pub(crate) async fn change(
    connection: &mut AnyConnection,
    key: &Key,
    edits: &[Edit],
) -> Result<i64, Failure> {
    let id = match find(connection, key).await? {
        Some(id) => id,
        None => make(connection, key).await?,
    };
    sqlx::query("UPDATE machines SET admitted = coalesce(admitted, $2) WHERE id = $1")
        .bind(id)
        .bind(to_millis(SystemTime::now()))
        .execute(&mut *connection)
        .await?;
    for edit in edits {
        apply(connection, id, edit).await?;
    }
    Ok(id)
}

async fn make(connection: &mut AnyConnection, key: &Key) -> Result<i64, Failure> {
    let first = match key {
        Key::Mac(mac) => Edit::AddMac(*mac),
        Key::Guid(guid) => Edit::Guid(Some(*guid)),
        Key::Id(_) | Key::Name(_) => {
            let key = key.to_string();
            return Err(StoreError::UnknownMachine { key }.into());
        }
    };
    let id = numbers(&mut *connection, "machine", 1).await?;
    sqlx::query("INSERT INTO machines (id, phase, first_seen, last_seen) VALUES ($1, '', $2, $2)")
        .bind(id)
        .bind(to_millis(SystemTime::now()))
        .execute(&mut *connection)
        .await?;
    apply(connection, id, &first).await?;
    Ok(id)
}

async fn apply(connection: &mut AnyConnection, id: i64, edit: &Edit) -> Result<(), Failure> {
    match edit {
        Edit::Admit => Ok(()),
        Edit::Name(text) => {
            let sql = "UPDATE machines SET name = $2 WHERE id = $1";
            set(connection, id, sql, "a name", text).await
        }
        Edit::Boot(text) => assign(connection, id, text).await,
        Edit::Serial(text) => {
            let sql = "UPDATE machines SET serial = $2 WHERE id = $1";
            set(connection, id, sql, "a serial number", text).await
        }
        Edit::Asset(text) => {
            let sql = "UPDATE machines SET asset = $2 WHERE id = $1";
            set(connection, id, sql, "an asset tag", text).await
        }
        Edit::Guid(guid) => {
            let text = guid.map(|guid| guid.to_string());
            let sql = "UPDATE machines SET guid = $2 WHERE id = $1";
            set(connection, id, sql, "a GUID", &text).await
        }
        Edit::Once(once) => set_once(connection, id, once.as_ref()).await,
        Edit::Held(is_held) => hold(connection, id, *is_held).await,
        Edit::AddMac(mac) => add_mac(connection, id, *mac).await,
        Edit::RemoveMac(mac) => {
            let sql = "DELETE FROM machine_macs WHERE machine = $1 AND mac = $2";
            set(connection, id, sql, "an address", &Some(mac.to_string())).await
        }
        Edit::AddTag(tag) => add_tag(connection, id, tag).await,
        Edit::RemoveTag(tag) => {
            let sql = "DELETE FROM machine_tags WHERE machine = $1 AND tag = $2";
            set(connection, id, sql, "a tag", &Some(tag.clone())).await
        }
        Edit::Value(name, Some(value)) => set_value(connection, id, name, value).await,
        Edit::Value(name, None) => {
            let sql = "DELETE FROM machine_values WHERE machine = $1 AND name = $2";
            set(connection, id, sql, "a value's name", &Some(name.clone())).await
        }
    }
}

async fn set(
    connection: &mut AnyConnection,
    id: i64,
    sql: &'static str,
    what: &'static str,
    text: &Option<String>,
) -> Result<(), Failure> {
    if let Some(text) = text {
        check(what, text)?;
    }
    let query = sqlx::query(sql).bind(id).bind(text.clone());
    query.execute(connection).await?;
    Ok(())
}

/// A list that says every night what each machine boots begins nothing anew.
async fn assign(
    connection: &mut AnyConnection,
    id: i64,
    boot: &Option<String>,
) -> Result<(), Failure> {
    if let Some(boot) = boot {
        check("an assignment", boot)?;
    }
    sqlx::query(
        "UPDATE machines SET boot = $2, done = NULL, reset = $3 \
         WHERE id = $1 AND boot IS DISTINCT FROM $2",
    )
    .bind(id)
    .bind(boot.clone())
    .bind(to_millis(SystemTime::now()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_once(
    connection: &mut AnyConnection,
    id: i64,
    once: Option<&Once>,
) -> Result<(), Failure> {
    if let Some(once) = once {
        check("what a machine boots once", &once.boot)?;
        once.by
            .as_deref()
            .map_or(Ok(()), |by| check("a name", by))?;
    }
    // Two orders of one millisecond are two.
    sqlx::query(
        "UPDATE machines SET once = $2, once_by = $3, done = NULL, reset = $5, \
         once_at = CASE WHEN once_at >= $4 THEN once_at + 1 ELSE $4 END WHERE id = $1",
    )
    .bind(id)
    .bind(once.map(|once| once.boot.clone()))
    .bind(once.and_then(|once| once.by.clone()))
    .bind(once.map(|once| to_millis(once.at)))
    .bind(to_millis(SystemTime::now()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn hold(connection: &mut AnyConnection, id: i64, is_held: bool) -> Result<(), Failure> {
    let now = to_millis(SystemTime::now());
    let sql = if is_held {
        "UPDATE machines SET held = $2 WHERE id = $1"
    } else {
        "UPDATE machines SET held = NULL, done = NULL, reset = $2 WHERE id = $1"
    };
    sqlx::query(sql)
        .bind(id)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

async fn add_mac(connection: &mut AnyConnection, id: i64, mac: MacAddress) -> Result<(), Failure> {
    let owner = find(connection, &Key::Mac(mac)).await?;
    if let Some(machine) = owner {
        return if machine == id {
            Ok(())
        } else {
            let mac = mac.to_string();
            Err(StoreError::MacTaken { mac, machine }.into())
        };
    }
    let sql = "SELECT count(*) FROM machine_macs WHERE machine = $1";
    room(connection, id, sql, "addresses", MACS_MAX).await?;
    sqlx::query("INSERT INTO machine_macs (mac, machine) VALUES ($1, $2)")
        .bind(mac.to_string())
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn add_tag(connection: &mut AnyConnection, id: i64, tag: &str) -> Result<(), Failure> {
    let sql = "SELECT count(*) FROM machine_tags WHERE machine = $1";
    room(connection, id, sql, "tags", TAGS_MAX).await?;
    let sql = "INSERT INTO machine_tags (machine, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    set(connection, id, sql, "a tag", &Some(tag.to_owned())).await
}

async fn set_value(
    connection: &mut AnyConnection,
    id: i64,
    name: &str,
    value: &str,
) -> Result<(), Failure> {
    check("a value's name", name)?;
    check("a value", value)?;
    let sql = "SELECT count(*) FROM machine_values WHERE machine = $1";
    room(connection, id, sql, "values", VALUES_MAX).await?;
    sqlx::query(
        "INSERT INTO machine_values (machine, name, value) VALUES ($1, $2, $3) \
         ON CONFLICT (machine, name) DO UPDATE SET value = excluded.value",
    )
    .bind(id)
    .bind(name.to_owned())
    .bind(value.to_owned())
    .execute(connection)
    .await?;
    Ok(())
}

async fn room(
    connection: &mut AnyConnection,
    id: i64,
    count: &'static str,
    what: &'static str,
    most: usize,
) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar(count)
        .bind(id)
        .fetch_one(connection)
        .await?;
    if usize::try_from(count).is_ok_and(|count| count >= most) {
        return Err(StoreError::TooMany { what, most }.into());
    }
    Ok(())
}
