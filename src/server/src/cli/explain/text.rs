//! Explanations for people: the JSON of docs/reference/decisions.md in words.

use std::io::{self, Write};

use bootstorm_proto::types::ClientArch;
use serde_json::Value;

use super::advice;

/// A label and what stands behind it.
pub(super) type Line = (&'static str, String);

/// Everything of an explanation, in the order in which it counts.
pub(super) fn lines(explanation: &Value) -> Vec<Line> {
    let facts = &explanation["facts"];
    let mut lines = vec![("machine", machine(facts))];
    lines.push(("network", network(facts)));
    lines.extend(identity(&explanation["identity"]));
    lines.push(("policy", policy(&explanation["policy"], facts)));
    lines.extend(providers(&explanation["providers"]));
    lines.extend(reply_lines(&reply(explanation)));
    lines.retain(|(_, text)| !text.is_empty());
    lines
}

/// What the machine is told; a delay that it has waited for is none.
fn reply(explanation: &Value) -> Value {
    let mut reply = explanation["reply"].clone();
    let secs = explanation["facts"]["firmware"]["secs"].as_u64();
    if reply["delay"].as_u64() <= secs {
        reply["delay"] = Value::Null;
    }
    reply
}

/// Prints lines with their labels in a column.
pub(super) fn write(out: &mut impl Write, indent: &str, lines: &[Line]) -> io::Result<()> {
    for (label, text) in lines {
        writeln!(out, "{indent}{label:<10} {}", clean(text))?;
    }
    Ok(())
}

/// What the machine is told, with advice where it is not what people want.
fn reply_lines(reply: &Value) -> Vec<Line> {
    let mut lines = vec![("answer", reply_words(reply))];
    lines.extend(advised(reply["code"].as_str()));
    lines
}

/// What the reference says of a code.
pub(super) fn advised(code: Option<&str>) -> Vec<Line> {
    let Some(advice) = code.and_then(advice::of) else {
        return Vec::new();
    };
    let told = [("  check", advice.check), ("  fix", advice.fix)];
    let told = told.into_iter().filter(|(_, words)| *words != "None");
    told.map(|(label, words)| (label, words.replace('`', "")))
        .collect()
}

/// Who asks and how.
pub(super) fn title(facts: &Value) -> String {
    let arch = facts["firmware"]["arch"][0].as_u64();
    let arch = arch.and_then(|number| u16::try_from(number).ok());
    let arch = arch.map(|number| format!(", {},", ClientArch(number)));
    let who = match facts["firmware"]["asker"].as_str() {
        Some("firmware") => "PXE firmware",
        Some("http-firmware") => "HTTP Boot firmware",
        Some("ipxe") => "iPXE",
        _ => "a machine",
    };
    let how = match facts["stage"].as_str() {
        Some("script") => "asks for its script",
        _ => "asks by DHCP",
    };
    format!("{who}{} {how}", arch.unwrap_or_default())
}

fn machine(facts: &Value) -> String {
    let machine = &facts["machine"];
    let mut words = Vec::new();
    words.extend(text(&machine["mac"]));
    let guid = text(&machine["guid"]).or_else(|| text(&facts["smbios"]["uuid"]));
    words.extend(guid.map(|guid| format!("GUID {guid}")));
    words.extend(text(&machine["name"]).map(|name| format!("`{name}`")));
    let smbios = &facts["smbios"];
    let product = [&smbios["manufacturer"], &smbios["product"]];
    let product: Vec<_> = product.into_iter().filter_map(text).collect();
    if !product.is_empty() {
        words.push(product.join(" "));
    }
    words.extend(text(&smbios["serial"]).map(|serial| format!("serial number {serial}")));
    words.push(if machine["known"] == true {
        "known".to_owned()
    } else {
        "not known".to_owned()
    });
    words.join(", ")
}

fn network(facts: &Value) -> String {
    let network = &facts["network"];
    let named = [
        ("interface", "interface"),
        ("address", "address"),
        ("relay", "through relay"),
        ("circuit_id", "circuit"),
        ("server", "to our address"),
    ];
    let words = named.into_iter().filter_map(|(name, words)| {
        let value = text(&network[name])?;
        Some(format!("{words} {value}"))
    });
    words.collect::<Vec<_>>().join(", ")
}

fn identity(identity: &Value) -> Vec<Line> {
    let by = match identity["by"].as_str() {
        Some("guid") => "its GUID tells which machine it is",
        Some("mac") => "its MAC address tells which machine it is",
        _ => "nothing tells which machine it is",
    };
    let mut lines = vec![("identity", by.to_owned())];
    let stripped = identity["stripped"].as_array().into_iter().flatten();
    lines.extend(stripped.map(|why| ("", format!("does not count: {}", words(why)))));
    lines
}

fn policy(policy: &Value, facts: &Value) -> String {
    let mut line = match policy["answer"].as_str() {
        Some("all") => "every machine is answered",
        Some("known") => "only machines that are known are answered",
        Some("none") => "nobody is answered",
        _ => return String::new(),
    }
    .to_owned();
    let delay = policy["delay"].as_u64().unwrap_or(0);
    if delay > 0 && facts["stage"] == "dhcp" {
        line.push_str(&format!(
            ", one that is not known after {delay} s; this one has been asking for {} s",
            facts["firmware"]["secs"]
        ));
    }
    if let Some(place) = policy["where"].as_object() {
        let from = place.iter().find(|(name, _)| *name != "index");
        let from = from.map(|(name, value)| {
            let value = value.as_str().unwrap_or_default();
            format!(": {name} = \"{value}\"")
        });
        line.push_str(&format!(
            " (policy.where[{}]{})",
            policy["where"]["index"],
            from.unwrap_or_default()
        ));
    }
    line
}

fn providers(providers: &Value) -> Vec<Line> {
    let all: Vec<&Value> = providers.as_array().into_iter().flatten().collect();
    let name = |part: &Value| clean(part["provider"].as_str().unwrap_or("?"));
    let width = all.iter().map(|part| name(part).chars().count()).max();
    let width = width.unwrap_or_default();
    if all.is_empty() {
        return Vec::new();
    }
    if all.iter().all(|part| part["answer"] == "not-reached") {
        return vec![("providers", "none asked".to_owned())];
    }
    let line = |(at, part): (usize, &&Value)| {
        let label = if at == 0 { "providers" } else { "" };
        let said = said(part);
        let line = format!("{:width$}  {said}", name(part));
        (label, line.trim_end().to_owned())
    };
    all.iter().enumerate().map(line).collect()
}

fn said(part: &Value) -> String {
    let took = match part["took_ms"].as_u64() {
        None | Some(0) => String::new(),
        Some(took) => format!(", after {took} ms"),
    };
    match part["answer"].as_str() {
        Some("serve") => {
            let [boot, by] = ["boot", "by"].map(|name| part[name].as_str().unwrap_or("?"));
            format!("serve    {boot}, by {by}{took}")
        }
        Some("not-reached") => "-        not reached".to_owned(),
        Some("unanswered") => "?        not asked".to_owned(),
        Some(answer) => {
            let words = words(part);
            let name = format!("{}: ", part["provider"].as_str().unwrap_or_default());
            let words = words.strip_prefix(&name).unwrap_or(&words);
            format!("{answer:<7}  {words}{took}")
        }
        None => String::new(),
    }
}

/// What the machine is told, in one line.
pub(super) fn reply_words(reply: &Value) -> String {
    let of = |name: &str| reply[name].as_str().unwrap_or("?").to_owned();
    let because = || match reply["text"].as_str() {
        Some(_) => format!(": {}", words(reply)),
        None => String::new(),
    };
    let line = match reply["does"].as_str() {
        Some("boot") => boot_words(reply),
        Some("silence") => format!("NOT ANSWERED{}", because()),
        Some("later") => "nothing until a provider has answered".to_owned(),
        Some("menu") => menu_words(reply),
        Some("script") => format!("the template {}", of("boots")),
        Some("local") => format!("its next boot device{}", because()),
        Some("wait") => {
            let request = text(&reply["request"]);
            let request = request.map(|code| format!(" (request {code})"));
            let every = reply["retry"].as_u64().unwrap_or_default();
            format!(
                "IT WAITS and asks again every {every} s{}{}",
                request.unwrap_or_default(),
                because()
            )
        }
        Some("referral") => {
            let to = text(&reply["url"]).or_else(|| text(&reply["server"]));
            format!("another server: {}", to.unwrap_or_default())
        }
        Some("refuse") => format!("REFUSED{}", because()),
        _ => return String::new(),
    };
    match reply["asks"].as_str() {
        Some("opt-in") => format!("{line}; only if somebody presses a key"),
        Some("opt-out") => format!("{line}; unless somebody presses a key"),
        _ => line,
    }
}

fn boot_words(reply: &Value) -> String {
    let mut line = format!("boots {}", reply["boots"].as_str().unwrap_or("?"));
    if let Some(file) = reply["file"].as_str() {
        line.push_str(&format!(" ({file})"));
    }
    if let Some(server) = reply["server"].as_str() {
        line.push_str(&format!(" from {server}"));
    }
    match reply["delay"].as_u64() {
        None | Some(0) => {}
        Some(delay) => line.push_str(&format!(", offered once it has asked for {delay} s")),
    }
    line
}

fn menu_words(reply: &Value) -> String {
    let menu = match reply["menu"].as_str() {
        Some(name) => format!("the menu `{name}`"),
        None => "the menu".to_owned(),
    };
    let of = reply["of"].as_u64().unwrap_or_default();
    let entries = if of == 1 { "entry" } else { "entries" };
    let ends = match (reply["default"].as_str(), reply["timeout"].as_u64()) {
        (_, Some(0)) | (None, _) | (_, None) => String::new(),
        (Some("local"), Some(after)) => format!(", after {after} s its local disk"),
        (Some(default), Some(after)) => format!(", after {after} s {default}"),
    };
    let notice = reply["text"]
        .as_str()
        .map(|_| format!("; {}", words(reply)));
    format!(
        "{menu} of {of} {entries}{ends}{}",
        notice.unwrap_or_default()
    )
}

/// A reason.
pub(super) fn words(reason: &Value) -> String {
    let text = reason["text"].as_str().unwrap_or_default();
    match reason["code"].as_str() {
        Some(code) => format!("{text} [{code}]"),
        None => text.to_owned(),
    }
}

/// A time of the API without parts of a second.
pub(super) fn time(time: &Value) -> String {
    let time = time.as_str().unwrap_or_default();
    let seconds = time.split(['.', 'Z']).next().unwrap_or_default();
    seconds.replace('T', " ")
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Whatever a machine or a program wrote, a terminal shows it and obeys none of it.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replies_are_told_in_words() {
        for (reply, told) in [
            (
                json!({"does": "boot", "boots": "snponly.efi", "server": null, "delay": 4}),
                "boots snponly.efi, offered once it has asked for 4 s",
            ),
            (
                json!({"does": "silence", "code": "policy.none", "text": "nobody is answered"}),
                "NOT ANSWERED: nobody is answered [policy.none]",
            ),
            (
                json!({"does": "menu", "of": 1, "default": "local", "timeout": 10}),
                "the menu of 1 entry, after 10 s its local disk",
            ),
            (
                json!({"does": "wait", "retry": 10, "request": "7F3K", "code": "a.b", "text": "Wait."}),
                "IT WAITS and asks again every 10 s (request 7F3K): Wait. [a.b]",
            ),
            (
                json!({"does": "boot", "boots": "debian", "file": "debian/vmlinuz", "asks": "opt-in"}),
                "boots debian (debian/vmlinuz); only if somebody presses a key",
            ),
            (json!({"does": "local"}), "its next boot device"),
            (json!({}), ""),
        ] {
            assert_eq!(reply_words(&reply), told);
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_of_what_a_machine_wrote() {
        let facts = json!({"smbios": {"product": "X\u{1b}[2J\u{9b}1m\nfake line"}});
        let mut out = Vec::new();
        write(&mut out, "", &lines(&json!({ "facts": facts }))).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("X[2J1mfake line, not known\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
