//! A database is asked: a query with the facts as parameters, the decision in its first row.

use std::time::Duration;

use bootstorm_policy::decision::Verdict;
use bootstorm_telemetry::event::Reason;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::database::{Columns, Database};
use crate::{Ask, ProviderError, Unusable};
use parameters::Query;

mod parameters;

pub use parameters::PARAMETERS;

/// Columns that are keys of a decision; all others are values.
const KEYS: [&str; 8] = [
    "answer",
    "boot",
    "nbp",
    "arguments",
    "required",
    "reason",
    "retry",
    "url",
];

/// A database that knows what machines boot.
pub struct Sql {
    name: String,
    database: Database,
    query: Query,
}

impl Sql {
    /// A database at `sqlite:FILE` or `postgres://...` and one query with parameters such as
    /// `:mac`, of the names in [`PARAMETERS`]. A question takes this long at most.
    ///
    /// # Errors
    /// [`Unusable`] for another URL and for a parameter of another name.
    pub fn new(name: &str, url: &str, query: &str, budget: Duration) -> Result<Self, Unusable> {
        let unusable = |what| Unusable {
            provider: name.to_owned(),
            what,
        };
        Ok(Self {
            name: name.to_owned(),
            database: Database::new(url, budget).map_err(unusable)?,
            query: Query::read(query).map_err(unusable)?,
        })
    }

    fn verdict(&self, row: Option<Columns>) -> Result<Verdict, ProviderError> {
        let Some(row) = row else {
            return Ok(Verdict::Pass(Reason {
                code: "provider.passed",
                text: format!("{}: no row", self.name).into(),
            }));
        };
        Ok(Verdict::from_value(answer(row), &self.name)?)
    }
}

impl Ask for Sql {
    fn ask<'a>(&'a self, facts: &'a Value) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        async move {
            let values = self.query.values(facts);
            let rows = self.database.rows(self.query.text(), &values, 1).await?;
            self.verdict(rows.into_iter().next())
        }
        .boxed()
    }
}

/// A row as the answer that docs/reference/decisions.md lists.
fn answer(row: Columns) -> Value {
    let mut answer = Map::new();
    let mut values = Map::new();
    for (column, cell) in row.into_iter().filter(|(_, cell)| !cell.is_null()) {
        let to = if KEYS.contains(&column.as_str()) {
            &mut answer
        } else {
            &mut values
        };
        to.insert(column, cell);
    }
    // A row is an answer; only some queries have a column that says which.
    answer.entry("answer").or_insert("serve".into());
    if answer["answer"] == "serve" && !values.is_empty() {
        answer.insert("values".to_owned(), values.into());
    }
    answer.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(row: &Value) -> Value {
        answer(row.as_object().unwrap().clone())
    }

    #[test]
    fn a_row_serves_what_its_columns_say() {
        let row = json!({"boot": "winpe", "required": 1, "nbp": null, "ou": "Lab", "seat": 7});
        assert_eq!(
            of(&row),
            json!({"answer": "serve", "boot": "winpe", "required": 1,
                   "values": {"ou": "Lab", "seat": 7}})
        );
    }

    #[test]
    fn a_row_that_passes_has_no_values() {
        let row = json!({"answer": "pass", "reason": "retired", "ou": "Lab"});
        assert_eq!(of(&row), json!({"answer": "pass", "reason": "retired"}));
    }
}
