//! Everything that is known of a machine, for programs that run in its Windows PE:
//! docs/reference/winpe.md lists it.

use std::fmt::Write as _;

use bootstorm_catalog::{Entry, Startup};
use serde_json::{Value, json};

use super::Origin;

/// As one JSON object.
pub(super) fn json(entry: &Entry, startup: &Startup, known: &Value, origin: &Origin<'_>) -> String {
    let mut all = parameters(entry, known, origin);
    all["wpeinit"] = startup.client.into();
    all["unattend"] = startup.unattend.as_deref().into();
    all["start"] = startup.start.as_slice().into();
    let mut text = format!("{all:#}");
    text.push('\n');
    text
}

/// As sections of `name=value`: what stands in objects within objects has names with dots, lists are
/// written with commas, and what is not known is left out.
pub(super) fn ini(entry: &Entry, known: &Value, origin: &Origin<'_>) -> String {
    let mut all = parameters(entry, known, origin);
    let mut text = String::new();
    let parts = [
        ("values", all["values"].take()),
        ("facts", all["facts"].take()),
    ];
    section(&mut text, "bootstorm", &all);
    for (name, part) in &parts {
        section(&mut text, name, part);
    }
    text
}

fn parameters(entry: &Entry, known: &Value, origin: &Origin<'_>) -> Value {
    let mut facts = known.clone();
    let values = facts["values"].take();
    if let Some(facts) = facts.as_object_mut() {
        facts.remove("values");
    }
    let urls = origin.urls;
    json!({
        "version": 1,
        "server": urls.secure_base().unwrap_or(urls.base()),
        "token": urls.token(),
        "mac": known["machine"]["mac"],
        "uuid": known["machine"]["guid"],
        "entry": entry.id,
        "ca": (!origin.ca.is_empty()).then_some(origin.ca),
        "values": values,
        "facts": facts,
        "time": origin.time,
    })
}

fn section(text: &mut String, name: &str, of: &Value) {
    let _ = write!(text, "[{name}]\r\n");
    lines(text, "", of);
    text.push_str("\r\n");
}

fn lines(text: &mut String, before: &str, of: &Value) {
    let Some(map) = of.as_object() else { return };
    for (name, value) in map {
        let name = format!("{before}{}", key(name));
        if value.is_object() {
            lines(text, &format!("{name}."), value);
        } else if let Some(value) = shown(value) {
            let _ = write!(text, "{name}={value}\r\n");
        }
    }
}

/// One line, whatever is in it; the PEM of a certificate is in the JSON alone.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) if text.starts_with("-----BEGIN") => None,
        Value::String(text) => Some(one_line(text)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().filter_map(shown).collect();
            Some(items.join(","))
        }
    }
}

fn key(name: &str) -> String {
    let plain = |c: char| !c.is_control() && !"=[];#".contains(c);
    name.chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}

fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
