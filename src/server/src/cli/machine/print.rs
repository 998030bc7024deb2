//! Machines as a table, as JSON and as the CSV that `machine import` reads.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;

/// How machines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// A list of objects, as the API has them
    Json,
    /// For spreadsheets and `machine import`
    Csv,
}

/// Prints machines as the API tells them. Whatever stands in their names, a terminal shows it and
/// obeys none of it.
pub(super) fn print(out: &mut impl Write, format: Format, machines: &[Value]) -> io::Result<()> {
    match format {
        Format::Table => table(out, machines),
        Format::Json => json(out, machines),
        Format::Csv => csv(out, machines),
    }
}

const HEAD: [&str; 8] = ["ID", "NAME", "MAC", "BOOT", "ONCE", "TAGS", "PHASE", "SEEN"];

fn table(out: &mut impl Write, machines: &[Value]) -> io::Result<()> {
    let rows: Vec<[String; 8]> = machines.iter().map(row).collect();
    columns(out, HEAD, &rows)
}

/// Prints rows under their heads, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(
    out: &mut impl Write,
    head: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let shown = |row: &[String; N]| {
        let cells = row.each_ref().map(|cell| harmless(cell));
        cells.map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        })
    };
    let head = head.map(str::to_owned);
    let rows: Vec<[String; N]> = std::iter::once(head)
        .chain(rows.iter().map(shown))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())
    })
}

fn row(machine: &Value) -> [String; 8] {
    let held = if machine["held"].is_null() {
        ""
    } else {
        " (held)"
    };
    [
        machine["id"].to_string(),
        text(&machine["name"]),
        text(&machine["mac"]),
        text(&machine["boot"]),
        text(&machine["once"]["boot"]),
        list(&machine["tags"], ","),
        text(&machine["phase"]) + held,
        text(&machine["last_seen"]),
    ]
}

/// Prints what the API said.
pub(in crate::cli) fn json(out: &mut impl Write, machines: &[Value]) -> io::Result<()> {
    let text = serde_json::to_string_pretty(machines)?;
    // JSON leaves the control characters beyond ASCII as they are; some terminals obey them.
    let is_harmful = |c: char| c.is_control() && c != '\n';
    for piece in text.split_inclusive(is_harmful) {
        let last = piece.chars().next_back().filter(|c| is_harmful(*c));
        let plain = last.map_or(piece, |c| &piece[..piece.len() - c.len_utf8()]);
        write!(out, "{plain}")?;
        if let Some(c) = last {
            write!(out, "\\u{:04x}", u32::from(c))?;
        }
    }
    writeln!(out)
}

fn csv(out: &mut impl Write, machines: &[Value]) -> io::Result<()> {
    let values: BTreeSet<&String> = machines
        .iter()
        .filter_map(|machine| machine["values"].as_object())
        .flat_map(|values| values.keys())
        .collect();
    let plain = [
        "mac", "guid", "name", "serial", "asset", "boot", "once", "tags",
    ];
    let names = values.iter().map(|name| format!("value.{name}"));
    let head = plain.into_iter().map(str::to_owned).chain(names);
    writeln!(out, "{}", joined(head))?;
    for machine in machines {
        let cells = [
            list(&machine["macs"], " "),
            text(&machine["guid"]),
            text(&machine["name"]),
            text(&machine["serial"]),
            text(&machine["asset"]),
            text(&machine["boot"]),
            text(&machine["once"]["boot"]),
            list(&machine["tags"], " "),
        ];
        let values = values
            .iter()
            .map(|name| text(&machine["values"][name.as_str()]));
        writeln!(out, "{}", joined(cells.into_iter().chain(values)))?;
    }
    Ok(())
}

/// A line of comma-separated values.
pub(super) fn joined(cells: impl Iterator<Item = String>) -> String {
    let cells = cells.map(|cell| {
        let cell = harmless(&cell);
        if cell.contains([',', ';', '"']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    cells.collect::<Vec<_>>().join(",")
}

/// The text, or nothing.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value, separator: &str) -> String {
    let items = value.as_array().into_iter().flatten();
    let items: Vec<&str> = items.filter_map(Value::as_str).collect();
    items.join(separator)
}

/// Control characters, and those that turn the direction of writing, as their escapes.
fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(format: Format, machines: &[Value]) -> String {
        let mut out = Vec::new();
        print(&mut out, format, machines).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn machines() -> Vec<Value> {
        vec![
            json!({"id": 7, "name": "lab \u{1b}]0;x\u{7}\u{9b}31m\u{202e}", "mac": "52:54:00:99:00:01",
                   "macs": ["52:54:00:99:00:01", "52:54:00:99:00:02"], "guid": null, "serial": "a,\"b\"\n",
                   "boot": "debian", "once": {"boot": "winpe", "by": null}, "tags": ["x", "y"],
                   "values": {"role": "desk"}, "held": "2026-11-21T10:00:00Z", "phase": "booted",
                   "last_seen": "2026-11-21T10:00:00Z"}),
            json!({"id": 8, "mac": null, "macs": [], "once": null, "held": null, "phase": "asked",
                   "values": {}}),
        ]
    }

    #[test]
    fn no_name_gets_through_to_the_terminal() {
        for format in [Format::Table, Format::Json, Format::Csv] {
            let text = printed(format, &machines());
            let obeyed = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(obeyed), "{format:?}: {text:?}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_machine() {
        let text = printed(Format::Table, &machines());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("ID  NAME"));
        assert!(lines[1].contains("booted (held)") && lines[1].contains("x,y"));
        assert!(lines[2].starts_with("8   -"));
    }

    #[test]
    fn json_is_what_the_api_said() {
        let text = printed(Format::Json, &machines());
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, Value::from(machines()));
    }

    #[test]
    fn csv_is_what_import_reads() {
        let text = printed(Format::Csv, &machines()[..1]);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("mac,guid,name,serial,asset,boot,once,tags,value.role")
        );
        let line = lines.next().unwrap();
        assert!(
            line.starts_with("52:54:00:99:00:01 52:54:00:99:00:02,,\"lab "),
            "{line}"
        );
        assert!(
            line.ends_with("\"a,\"\"b\"\"\\n\",,debian,winpe,x y,desk"),
            "{line}"
        );
        assert_eq!(lines.next(), None);
    }
}
