//! Configuration Manager is asked: a machine boots what is deployed to it, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use bootstorm_policy::decision::Verdict;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::database::Database;
use crate::{Ask, ProviderError, Unusable};
use deployment::{Asker, Deployment};
use export::Export;

mod choice;
mod deployment;
mod export;

/// Rows that one machine may have.
const ROWS_MAX: usize = 1000;

/// Where the deployments are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployments {
    /// A JSON file with the rows of the view, read again when it changes.
    File(PathBuf),
    /// A view of a database at `sqlite:FILE` or `postgres://...`.
    View {
        /// Where the database is.
        url: String,
        /// The view's name, with its schema if need be.
        view: String,
    },
}

/// What Configuration Manager has deployed. docs/reference/providers.md lists the columns.
pub struct ConfigMgr {
    name: String,
    source: Source,
    unknown_computers: bool,
}

enum Source {
    File(Export),
    View {
        database: Box<Database>,
        query: String,
    },
}

impl ConfigMgr {
    /// Deployments in a file or a view. With `unknown_computers`, machines that are not among the
    /// devices get what is deployed to unknown computers.
    ///
    /// # Errors
    /// [`Unusable`] for another kind of database and for a name that can be none of a view.
    pub fn new(
        name: &str,
        deployments: Deployments,
        unknown_computers: bool,
        budget: Duration,
    ) -> Result<Self, Unusable> {
        let unusable = |what| Unusable {
            provider: name.to_owned(),
            what,
        };
        let source = match deployments {
            Deployments::File(path) => Source::File(Export::new(path)),
            Deployments::View { url, view } => Source::View {
                database: Database::new(&url, budget)
                    .map(Box::new)
                    .map_err(unusable)?,
                query: query(&view).map_err(unusable)?,
            },
        };
        Ok(Self {
            name: name.to_owned(),
            source,
            unknown_computers,
        })
    }

    async fn deployments(&self, asker: &Asker) -> Result<Vec<Deployment>, ProviderError> {
        match &self.source {
            Source::File(export) => export.of(asker).await,
            Source::View { database, query } => {
                let values = [asker.mac.clone(), asker.guid.clone()];
                let rows = database.rows(query, &values, ROWS_MAX).await?;
                rows.into_iter().map(Deployment::read).collect()
            }
        }
    }
}

impl Ask for ConfigMgr {
    fn ask<'a>(&'a self, facts: &'a Value) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        async move {
            let asker = Asker::of(facts);
            let deployments = self.deployments(&asker).await?;
            choice::verdict(&self.name, &asker, deployments, self.unknown_computers)
        }
        .boxed()
    }
}

/// The rows of a machine and those of unknown computers.
fn query(view: &str) -> Result<String, String> {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && part.chars().all(plain)
    };
    if !view.split('.').all(part) {
        let name = view.escape_debug();
        return Err(format!(
            "`{name}` names no view: letters, digits, `_`, and `.` behind a schema"
        ));
    }
    Ok(format!(
        "SELECT * FROM {view} WHERE lower(mac) = $1 OR lower(guid) = $2 OR resource IS NULL"
    ))
}
