//! Which database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Error};

use crate::StoreError;

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite.
    File(PathBuf),
    /// A PostgreSQL server: `postgres://user:password@host:port/database`.
    Postgres(String),
}

impl Location {
    /// The file in a data folder, which needs no server.
    #[must_use]
    pub fn in_folder(data: &Path) -> Self {
        Self::File(data.join("bootstorm.db"))
    }

    pub(crate) fn options(&self) -> Result<AnyConnectOptions, Error> {
        match self {
            Self::File(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true);
                AnyConnectOptions::from_url(&options.to_url_lossy())
            }
            Self::Postgres(url) => url.parse(),
        }
    }
}

/// Reads `postgres://...`, `postgresql://...` or `sqlite:PATH`.
impl FromStr for Location {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::BadUrl { why };
        if let Some(path) = text.strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err(bad("it names no file".to_owned()));
            }
            return Ok(Self::File(PathBuf::from(path)));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(bad("it begins with none of them".to_owned()));
        }
        // The URL holds a password, so neither it nor an error that shows it is passed on.
        text.parse::<PgConnectOptions>()
            .map_err(|_| bad("it is no URL of PostgreSQL".to_owned()))?;
        Ok(Self::Postgres(text.to_owned()))
    }
}

/// Without the password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => {
                let Ok(options) = url.parse::<PgConnectOptions>() else {
                    return f.write_str("PostgreSQL");
                };
                let (host, port) = (options.get_host(), options.get_port());
                let database = options.get_database().unwrap_or_default();
                write!(f, "postgres://{host}:{port}/{database}")
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_the_password() {
        let file: Location = "sqlite:/var/lib/x.db".parse().unwrap();
        assert_eq!(file, Location::File("/var/lib/x.db".into()));
        let url = "postgres://boot:s3cret@db.example:5433/storm?sslmode=require";
        let server: Location = url.parse().unwrap();
        for shown in [server.to_string(), format!("{server:?}")] {
            assert!(
                shown.contains("postgres://db.example:5433/storm"),
                "{shown}"
            );
            assert!(!shown.contains("s3cret"));
        }
        for bad in [
            "",
            "sqlite:",
            "mysql://x/y",
            "postgres://u:s3cret@h:99999/x",
        ] {
            let error = bad.parse::<Location>().unwrap_err();
            assert_eq!(error.code(), "store.bad-url");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
