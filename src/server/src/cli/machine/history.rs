//! `bootstorm machine history` and `boots`: what happened, and how far boots got.

use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::print::{Format, columns, joined, json, text};
use super::{PAGE, encoded, path};
use crate::cli::live::Live;

#[derive(Debug, Args)]
pub(super) struct History {
    /// Which one
    machine: String,
    /// How many lines, the newest
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct Boots {
    /// Of this machine alone
    machine: Option<String>,
    /// That stand so
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Since then: `2026-11-21T08:00:00Z`, or `20h` for the last twenty hours
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// How many, the newest
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Got their script
    Requested,
    /// Load
    Loading,
    /// Have loaded all that they asked for
    Booted,
    /// Reported that they are done
    Finished,
    /// The last that was heard is an error
    Failed,
}

/// What happened to machines, or their boots, newest first.
pub(super) enum Past {
    Events(Vec<Value>),
    Boots(Vec<Value>),
}

impl History {
    pub(super) fn ask(&self, live: &Live) -> anyhow::Result<Past> {
        let path = path(&self.machine, &["history"]);
        let events = pages(live, &format!("{path}?"), "events", self.limit)?;
        Ok(Past::Events(events))
    }
}

impl Boots {
    pub(super) fn ask(&self, live: &Live) -> anyhow::Result<Past> {
        let boots = pages(live, &self.path(), "boots", self.limit)?;
        Ok(Past::Boots(boots))
    }

    fn path(&self) -> String {
        let state = self.state.and_then(|state| state.to_possible_value());
        let since = self.since.map(|since| since.to_string());
        let mut path = "/api/v1/boots?".to_owned();
        for (name, value) in [
            ("machine", self.machine.as_deref()),
            ("state", state.as_ref().map(|state| state.get_name())),
            ("since", since.as_deref()),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("{name}={}&", encoded(value)));
            }
        }
        path
    }
}

/// Page by page, at most `most`.
pub(super) fn pages(
    live: &Live,
    path: &str,
    list: &str,
    most: usize,
) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    while all.len() < most {
        let limit = (most - all.len()).min(PAGE);
        let mut page = live.send(&Method::GET, &format!("{path}limit={limit}{cursor}"), None)?;
        if let Some(list) = page[list].as_array_mut() {
            all.append(list);
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(all)
}

/// A time, or how long ago.
fn since(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago: SignedDuration = text
        .parse()
        .ok()
        .context("write a time such as 2026-11-21T08:00:00Z, or how long ago, such as 20h")?;
    let now = Timestamp::try_from(SystemTime::now())?;
    Ok(now.checked_sub(ago)?)
}

impl Past {
    pub(super) fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        match (self, format) {
            (Self::Events(list) | Self::Boots(list), Format::Json) => json(out, list),
            (Self::Events(events), Format::Table) => {
                let rows: Vec<_> = events.iter().map(event).collect();
                columns(
                    out,
                    EVENT.map(str::to_uppercase).each_ref().map(|h| h.as_str()),
                    &rows,
                )
            }
            (Self::Events(events), Format::Csv) => csv(out, EVENT, events),
            (Self::Boots(boots), Format::Table) => {
                let rows: Vec<_> = boots.iter().map(boot).collect();
                columns(out, BOOT, &rows)
            }
            (Self::Boots(boots), Format::Csv) => csv(out, BOOT_FIELDS, boots),
        }
    }
}

const EVENT: [&str; 5] = ["at", "kind", "code", "text", "boot"];

const BOOT: [&str; 7] = [
    "REQUESTED",
    "MACHINE",
    "BOOTS",
    "STATE",
    "LOADED",
    "DONE",
    "REASON",
];

const BOOT_FIELDS: [&str; 17] = [
    "id",
    "machine",
    "mac",
    "guid",
    "entry",
    "by",
    "required",
    "once",
    "state",
    "requested",
    "download_started",
    "boot_started",
    "boot_ended",
    "last_error",
    "code",
    "reason",
    "bytes",
];

fn event(event: &Value) -> [String; 5] {
    EVENT.map(|field| text(&event[field]))
}

fn boot(boot: &Value) -> [String; 7] {
    let machine = [&boot["mac"], &boot["guid"]];
    let machine = machine.into_iter().find_map(Value::as_str);
    [
        text(&boot["requested"]),
        machine.unwrap_or_default().to_owned(),
        text(&boot["entry"]),
        text(&boot["state"]),
        text(&boot["boot_started"]),
        text(&boot["boot_ended"]),
        text(&boot["code"]),
    ]
}

fn csv<const N: usize>(out: &mut impl Write, fields: [&str; N], rows: &[Value]) -> io::Result<()> {
    writeln!(out, "{}", joined(fields.into_iter().map(str::to_owned)))?;
    for row in rows {
        let cells = fields.into_iter().map(|field| match &row[field] {
            Value::Null => String::new(),
            Value::String(text) => unlike_a_formula(text),
            other => other.to_string(),
        });
        writeln!(out, "{}", joined(cells))?;
    }
    Ok(())
}

/// Spreadsheets take for a formula what begins like one, and texts come from machines.
pub(super) fn unlike_a_formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(past: &Past, format: Format) -> String {
        let mut out = Vec::new();
        past.print(&mut out, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_machines_said_is_shown_and_not_obeyed() {
        let past = Past::Events(vec![json!({
            "at": "2026-11-21T10:00:00Z", "kind": "said", "code": null,
            "text": "=cmd|'x'!A1, \"\u{1b}[2J\"", "boot": "00ff", "mac": null,
        })]);
        let table = printed(&past, Format::Table);
        assert!(
            table.starts_with("AT                    KIND  CODE  TEXT"),
            "{table}"
        );
        assert!(!table.contains('\u{1b}'), "{table}");
        let csv = printed(&past, Format::Csv);
        assert_eq!(
            csv,
            "at,kind,code,text,boot\n\
             2026-11-21T10:00:00Z,said,,\"'=cmd|'x'!A1, \"\"\\u{1b}[2J\"\"\",00ff\n"
        );
    }

    #[test]
    fn boots_are_asked_for_as_was_said() {
        let boots = Boots {
            machine: Some("lab & 3".to_owned()),
            state: Some(State::Failed),
            since: Some(since("2026-11-21T08:00:00Z").unwrap()),
            limit: 10,
        };
        assert_eq!(
            boots.path(),
            "/api/v1/boots?machine=lab%20%26%203&state=failed&since=2026-11-21T08:00:00Z&"
        );
        let then = since("20h").unwrap();
        let now = Timestamp::try_from(SystemTime::now()).unwrap();
        assert_eq!(now.duration_since(then).as_hours(), 20);
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn a_boot_is_one_line() {
        let past = Past::Boots(vec![json!({
            "id": "00ff", "machine": 7, "mac": "52:54:00:99:00:01", "entry": "debian", "by": "rules",
            "required": true, "once": false, "state": "failed", "requested": "2026-11-21T10:00:00Z",
            "code": "tftp.timeout", "bytes": 12,
        })]);
        let table = printed(&past, Format::Table);
        assert_eq!(table.lines().count(), 2);
        assert!(
            table.contains("52:54:00:99:00:01  debian  failed"),
            "{table}"
        );
        let csv = printed(&past, Format::Csv);
        assert!(csv.ends_with(",tftp.timeout,,12\n"), "{csv}");
    }
}
