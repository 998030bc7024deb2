//! Where machines and their history are kept: the `[store]` table.

use std::time::Duration;

use serde::Deserialize;

use crate::Config;
use crate::duration::Span;
use crate::lint::Finding;
use crate::load::read_or_note;

/// The `[store]` table.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `postgres://...`; without one SQLite in the data folder.
    pub url: Option<String>,
    /// How long events and finished boots are kept.
    pub retention: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: None,
            retention: Duration::from_secs(90 * 86_400),
        }
    }
}

/// Without the password.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("url", &self.url.as_deref().map(without_password))
            .field("retention", &self.retention)
            .finish()
    }
}

/// A database's URL without the password in it, for logs.
#[must_use]
pub fn without_password(url: &str) -> String {
    let hidden = url.split_once("://").and_then(|(scheme, rest)| {
        let (login, host) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:...@{host}"))
    });
    hidden.unwrap_or_else(|| url.to_owned())
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    url: Option<String>,
    retention: Option<String>,
}

pub(crate) fn take(to: &mut StoreConfig, written: Written, findings: &mut Vec<Finding>) {
    to.url = written.url;
    let key = || "store.retention".to_owned();
    if let Some(Span(read)) = read_or_note(written.retention.as_deref(), key, findings) {
        to.retention = read;
    }
}

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    let store = &config.store;
    let postgres = |url: &&str| url.starts_with("postgres://") || url.starts_with("postgresql://");
    let url = store.url.as_deref();
    if url.is_some_and(|url| !postgres(&url)) {
        findings.push(
            Finding::bad_value("store.url", "this is no URL of a PostgreSQL database").hint(
                "postgres://USER:PASSWORD@HOST/DATABASE; without it SQLite in `data` is used",
            ),
        );
    }
    if store.retention < Duration::from_secs(86_400) {
        let text = format!("{} is less than a day", Span(store.retention));
        findings.push(Finding::bad_value("store.retention", text));
    }
}
