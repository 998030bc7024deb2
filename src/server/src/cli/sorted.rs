//! What the classifier of the running server did, in words.

use bootstorm_config::Config;
use serde_json::Value;

use super::live;

/// The class of what no boot server has a use for: on most networks nearly everything.
const NOT_PXE: &str = "dhcp-not-pxe";

/// How one machine stands with it, in one line.
pub(super) fn standing_line(standing: &Value) -> String {
    let who = match (&standing["banned"], &standing["known"]) {
        (Value::Bool(true), _) => "banned by classifier.banned",
        (_, Value::Bool(true)) => "known, with a rate of its own (classifier.known)",
        _ => "not known yet, at the rate of such machines (classifier.machine)",
    };
    match standing["refused"].as_u64() {
        None | Some(0) => format!("{who}; no packet was refused"),
        Some(1) => format!("{who}; 1 packet was refused"),
        Some(refused) => format!("{who}; {refused} packets were refused"),
    }
}

/// Each interface with the mode of the classifier and why it is not more.
pub(super) fn modes(classifier: &Value) -> Vec<String> {
    let all = classifier["attachments"].as_array().into_iter().flatten();
    all.map(|attachment| {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let interface = text(&attachment["interface"]);
        let mode = text(&attachment["mode"]);
        let reason = &attachment["reason"];
        match reason["code"].as_str() {
            Some(code) => format!("{interface} {mode} ({} [{code}])", text(&reason["text"])),
            None => format!("{interface} {mode}"),
        }
    })
    .collect()
}

/// How many packets passed, and how many were dropped for what cause.
pub(super) fn totals(classifier: &Value) -> String {
    let mut passed = 0;
    let mut dropped: Vec<(&str, u64)> = Vec::new();
    for count in classifier["counts"].as_array().into_iter().flatten() {
        let packets = count["packets"].as_u64().unwrap_or(0);
        match count["cause"].as_str().unwrap_or("?") {
            "passed" | "passed-known" => passed += packets,
            cause => match dropped.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += packets,
                None => dropped.push((cause, packets)),
            },
        }
    }
    dropped.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    let all: u64 = dropped.iter().map(|(_, packets)| packets).sum();
    let causes: Vec<_> = dropped
        .iter()
        .map(|(cause, n)| format!("{cause} {n}"))
        .collect();
    let causes = if causes.is_empty() {
        String::new()
    } else {
        format!(" ({})", causes.join(", "))
    };
    format!("{passed} packets passed, {all} dropped{causes}")
}

/// What a running server dropped since it was last asked.
#[derive(Debug, Default)]
pub(super) struct News {
    seen: Option<u64>,
}

impl News {
    /// Asks it; a line for each sample that is new. The first answer only tells what is old.
    pub(super) fn ask(&mut self, config: &Config) -> Vec<String> {
        match live::ask(config, "/api/v1/classifier") {
            Ok(Some(classifier)) => self.lines(&classifier),
            // Without a server there is nothing to tell.
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    fn lines(&mut self, classifier: &Value) -> Vec<String> {
        let all = classifier["dropped"].as_array();
        let number = |dropped: &Value| dropped["number"].as_u64().unwrap_or(0);
        let last = all.and_then(|all| all.last()).map_or(0, number);
        let Some(seen) = self.seen.replace(last) else {
            return Vec::new();
        };
        // A server that was started again counts from 1.
        let seen = if last < seen { 0 } else { seen };
        let new = all.into_iter().flatten().filter(|one| number(one) > seen);
        new.filter(|one| one["class"] != NOT_PXE)
            .map(dropped_line)
            .collect()
    }
}

/// A dropped packet, in one line.
pub(super) fn dropped_line(dropped: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let reason = &dropped["reason"];
    format!(
        "{}  {}, {} bytes on {}: {} [{}]",
        dropped["mac"].as_str().unwrap_or("no MAC"),
        text(&dropped["class"]),
        dropped["length"],
        text(&dropped["interface"]),
        text(&reason["text"]),
        text(&reason["code"]),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dropped(number: u64, class: &str) -> Value {
        json!({"number": number, "interface": "eth0", "class": class, "length": 390,
               "mac": "52:54:00:00:00:01",
               "reason": {"code": "classifier.machine-rate", "text": "per-MAC rate"}})
    }

    #[test]
    fn only_what_is_new_and_asks_for_a_boot_is_told() {
        let mut news = News::default();
        let old = json!({"dropped": [dropped(1, "ipxe")]});
        assert_eq!(news.lines(&old), [""; 0]);
        let both =
            json!({"dropped": [dropped(1, "ipxe"), dropped(2, "ipxe"), dropped(3, NOT_PXE)]});
        let line =
            "52:54:00:00:00:01  ipxe, 390 bytes on eth0: per-MAC rate [classifier.machine-rate]";
        assert_eq!(news.lines(&both), [line]);
        assert_eq!(news.lines(&both), [""; 0]);
        let restarted = json!({"dropped": [dropped(1, "ipxe")]});
        assert_eq!(news.lines(&restarted), [line]);
        assert_eq!(news.lines(&json!({"dropped": []})), [""; 0]);
    }

    #[test]
    fn modes_come_with_their_reasons_and_drops_with_their_causes() {
        let classifier = json!({
            "attachments": [
                {"interface": "eth0", "mode": "native", "reason": null},
                {"interface": "wlan0", "mode": "generic",
                 "reason": {"code": "xdp.no-native", "text": "no hook"}}],
            "counts": [
                {"where": "xdp", "class": "ipxe", "cause": "passed", "packets": 7},
                {"where": "user", "class": "ipxe", "cause": "passed-known", "packets": 3},
                {"where": "xdp", "class": "dhcp.short", "cause": "rule", "packets": 2},
                {"where": "xdp", "class": "ipxe", "cause": "machine-rate", "packets": 5},
                {"where": "user", "class": "ipxe", "cause": "machine-rate", "packets": 1}],
        });
        assert_eq!(
            modes(&classifier),
            ["eth0 native", "wlan0 generic (no hook [xdp.no-native])"]
        );
        let expected = "10 packets passed, 8 dropped (machine-rate 6, rule 2)";
        assert_eq!(totals(&classifier), expected);
        assert_eq!(totals(&json!({})), "0 packets passed, 0 dropped");
    }

    #[test]
    fn a_machine_is_told_how_it_stands() {
        let line = |known: bool, banned: bool, refused: u64| {
            standing_line(&json!({"known": known, "banned": banned, "refused": refused}))
        };
        assert!(line(true, false, 0).starts_with("known, with"));
        assert!(line(true, true, 0).starts_with("banned"));
        assert!(line(false, false, 12).ends_with("; 12 packets were refused"));
    }
}
