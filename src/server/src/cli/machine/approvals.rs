//! `bootstorm machine approvals`, `approve` and `deny`: machines that ask to be let in.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::history::{pages, unlike_a_formula};
use super::print::{Format, columns, joined, json as as_json, text};
use super::{encoded, whoever};
use crate::cli::live::Live;

const APPROVALS: &str = "/api/v1/approvals";

#[derive(Debug, Args)]
pub(super) struct Approvals {
    /// Requests in this state
    #[arg(long, value_enum, default_value = "pending")]
    state: State,
    /// How many, the newest
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// Nobody has decided
    Pending,
    /// Let in
    Approved,
    /// Not let in
    Denied,
    /// Nobody decided in time
    Expired,
    /// Any of these
    All,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The code on its screen
    code: String,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// Tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What it boots each time
    #[arg(long, value_name = "ENTRY")]
    boot: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Deny {
    /// The code on its screen
    code: String,
    /// Why; its screen shows it
    #[arg(long)]
    reason: Option<String>,
}

/// Requests as the API tells them.
pub(super) struct Requests(Vec<Value>);

impl Approvals {
    pub(super) fn ask(&self, live: &Live) -> anyhow::Result<Requests> {
        let state = self.state.to_possible_value();
        let state = state.filter(|_| self.state != State::All);
        let state = state.map(|state| format!("state={}&", state.get_name()));
        let path = format!("{APPROVALS}?{}", state.unwrap_or_default());
        Ok(Requests(pages(live, &path, "approvals", self.limit)?))
    }
}

impl Approve {
    pub(super) fn ask(&self, live: &Live) -> anyhow::Result<Requests> {
        answer(live, &self.code, "approve", &self.json(whoever()))
    }

    fn json(&self, by: Option<String>) -> Value {
        json!({ "name": self.name, "tags": self.tags, "boot": self.boot, "by": by })
    }
}

impl Deny {
    pub(super) fn ask(&self, live: &Live) -> anyhow::Result<Requests> {
        let said = json!({ "reason": self.reason, "by": whoever() });
        answer(live, &self.code, "deny", &said)
    }
}

fn answer(live: &Live, code: &str, what: &str, said: &Value) -> anyhow::Result<Requests> {
    let path = format!("{APPROVALS}/{}/{what}", encoded(code));
    Ok(Requests(vec![live.send(
        &Method::POST,
        &path,
        Some(said),
    )?]))
}

/// For people.
const COLUMNS: [&str; 8] = [
    "code",
    "state",
    "mac",
    "manufacturer",
    "product",
    "serial",
    "created",
    "by",
];

const FIELDS: [&str; 11] = [
    "code",
    "state",
    "mac",
    "guid",
    "manufacturer",
    "product",
    "serial",
    "created",
    "expires",
    "by",
    "reason",
];

impl Requests {
    pub(super) fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        match format {
            Format::Json => as_json(out, &self.0),
            Format::Table => {
                let head = COLUMNS.map(str::to_uppercase);
                let rows: Vec<_> = self
                    .0
                    .iter()
                    .map(|r| COLUMNS.map(|f| field(r, f)))
                    .collect();
                columns(out, head.each_ref().map(String::as_str), &rows)
            }
            Format::Csv => {
                writeln!(out, "{}", FIELDS.join(","))?;
                self.0.iter().try_for_each(|request| {
                    let cells = FIELDS.map(|name| unlike_a_formula(&field(request, name)));
                    writeln!(out, "{}", joined(cells.into_iter()))
                })
            }
        }
    }
}

/// What a machine told of itself stands in its facts.
fn field(request: &Value, name: &str) -> String {
    match name {
        "manufacturer" | "product" | "serial" => text(&request["facts"]["smbios"][name]),
        _ => text(&request[name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Requests {
        Requests(vec![json!({
            "code": "7F3K", "state": "pending", "mac": "52:54:00:99:00:01", "guid": null,
            "facts": {"smbios": {"manufacturer": "Dell", "product": "X\u{1b}[0m", "serial": "a,b"}},
            "created": "2026-11-21T10:00:00Z", "expires": "2026-11-21T16:00:00Z",
            "by": null, "reason": null,
        })])
    }

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        requests().print(&mut out, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_told_with_what_the_machine_says_of_itself() {
        let table = printed(Format::Table);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("CODE  STATE"), "{table}");
        assert!(
            lines[1].starts_with("7F3K  pending  52:54:00:99:00:01  Dell"),
            "{table}"
        );
        let csv = printed(Format::Csv);
        assert!(csv.contains("\"a,b\",2026-11-21T10:00:00Z"), "{csv}");
        let json: Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(json, Value::from(requests().0));
        for format in [Format::Table, Format::Json, Format::Csv] {
            assert!(!printed(format).contains('\u{1b}'), "{format:?}");
        }
    }
}
