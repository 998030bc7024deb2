//! What can go wrong with the database, and what to do about it.

use std::io;
use std::time::Duration;

use crate::{ApprovalState, Location};

/// The database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is no database or is damaged. It is never deleted or repaired unasked.
    #[error(
        "{database} is not a sound database: {evidence}; stop the server, move the file (and its \
         -wal and -shm) away and restore a copy, or start without: machines are then found again, \
         assignments are not"
    )]
    Corrupt {
        /// Which one.
        database: Location,
        /// What it said.
        evidence: String,
    },
    /// A later version of the server has written it.
    #[error(
        "{database} was written by a later version (its schema has step {step}); run that \
         version, or restore the copy from before the upgrade"
    )]
    Newer {
        /// Which one.
        database: Location,
        /// The first step that this version does not know.
        step: i64,
    },
    /// Somebody else holds it.
    #[error(
        "{database} is locked by another process for longer than {waited:?}; does something else \
         than bootstorm write there?"
    )]
    Locked {
        /// Which one.
        database: Location,
        /// How long was waited.
        waited: Duration,
    },
    /// It does not answer, or not in time.
    #[error(
        "{database} does not answer: {evidence}; machines are answered from memory, and what is \
         said of them cannot be changed until it is back"
    )]
    Away {
        /// Which one.
        database: Location,
        /// What was seen of it.
        evidence: String,
    },
    /// The file or its folder cannot be written, or the server lets this user do nothing.
    #[error(
        "{database} cannot be opened for writing: {evidence}; a file and its folder must exist \
         and belong to the user that runs the server, a database must belong to the user of the \
         URL"
    )]
    Unwritable {
        /// Which one.
        database: Location,
        /// What the system said.
        evidence: String,
    },
    /// No space left.
    #[error("the disk that holds {database} is full")]
    Full {
        /// Which one.
        database: Location,
    },
    /// An address of a database that says nothing.
    #[error(
        "the address of the database cannot be used: {why}; write \
         postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:FILE"
    )]
    BadUrl {
        /// What is wrong with it.
        why: String,
    },
    /// A text that is too long or holds control characters.
    #[error("`{text}` cannot be stored as {what}: {why}")]
    BadText {
        /// What it was to be.
        what: &'static str,
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such machine, and no address to make one of.
    #[error("there is no machine {key}; a new one is added by its MAC address or GUID")]
    UnknownMachine {
        /// What was asked for.
        key: String,
    },
    /// Several machines have that name or GUID.
    #[error("several machines are called {key}: say which by the MAC address")]
    Ambiguous {
        /// What was asked for.
        key: String,
    },
    /// The address belongs to another machine.
    #[error("{mac} is an address of machine {machine}; take it away there first")]
    MacTaken {
        /// The address.
        mac: String,
        /// Whose it is.
        machine: i64,
    },
    /// More than one of it may have.
    #[error("more than {most} {what}")]
    TooMany {
        /// What there would be too many of.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// There is no such request.
    #[error("no machine asks by the code {code}; the list of requests shows those that do")]
    UnknownApproval {
        /// The code.
        code: String,
    },
    /// The request was answered before, or too late.
    #[error("the request {code} is {state} already, by {by}")]
    Decided {
        /// The code.
        code: String,
        /// How it stands.
        state: ApprovalState,
        /// Who decided.
        by: String,
    },
    /// Anything else.
    #[error("the database {database} failed: {source}")]
    Failed {
        /// Which one.
        database: Location,
        /// What it said.
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Stable code, listed in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "store.corrupt",
            Self::Newer { .. } => "store.newer",
            Self::Locked { .. } => "store.locked",
            Self::Away { .. } => "store.away",
            Self::Unwritable { .. } => "store.unwritable",
            Self::Full { .. } => "store.full",
            Self::BadUrl { .. } => "store.bad-url",
            Self::BadText { .. } => "store.bad-text",
            Self::UnknownMachine { .. } => "store.unknown-machine",
            Self::Ambiguous { .. } => "store.ambiguous",
            Self::MacTaken { .. } => "store.mac-taken",
            Self::TooMany { .. } => "store.too-many",
            Self::UnknownApproval { .. } => "store.unknown-approval",
            Self::Decided { .. } => "store.decided",
            Self::Failed { .. } => "store.failed",
        }
    }

    /// The database refuses what it was given, and would again: classes 22 and 23 of PostgreSQL,
    /// SQLITE_TOOBIG 18, CONSTRAINT 19 and MISMATCH 20.
    pub(crate) fn is_of_data(&self) -> bool {
        let Self::Failed { source, .. } = self else {
            return matches!(self, Self::BadText { .. });
        };
        let code = source.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| match code.len() {
            5 => code.starts_with("22") || code.starts_with("23"),
            _ => matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(18..=20)),
        })
    }

    /// Sorts what a database says.
    pub(crate) fn of(database: &Location, waited: Duration, source: sqlx::Error) -> Self {
        let database = database.clone();
        let evidence = source.to_string();
        match Cause::of(&source) {
            Cause::Locked => Self::Locked { database, waited },
            Cause::Away => Self::Away { database, evidence },
            Cause::Unwritable => Self::Unwritable { database, evidence },
            Cause::Corrupt => Self::Corrupt { database, evidence },
            Cause::Full => Self::Full { database },
            Cause::Other => Self::Failed { database, source },
        }
    }
}

enum Cause {
    Locked,
    Away,
    Unwritable,
    Corrupt,
    Full,
    Other,
}

impl Cause {
    fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error;
        match error {
            Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Unwritable,
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => Self::Away,
            Error::Database(error) => match error.code() {
                Some(code) if code.len() == 5 => Self::of_sqlstate(&code),
                Some(code) => Self::of_sqlite(&code),
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// By the low byte of SQLite's extended result code (sqlite3.h: SQLITE_BUSY 5, LOCKED 6,
    /// PERM 3, READONLY 8, CANTOPEN 14, AUTH 23, CORRUPT 11, NOTADB 26, FULL 13).
    fn of_sqlite(code: &str) -> Self {
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(5 | 6) => Self::Locked,
            Ok(3 | 8 | 14 | 23) => Self::Unwritable,
            Ok(11 | 26) => Self::Corrupt,
            Ok(13) => Self::Full,
            _ => Self::Other,
        }
    }

    /// By the codes of PostgreSQL (its manual, appendix A): 55P03 lock_not_available, 53100
    /// disk_full, XX001 and XX002 corrupted, 57014 query_canceled by the time limit, classes 08
    /// connection, 53 resources and 57P operator; 28 authorization, 3D000 no such database, 42501
    /// insufficient_privilege, 25006 read_only_sql_transaction.
    fn of_sqlstate(code: &str) -> Self {
        match code {
            "55P03" => Self::Locked,
            "53100" => Self::Full,
            "XX001" | "XX002" => Self::Corrupt,
            "3D000" | "42501" | "25006" => Self::Unwritable,
            "57014" => Self::Away,
            _ if code.starts_with("28") => Self::Unwritable,
            _ if ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Self::Away
            }
            _ => Self::Other,
        }
    }
}
