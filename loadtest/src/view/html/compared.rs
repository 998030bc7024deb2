//! What stands on the page of a comparison, in words.

use serde::Serialize;

use super::super::compare::{Comparison, Verdict};

/// The page of a comparison.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    name: String,
    runs: [(&'static str, &'a str); 2],
    warnings: &'a [String],
    verdict: String,
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    a: &'a str,
    b: &'a str,
    change: &'a str,
    verdict: &'static str,
    class: &'static str,
}

impl<'a> Page<'a> {
    pub(super) fn new(comparison: &'a Comparison) -> Self {
        let [a, b] = &comparison.runs;
        let rows = comparison.rows.iter().map(|row| Row {
            name: &row.name,
            a: &row.a,
            b: &row.b,
            change: &row.change,
            verdict: row.verdict.words(),
            class: match row.verdict {
                Verdict::Better => "good",
                Verdict::Worse => "bad",
                Verdict::Other => "dim",
            },
        });
        Self {
            name: comparison.name.clone(),
            runs: [("A", a), ("B", b)],
            warnings: &comparison.warnings,
            verdict: comparison.verdict(),
            rows: rows.collect(),
        }
    }
}
