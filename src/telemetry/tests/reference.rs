//! The reference page of the metrics is what a scraper is shown.
#![expect(
    clippy::unwrap_used,
    reason = "a page that cannot be made fails the test"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bootstorm_telemetry::metrics::{Metrics, Place};

#[test]
fn the_reference_page_lists_every_metric() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let wanted = reference(&Metrics::new());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/reference/metrics.md is out of date: UPDATE=1 cargo test -p bootstorm-telemetry"
    );
}

/// The reference page, from what a scraper is shown.
fn reference(metrics: &Metrics) -> String {
    let sample = "test.sample";
    metrics.classifier.total(Place::Xdp, sample, sample, (1, 1));
    metrics.classifier.attached([(sample, sample)]);
    metrics.dhcp.ignored(sample);
    metrics.dhcp.malformed(sample);
    metrics.tftp.refused(sample);
    metrics.http.refused(sample);
    metrics.tls.failed(sample);
    metrics.web.denied(sample);
    metrics.web.clients("asked", 0);
    let text = metrics.encode();
    let mut types = BTreeMap::new();
    let mut labels = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            types.insert(name, kind);
        } else if let Some((name, rest)) = line.split_once('{') {
            let names: Vec<_> = rest
                .split(',')
                .map(|l| format!("`{}`", l.split('=').next().unwrap()))
                .collect();
            labels.insert(name.trim_end_matches("_total"), names.join(", "));
        }
    }
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` of the web service (port 8051), OpenMetrics text; from loopback without \
         a token.\n\
         Labels `reason` and `outcome` hold `ok` or a code of [reasons.md](reasons.md).\n\
         Written by `UPDATE=1 cargo test -p bootstorm-telemetry`; do not edit.\n\n\
         | Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for line in text.lines().filter_map(|l| l.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').unwrap();
        let kind = types[name];
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let none = String::new();
        let labels = labels.get(name).unwrap_or(&none);
        let labels = if kind == "info" { "`version`" } else { labels };
        writeln!(page, "| `{name}{suffix}` | {kind} | {labels} | {help} |").unwrap();
    }
    page
}
