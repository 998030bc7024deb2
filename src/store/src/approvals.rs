//! Machines that ask to be let in, and what people answer.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::str::FromStr;
use std::time::SystemTime;

use bootstorm_proto::types::{MacAddress, MachineGuid};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row};

use crate::changes::Change;
use crate::database::Failure;
use crate::edits::change;
use crate::machine::{from_millis, parse, time, to_millis};
use crate::machines::find;
use crate::text::{check, check_body};
use crate::{Edit, Key, PAGE_MAX, Store, StoreError};

/// The most requests that wait at a time. Beyond it new ones are refused: those that wait already
/// are not driven out by a flood.
pub const WAITING_MAX: usize = 10_000;

/// A machine asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its address, unless several machines share it.
    pub mac: Option<MacAddress>,
    /// Its GUID, if that tells it from others.
    pub guid: Option<MachineGuid>,
    /// What it told of itself, as JSON, for whoever decides; at most 16 KiB.
    pub facts: String,
    /// When.
    pub at: SystemTime,
    /// Until when it waits for an answer.
    pub expires: SystemTime,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// The machine was let in.
    Approved,
    /// It was not.
    Denied,
    /// Nobody decided in time.
    Expired,
}

impl ApprovalState {
    /// `pending`, `approved`, `denied` or `expired`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads its name.
impl FromStr for ApprovalState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let all = [Self::Pending, Self::Approved, Self::Denied, Self::Expired];
        let found = all.into_iter().find(|state| state.name() == text);
        found.ok_or(UnknownState)
    }
}

/// Not the name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request is pending, approved, denied or expired")]
pub struct UnknownState;

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What people and the machine's screen call it: Crockford's base 32, four to eight letters.
    pub code: String,
    /// The machine's address.
    pub mac: Option<MacAddress>,
    /// Its GUID.
    pub guid: Option<MachineGuid>,
    /// What it told of itself, as JSON.
    pub facts: String,
    /// How the request stands.
    pub state: ApprovalState,
    /// Who decided.
    pub decider: Option<String>,
    /// Why it was not let in, in the words of whoever decided.
    pub reason: Option<String>,
    /// When it asked first.
    pub created: SystemTime,
    /// When somebody decided.
    pub decided: Option<SystemTime>,
    /// Until when it waits; for a denied one, until when it is not asked about again.
    pub expires: SystemTime,
}

/// What somebody decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The machine is let in, and this is said of it.
    Approve(Vec<Edit>),
    /// It is not; it may ask again after this time.
    Deny {
        /// Until when the answer holds.
        until: SystemTime,
        /// Why; its screen shows it.
        reason: Option<String>,
    },
}

impl Store {
    /// The request of a machine: the one that waits or was denied and still holds, else a new one.
    /// Whether the machine is let in already is for the caller to know.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] and others.
    pub async fn ask(&self, request: &Request) -> Result<Approval, StoreError> {
        check_body("what a machine tells", &request.facts)?;
        self.bounded(async {
            if let Some(approval) = {
                let mut connection = self.pool().acquire().await?;
                standing(&mut connection, request).await?
            } {
                return Ok(approval);
            }
            let mut transaction = self.writing().await?;
            if let Some(approval) = standing(&mut transaction, request).await? {
                return Ok(approval);
            }
            room(&mut transaction).await?;
            let code = fresh_code(&mut transaction).await?;
            sqlx::query(
                "INSERT INTO approvals (code, mac, guid, facts, state, created, expires) \
                 VALUES ($1, $2, $3, $4, 'pending', $5, $6)",
            )
            .bind(code.clone())
            .bind(request.mac.map(|mac| mac.to_string()))
            .bind(request.guid.map(|guid| guid.to_string()))
            .bind(request.facts.clone())
            .bind(to_millis(request.at))
            .bind(to_millis(request.expires))
            .execute(&mut *transaction)
            .await?;
            self.tell(&mut transaction, &[Change::Approval(code.clone())])
                .await?;
            let approval = read(&mut transaction, &code).await?;
            transaction.commit().await?;
            Ok(approval.ok_or(Error::RowNotFound)?)
        })
        .await
    }

    /// Requests, newest first, at most [`PAGE_MAX`]; `before` is when the last one of the page
    /// before was made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approvals(
        &self,
        state: Option<ApprovalState>,
        before: Option<(SystemTime, &str)>,
        limit: u32,
    ) -> Result<Vec<Approval>, StoreError> {
        let (created, code) = before.map_or((i64::MAX, ""), |(at, code)| (to_millis(at), code));
        self.bounded(async {
            let rows = sqlx::query(
                "SELECT * FROM approvals WHERE ($1 IS NULL OR state = $1) \
                 AND (created < $2 OR (created = $2 AND code > $3)) \
                 ORDER BY created DESC, code LIMIT $4",
            )
            .bind(state.map(ApprovalState::name))
            .bind(created)
            .bind(code.to_owned())
            .bind(i64::from(limit.min(PAGE_MAX)))
            .fetch_all(&self.pool())
            .await?;
            let approvals: Result<_, _> = rows.iter().map(Approval::of_row).collect();
            Ok(approvals?)
        })
        .await
    }

    /// One request. Its code may be written as people read it from a screen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approval(&self, code: &str) -> Result<Option<Approval>, StoreError> {
        let code = as_written(code);
        self.bounded(async {
            let mut connection = self.pool().acquire().await?;
            Ok(read(&mut connection, &code).await?)
        })
        .await
    }

    /// Answers a request that waits. Gives it as it then is, and the number of the machine that was
    /// let in.
    ///
    /// # Errors
    /// [`StoreError::UnknownApproval`], [`StoreError::Decided`] and others; then nothing has
    /// changed.
    pub async fn decide(
        &self,
        code: &str,
        answer: &Answer,
        by: &str,
        at: SystemTime,
    ) -> Result<(Approval, Option<i64>), StoreError> {
        check("a name", by)?;
        let code = as_written(code);
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let waiting = waiting(&mut transaction, &code, at).await?;
            let (machine, state) = match answer {
                Answer::Approve(edits) => {
                    let id = admit(&mut transaction, &waiting, edits).await?;
                    (Some(id), ApprovalState::Approved)
                }
                Answer::Deny { .. } => (None, ApprovalState::Denied),
            };
            let (expires, reason) = match answer {
                Answer::Approve(_) => (waiting.expires, None),
                Answer::Deny { until, reason } => (*until, reason.as_deref()),
            };
            reason.map_or(Ok(()), |reason| check("a reason", reason))?;
            sqlx::query(
                "UPDATE approvals SET state = $2, decider = $3, decided = $4, expires = $5, \
                 reason = $6 WHERE code = $1",
            )
            .bind(code.clone())
            .bind(state.name())
            .bind(by.to_owned())
            .bind(to_millis(at))
            .bind(to_millis(expires))
            .bind(reason.map(str::to_owned))
            .execute(&mut *transaction)
            .await?;
            let told = machine.map(Change::Machine).into_iter();
            let told = told.chain([Change::Approval(code.clone())]);
            self.tell(&mut transaction, &told.collect::<Vec<_>>())
                .await?;
            let approval = read(&mut transaction, &code).await?;
            transaction.commit().await?;
            Ok((approval.ok_or(Error::RowNotFound)?, machine))
        })
        .await
    }

    /// Ends the requests that waited too long; gives them, some hundred at a time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_approvals(&self, now: SystemTime) -> Result<Vec<Approval>, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let rows = sqlx::query(
                "UPDATE approvals SET state = 'expired' WHERE code IN (SELECT code FROM approvals \
                 WHERE state = 'pending' AND expires <= $1 LIMIT 500) RETURNING *",
            )
            .bind(to_millis(now))
            .fetch_all(&mut *transaction)
            .await?;
            let ended: Result<Vec<_>, _> = rows.iter().map(Approval::of_row).collect();
            let ended = ended?;
            let told = ended
                .iter()
                .map(|ended| Change::Approval(ended.code.clone()));
            self.tell(&mut transaction, &told.collect::<Vec<_>>())
                .await?;
            transaction.commit().await?;
            Ok(ended)
        })
        .await
    }
}

impl Approval {
    fn of_row(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            code: row.try_get("code")?,
            mac: parse(row, "mac")?,
            guid: parse(row, "guid")?,
            facts: row.try_get("facts")?,
            state: parse(row, "state")?.unwrap_or(ApprovalState::Pending),
            decider: row.try_get("decider")?,
            reason: row.try_get("reason")?,
            created: from_millis(row.try_get("created")?),
            decided: time(row, "decided")?,
            expires: from_millis(row.try_get("expires")?),
        })
    }
}

async fn read(connection: &mut AnyConnection, code: &str) -> Result<Option<Approval>, Error> {
    let row = sqlx::query("SELECT * FROM approvals WHERE code = $1")
        .bind(code.to_owned())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(Approval::of_row).transpose()
}

/// What still holds of an earlier request of this machine: by its GUID, else by its address.
async fn standing(
    connection: &mut AnyConnection,
    request: &Request,
) -> Result<Option<Approval>, Error> {
    let row = sqlx::query(
        "SELECT * FROM approvals WHERE (guid = $1 OR (mac = $2 AND (guid IS NULL OR $1 IS NULL))) \
         AND state IN ('pending', 'denied') AND expires > $3 \
         ORDER BY created DESC, code LIMIT 1",
    )
    .bind(request.guid.map(|guid| guid.to_string()))
    .bind(request.mac.map(|mac| mac.to_string()))
    .bind(to_millis(request.at))
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(Approval::of_row).transpose()
}

async fn waiting(
    connection: &mut AnyConnection,
    code: &str,
    now: SystemTime,
) -> Result<Approval, Failure> {
    let code = code.to_owned();
    let Some(approval) = read(connection, &code).await? else {
        return Err(StoreError::UnknownApproval { code }.into());
    };
    let state = match approval.state {
        ApprovalState::Pending if approval.expires <= now => ApprovalState::Expired,
        state => state,
    };
    if state == ApprovalState::Pending {
        return Ok(approval);
    }
    let by = approval.decider.unwrap_or_else(|| "nobody".to_owned());
    Err(StoreError::Decided { code, state, by }.into())
}

/// Lets the machine in that asked.
async fn admit(
    connection: &mut AnyConnection,
    approval: &Approval,
    edits: &[Edit],
) -> Result<i64, Failure> {
    let key = who(connection, approval).await?;
    let key = key.ok_or(Error::RowNotFound)?;
    let guid = approval.guid.map(|guid| Edit::Guid(Some(guid)));
    let edits: Vec<_> = guid.into_iter().chain(edits.iter().cloned()).collect();
    change(connection, &key, &edits).await
}

/// The machine with this GUID, else the one with this address, unless that has a GUID of its own:
/// an adapter that moves about makes no two machines one.
async fn who(connection: &mut AnyConnection, approval: &Approval) -> Result<Option<Key>, Failure> {
    let by_guid = approval.guid.map(Key::Guid);
    if let Some(key) = &by_guid
        && let Some(id) = find(connection, key).await?
    {
        return Ok(Some(Key::Id(id)));
    }
    let Some(by_mac) = approval.mac.map(Key::Mac) else {
        return Ok(by_guid);
    };
    let Some(id) = find(connection, &by_mac).await? else {
        return Ok(Some(by_mac));
    };
    let owner = crate::machines::read(connection, id).await?;
    let is_another = by_guid.is_some() && owner.is_some_and(|owner| owner.guid.is_some());
    Ok(if is_another {
        by_guid
    } else {
        Some(Key::Id(id))
    })
}

async fn room(connection: &mut AnyConnection) -> Result<(), Failure> {
    let sql = "SELECT count(*) FROM approvals WHERE state = 'pending'";
    let waiting: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
    let most = WAITING_MAX;
    if usize::try_from(waiting).is_ok_and(|waiting| waiting >= most) {
        let what = "machines that wait to be let in";
        return Err(StoreError::TooMany { what, most }.into());
    }
    Ok(())
}

/// A code that no request has: four letters, or more where many are taken.
async fn fresh_code(connection: &mut AnyConnection) -> Result<String, Error> {
    for length in [4, 4, 4, 5, 5, 6, 6, 8, 8] {
        let code = random_code(length);
        if read(connection, &code).await?.is_none() {
            return Ok(code);
        }
    }
    Err(Error::RowNotFound)
}

/// A code as it is stored, however people read it from a screen.
fn as_written(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric).take(16);
    let letters = letters.map(|letter| match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        letter => letter,
    });
    letters.collect()
}

/// It tells requests apart and is no secret, so the seed of a hash table is random enough.
fn random_code(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bits = RandomState::new().hash_one(length);
    let letters = (0..length).map(|_| {
        let letter = LETTERS[(bits % 32) as usize];
        bits /= 32;
        char::from(letter)
    });
    letters.collect()
}
