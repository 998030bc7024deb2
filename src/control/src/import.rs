//! Lists of machines that people bring as CSV (RFC 4180).
//!
//! The first line names the columns; `,` or `;` separates them, as spreadsheets write either. An
//! empty field says nothing: what is known stays.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bootstorm_proto::types::{MacAddress, MachineGuid};
use csv::{ReaderBuilder, StringRecord};

/// The most machines that one list may hold.
pub const ROWS_MAX: usize = 100_000;

/// Faults that are told of one list; a wrong column is wrong in every line.
const FAULTS_MAX: usize = 20;

/// Longest text of a field, in bytes.
const TEXT_MAX: usize = 255;

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Line of the list, counted from 1.
    pub line: u64,
    /// MAC addresses.
    pub macs: Vec<MacAddress>,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// Name.
    pub name: Option<String>,
    /// SMBIOS serial number.
    pub serial: Option<String>,
    /// SMBIOS asset tag.
    pub asset: Option<String>,
    /// What it boots each time.
    pub boot: Option<String>,
    /// What it boots next time, once.
    pub once: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Named values.
    pub values: BTreeMap<String, String>,
}

/// What is wrong with a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    told: Vec<(u64, String)>,
    more: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, text)) in self.told.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}line {line}: {text}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl Faults {
    fn add(&mut self, line: u64, text: impl Into<String>) {
        if self.told.len() < FAULTS_MAX {
            self.told.push((line, text.into()));
        } else {
            self.more += 1;
        }
    }
}

/// Reads a list; every field is checked.
///
/// # Errors
/// [`Faults`], each with its line; then nothing of the list is to be used.
pub fn read(text: &str) -> Result<Vec<Row>, Faults> {
    // The reader counts a line that ends in CR LF too late.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = &*text.replace("\r\n", "\n");
    let mut faults = Faults::default();
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(text))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(header) => columns(line(text, header.position()), header, &mut faults),
        Err(error) => {
            faults.add(1, error.to_string());
            Vec::new()
        }
    };
    if !faults.told.is_empty() {
        return Err(faults);
    }
    let mut seen = Seen::default();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = line(text, error.position());
                faults.add(line, broken(&error));
                continue;
            }
        };
        let line = line(text, record.position());
        if rows.len() == ROWS_MAX {
            faults.add(line, format!("a list may hold {ROWS_MAX} machines"));
            break;
        }
        let row = row(line, &columns, &record, &mut faults);
        seen.add(&row, &mut faults);
        rows.push(row);
    }
    if faults.told.is_empty() {
        Ok(rows)
    } else {
        Err(faults)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Mac,
    Guid,
    Name,
    Serial,
    Asset,
    Boot,
    Once,
    Tags,
    Value(String),
}

/// What is accepted as the name of a column.
const COLUMNS: [(&str, Column); 9] = [
    ("mac", Column::Mac),
    ("guid", Column::Guid),
    ("uuid", Column::Guid),
    ("name", Column::Name),
    ("serial", Column::Serial),
    ("asset", Column::Asset),
    ("boot", Column::Boot),
    ("once", Column::Once),
    ("tags", Column::Tags),
];

fn columns(line: u64, header: &StringRecord, faults: &mut Faults) -> Vec<Column> {
    let mut columns = Vec::new();
    for name in header {
        let lower = name.to_ascii_lowercase();
        let known = COLUMNS.iter().find(|(known, _)| *known == lower);
        let value = name
            .get(..6)
            .filter(|start| start.eq_ignore_ascii_case("value."))
            .and(name.get(6..))
            .filter(|rest| !rest.is_empty());
        let column = match (known, value) {
            (Some((_, column)), _) => column.clone(),
            (None, Some(value)) => Column::Value(value.to_owned()),
            (None, None) => {
                let known: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
                let name = name.escape_debug();
                let known = known.join(", ");
                faults.add(
                    line,
                    format!("`{name}` is no column; there are {known}, value.NAME"),
                );
                continue;
            }
        };
        if columns.contains(&column) {
            faults.add(
                line,
                format!("column `{}` stands twice", name.escape_debug()),
            );
        }
        columns.push(column);
    }
    let identifies = |column: &Column| matches!(column, Column::Mac | Column::Guid);
    if faults.told.is_empty() && !columns.iter().any(identifies) {
        faults.add(line, "a list needs a column `mac` or `guid`");
    }
    columns
}

fn row(line: u64, columns: &[Column], record: &StringRecord, faults: &mut Faults) -> Row {
    let mut row = Row {
        line,
        ..Row::default()
    };
    let mut is_sound = true;
    for (column, field) in columns.iter().zip(record) {
        if field.is_empty() {
            continue;
        }
        if let Err(fault) = fill(&mut row, column, field) {
            faults.add(line, fault);
            is_sound = false;
        }
    }
    if is_sound && row.macs.is_empty() && row.guid.is_none() {
        faults.add(line, "the machine has neither a MAC nor a GUID");
    }
    row
}

fn fill(row: &mut Row, column: &Column, field: &str) -> Result<(), String> {
    let text = || text(field);
    match column {
        Column::Mac => {
            for word in words(field) {
                row.macs
                    .push(word.parse().map_err(|e| format!("mac: {e}"))?);
            }
        }
        Column::Guid => {
            let guid: MachineGuid = field.parse().map_err(|e| format!("guid: {e}"))?;
            if guid.is_blank() {
                return Err(format!("guid: {guid} is what firmware without one sends"));
            }
            row.guid = Some(guid);
        }
        Column::Name => row.name = Some(text()?),
        Column::Serial => row.serial = Some(text()?),
        Column::Asset => row.asset = Some(text()?),
        Column::Boot => row.boot = Some(text()?),
        Column::Once => row.once = Some(text()?),
        Column::Tags => {
            text()?;
            row.tags = words(field).map(str::to_owned).collect();
        }
        Column::Value(name) => {
            row.values.insert(name.clone(), text()?);
        }
    }
    Ok(())
}

fn text(field: &str) -> Result<String, String> {
    if field.len() > TEXT_MAX {
        let start = &field[..field.floor_char_boundary(32)];
        let start = start.escape_debug();
        return Err(format!("`{start}...` is longer than {TEXT_MAX} bytes"));
    }
    if field.contains(char::is_control) {
        let field = field.escape_debug();
        return Err(format!("`{field}` holds a control character"));
    }
    Ok(field.to_owned())
}

/// The reader points to where the last record ended: empty lines follow.
fn line(text: &str, position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| **byte == b'\n').count();
    position.line() + empty as u64
}

/// Several MACs or tags in one field.
fn words(field: &str) -> impl Iterator<Item = &str> {
    field
        .split([' ', ';', ',', '|'])
        .filter(|word| !word.is_empty())
}

/// What the header is separated by.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let semicolons = header.contains(';') && !header.contains(',');
    if semicolons { b';' } else { b',' }
}

fn broken(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} fields where the header has {expected_len}"),
        _ => error.to_string(),
    }
}

/// Where each machine of the list stands.
#[derive(Default)]
struct Seen {
    macs: HashMap<MacAddress, u64>,
    guids: HashMap<MachineGuid, u64>,
    names: HashMap<String, u64>,
}

impl Seen {
    fn add(&mut self, row: &Row, faults: &mut Faults) {
        let line = row.line;
        let mut twice = |what: String, before: Option<u64>| {
            if let Some(before) = before {
                faults.add(line, format!("{what} stands in line {before} already"));
            }
        };
        for mac in &row.macs {
            twice(mac.to_string(), self.macs.insert(*mac, line));
        }
        if let Some(guid) = row.guid {
            twice(guid.to_string(), self.guids.insert(guid, line));
        }
        if let Some(name) = &row.name {
            let shown = format!("the name `{name}`");
            twice(shown, self.names.insert(name.to_lowercase(), line));
        }
    }
}

#[cfg(test)]
mod tests;
