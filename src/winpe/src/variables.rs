//! What programs are told: environment variables, and a script that sets them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::Instructions;

/// Every variable begins so.
const PREFIX: &str = "BOOTSTORM_";

/// Characters of a value; Windows has room for 32,767.
const VALUE_MAX: usize = 8192;

/// Names and values, in the order of the names: `BOOTSTORM_SERVER`, `_MAC`, `_UUID` and `_ENTRY`, a
/// `BOOTSTORM_NAME` for each value, a `BOOTSTORM_FACT_NAME` for each fact. A name is in capitals,
/// with `_` for what is neither letter nor digit, and between the names of objects within objects;
/// what is null has no variable.
///
/// Facts come from firmware that anybody may have written: what means something to `cmd.exe` is `_`
/// in them, so that a line that uses one does what it says.
#[must_use]
pub fn variables(instructions: &Instructions) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let scheme = if instructions.server.secure {
        "https"
    } else {
        "http"
    };
    for (name, value) in &instructions.facts {
        each(&format!("FACT_{name}"), value, &mut |name, text| {
            put(&mut variables, name, &harmless(text));
        });
    }
    for (name, value) in &instructions.values {
        each(name, value, &mut |name, text| {
            put(&mut variables, name, text)
        });
    }
    // These last: no value takes their place.
    let server = format!("{scheme}://{}", instructions.server.authority());
    put(&mut variables, "SERVER", &server);
    put(&mut variables, "MAC", &instructions.mac);
    put(&mut variables, "ENTRY", &instructions.entry);
    let uuid = instructions.uuid.as_deref().unwrap_or_default();
    put(&mut variables, "UUID", uuid);
    variables
}

/// A script for `cmd.exe` that sets the same variables: `call bootstorm-variables.cmd`. What such a
/// script cannot hold is named in a remark.
#[must_use]
pub fn script(variables: &BTreeMap<String, String>) -> String {
    let mut script = String::new();
    for (name, value) in variables {
        let fits = value.chars().all(|c| matches!(c, ' '..='~') && c != '"');
        // Writing to a string does not fail.
        let _ = if fits {
            let value = value.replace('%', "%%");
            write!(script, "@set \"{name}={value}\"\r\n")
        } else {
            write!(
                script,
                "@rem {name} has characters that a script cannot hold\r\n"
            )
        };
    }
    script
}

fn put(variables: &mut BTreeMap<String, String>, name: &str, value: &str) {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let value: String = value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(VALUE_MAX)
        .collect();
    variables.insert(format!("{PREFIX}{name}"), value);
}

/// Names and texts of a value: what stands in objects has the names of both, lists have commas.
fn each(name: &str, value: &Value, take: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Null => {}
        Value::Object(inner) => {
            for (its, value) in inner {
                each(&format!("{name}_{its}"), value, take);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            take(name, &items.join(","));
        }
        other => take(name, &text(other)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn harmless(text: &str) -> String {
    let is_meant = |c: char| "\"&|<>^%!()".contains(c);
    text.chars()
        .map(|c| if is_meant(c) { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_facts_become_variables() {
        let json = r#"{"version":1,"server":"http://10.0.0.1:8080","mac":"52:54:00:00:00:01",
            "entry":"winpe","values":{"role":"100% desk","seat no":7,"server":"http://evil",
            "said":"a \"b\"","name":"Müller"},
            "facts":{"smbios":{"serial":"A\" & format c: & %x%\n","asset":null},"arch":[7,9]}}"#;
        let variables = variables(&Instructions::parse(json.as_bytes()).unwrap());
        let listed: Vec<String> = variables.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            listed,
            [
                "BOOTSTORM_ENTRY=winpe",
                "BOOTSTORM_FACT_ARCH=7,9",
                "BOOTSTORM_FACT_SMBIOS_SERIAL=A_ _ format c: _ _x_ ",
                "BOOTSTORM_MAC=52:54:00:00:00:01",
                "BOOTSTORM_NAME=Müller",
                "BOOTSTORM_ROLE=100% desk",
                "BOOTSTORM_SAID=a \"b\"",
                "BOOTSTORM_SEAT_NO=7",
                "BOOTSTORM_SERVER=http://10.0.0.1:8080",
                "BOOTSTORM_UUID=",
            ]
        );
        let script = script(&variables);
        assert!(
            script.contains("@set \"BOOTSTORM_ROLE=100%% desk\"\r\n"),
            "{script}"
        );
        assert!(script.contains("@rem BOOTSTORM_SAID "), "{script}");
        assert!(script.contains("@rem BOOTSTORM_NAME "), "{script}");
        assert!(script.lines().all(|line| line.starts_with('@')), "{script}");
    }
}
