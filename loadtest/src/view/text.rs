//! What a storm came to, on one screen: first what matters.

use super::units::{bits, bytes, count, fit, percent, plural, rate, time};
use crate::report::{Found, Group, Limit, Report};

/// Columns of a line.
const WIDTH: usize = 100;
/// Kinds of failures, and of findings, that are told in full.
const TOLD: usize = 3;

/// For people.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = headline(report);
    text.push('\n');
    let scenario = &report.scenario;
    for (what, words) in [("link", &scenario.link), ("scaled", &scenario.scaled)] {
        if let Some(words) = words {
            text.push_str(&format!("  {what}: {}\n", fit(words, WIDTH)));
        }
    }
    for sentence in &report.beside {
        text.push_str(&format!("  {}\n", fit(sentence, WIDTH)));
    }
    if report.files.count > 0 {
        text.push_str(&fetched(report));
    }
    limits(&mut text, &report.limits);
    let failures: Vec<&Found> = report.failures.iter().collect();
    found(&mut text, "Why machines failed", &failures);
    let (own, wrong): (Vec<_>, Vec<_>) = report.findings.iter().partition(|f| f.of_harness());
    found(&mut text, "What the server did wrong", &wrong);
    found(&mut text, "What this measurement suffered from", &own);
    phases(&mut text, &report.all);
    profiles(&mut text, report);
    text.push('\n');
    text.push_str(&resources(report));
    text
}

/// `cold_storm: 998 of 1,000 machines booted in 38.2 s, 2 failed`.
pub(super) fn headline(report: &Report) -> String {
    let machines = &report.all.machines;
    let mut line = format!(
        "{}: {} of {} booted in {}",
        fit(&report.scenario.name, WIDTH / 2),
        count(machines.booted.into()),
        plural(report.scenario.machines.into(), "machine", "machines"),
        time(report.seconds)
    );
    let unstarted = report.scenario.machines.saturating_sub(machines.started);
    for (number, what) in [
        (machines.local_disk, "went to their own disk"),
        (machines.left, "left as planned"),
        (machines.failed, "FAILED"),
        (machines.under_way, "under way still"),
        (unstarted, "never switched on"),
    ] {
        if number > 0 {
            line.push_str(&format!(", {} {what}", count(number.into())));
        }
    }
    if report.end != crate::report::End::AllThrough {
        line.push_str(&format!(" ({})", report.end.words()));
    }
    line
}

/// `20.0 GB at 523 MB/s (4.19 Gbit/s); 3,000 files, all verified by SHA-256`.
fn fetched(report: &Report) -> String {
    let files = &report.files;
    let proof = match (files.verified, files.unverified) {
        (0, 0) => String::new(),
        (_, 0) => ", all verified by SHA-256".to_owned(),
        (0, _) => ", none verified by SHA-256".to_owned(),
        (some, _) => format!(", {} verified by SHA-256", count(some)),
    };
    format!(
        "  {} at {} ({}); {}{proof}\n",
        bytes(report.all.bytes),
        rate(report.bytes_per_s),
        bits(report.bytes_per_s),
        plural(files.count, "file", "files")
    )
}

fn limits(text: &mut String, limits: &[Limit]) {
    if limits.is_empty() {
        return;
    }
    let broken = limits.iter().filter(|limit| !limit.held).count();
    if broken == 0 {
        let all = plural(limits.len() as u64, "limit holds", "limits hold");
        text.push_str(&format!("  {all}\n"));
        return;
    }
    text.push_str(&format!("\nBROKEN: {broken} of {} limits\n", limits.len()));
    for limit in limits.iter().filter(|limit| !limit.held) {
        text.push_str(&format!(
            "  {}: wanted {}, got {}\n",
            limit.name, limit.wanted, limit.got
        ));
    }
}

fn found(text: &mut String, title: &str, list: &[&Found]) {
    if list.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for found in list.iter().take(TOLD) {
        let code = fit(&found.code, WIDTH / 2);
        text.push_str(&format!("  {code}  {}\n", found.often()));
        let example = &found.example;
        let who = example.mac.as_deref().map(|mac| format!("{mac}: "));
        let seen = format!("{}{}", who.unwrap_or_default(), example.evidence);
        text.push_str(&format!("      {}\n", fit(&seen, WIDTH - 6)));
        for line in wrapped(&found.meaning, WIDTH - 6) {
            text.push_str(&format!("      {line}\n"));
        }
    }
    let rest: Vec<&str> = list[list.len().min(TOLD)..]
        .iter()
        .map(|found| found.code.as_str())
        .collect();
    if !rest.is_empty() {
        let line = format!("and {}", rest.join(", "));
        text.push_str(&format!("  {}\n", fit(&line, WIDTH - 2)));
    }
}

fn phases(text: &mut String, all: &Group) {
    if all.phases.is_empty() {
        return;
    }
    let title = "From the power button to";
    text.push_str(&row(&["", "machines", "p50", "p90", "p99", "max"], title));
    for (phase, times) in &all.phases {
        let cells = [
            count(times.machines.into()),
            time(times.p50),
            time(times.p90),
            time(times.p99),
            time(times.max),
        ];
        let cells: Vec<&str> = std::iter::once("")
            .chain(cells.iter().map(String::as_str))
            .collect();
        text.push_str(&row(&cells, &format!("  {}", phase.name())));
    }
}

fn profiles(text: &mut String, report: &Report) {
    if report.profiles.len() < 2 {
        return;
    }
    let heads = ["", "machines", "booted", "failed", "p50", "p99"];
    text.push_str(&row(&heads, "Profile"));
    for (profile, group) in &report.profiles {
        let booted = group.phases.get(&crate::machine::event::Phase::Booted);
        let times = |pick: fn(&crate::report::Times) -> f64| {
            booted.map_or_else(|| "-".to_owned(), |times| time(pick(times)))
        };
        let cells = [
            count(group.machines.started.into()),
            count(group.machines.booted.into()),
            count(group.machines.failed.into()),
            times(|times| times.p50),
            times(|times| times.p99),
        ];
        let cells: Vec<&str> = std::iter::once("")
            .chain(cells.iter().map(String::as_str))
            .collect();
        text.push_str(&row(&cells, &format!("  {}", profile.name())));
    }
}

/// A row of a table; the head's row has an empty line before it.
fn row(cells: &[&str], first: &str) -> String {
    let head = if first.starts_with(' ') { "" } else { "\n" };
    let mut line = format!("{head}{first:<26}");
    for cell in cells.iter().skip(1) {
        line.push_str(&format!("{cell:>13}"));
    }
    line + "\n"
}

/// The last lines: what it cost, and how even it was.
fn resources(report: &Report) -> String {
    let (resent, cpu) = (&report.resent, &report.cpu);
    let mut text = format!(
        "Resent for want of an answer: DHCP {}, TFTP {}, HTTP {}",
        count(resent.dhcp),
        count(resent.tftp),
        count(resent.http + resent.https)
    );
    if let Some(jain) = report.all.jain {
        text.push_str(&format!("; Jain's index {jain:.3}"));
    }
    let tls = &report.handshakes;
    if tls.full + tls.resumed > 0 {
        text.push_str(&format!(
            "; TLS handshakes {}, resumed {}",
            count(tls.full),
            count(tls.resumed)
        ));
    }
    let per_gb = |seconds: Option<f64>| {
        seconds.map_or_else(String::new, |seconds| format!(" ({seconds:.2} s/GB)"))
    };
    text.push_str(&format!(
        "\nCPU: bootstorm-load {}{}, {} of a core",
        time(cpu.own_s),
        per_gb(cpu.own_s_per_gb),
        percent(cpu.own_share)
    ));
    if let Some(server) = cpu.server_s {
        let per_gb = per_gb(cpu.server_s_per_gb);
        text.push_str(&format!("; server {}{per_gb}", time(server)));
    }
    text + "\n"
}

/// Lines of so many letters at most, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_summary_fits_a_screen_and_begins_with_what_matters() {
        let text = summary(&sample::report(1));
        assert!(text.lines().count() <= 40, "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_a_server_wrote_moves_no_cursor() {
        let mut report = sample::report(1);
        // As a file that somebody else made may have it.
        report.scenario.name = sample::HOSTILE.to_owned();
        report.failures[0].example.evidence = sample::HOSTILE.to_owned();
        assert!(!summary(&report).contains('\u{1b}'));
    }

    #[test]
    fn many_kinds_of_trouble_still_fit() {
        let mut report = sample::report(1);
        report.failures = vec![report.failures[0].clone(); 30];
        report.findings = vec![report.findings[0].clone(); 30];
        let text = summary(&report);
        assert!(text.lines().count() <= 50, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 110),
            "{text}"
        );
        assert!(text.contains("and script.html, script.html"));
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("aa bb  cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("abcdefgh", 4), ["abc…"]);
    }
}
