//! What the live view draws.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

use super::super::pace::Rates;
use super::super::units::{bits, count, fit, percent, rate, time};
use crate::finding::Code;
use crate::machine::event::Phase;
use crate::report::Snapshot;

/// Below this many columns, what stands side by side stands one below the other.
const WIDE: u16 = 72;

/// Columns of a phase's name, and of the number behind its bar.
const NAME: usize = 13;
const NUMBER: usize = 8;

const DIM: Style = Style::new().fg(Color::DarkGray);
const BAD: Style = Style::new().fg(Color::Red);
const GOOD: Style = Style::new().fg(Color::Green);

/// Draws a storm on the whole frame.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    snapshot: &Snapshot,
    rates: &Rates,
    history: &VecDeque<u64>,
) {
    let phases = Phase::ALL.len() as u16 + 2;
    let wide = frame.area().width >= WIDE;
    let upper = if wide { phases } else { phases + 7 };
    let [head, upper, middle, log, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(upper),
        Constraint::Length(5),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(snapshot), head);
    let [left, right] = if wide {
        Layout::horizontal([Constraint::Percentage(50); 2]).areas(upper)
    } else {
        Layout::vertical([Constraint::Length(phases), Constraint::Length(7)]).areas(upper)
    };
    reached(frame, snapshot, left);
    speed(frame, snapshot, rates, history, right);
    reasons(
        frame,
        "Why machines failed",
        &snapshot.failures,
        BAD,
        middle,
    );
    latest(frame, snapshot, log);
    let keys = "q or Ctrl-C ends the storm and reports what was until then";
    frame.render_widget(Line::styled(keys, DIM), foot);
}

fn heading(snapshot: &Snapshot) -> Paragraph<'static> {
    let machines = &snapshot.machines;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let title = Line::from(vec![
        Span::styled(fit(&snapshot.name, 40), bold),
        Span::raw(format!("  {}", time(snapshot.elapsed))),
    ]);
    let mut parts = vec![Span::raw(format!(
        "{} of {} on",
        count(machines.started.into()),
        count(snapshot.total.into())
    ))];
    for (number, what, style) in [
        (machines.booted, "booted", GOOD),
        (machines.local_disk, "to their own disk", GOOD),
        (machines.left, "left", Style::new()),
        (machines.under_way, "under way", Style::new()),
        (machines.failed, "failed", BAD),
    ] {
        if number > 0 || what == "booted" {
            let text = format!(", {} {what}", count(number.into()));
            parts.push(Span::styled(text, style));
        }
    }
    Paragraph::new(vec![title, Line::from(parts)])
}

/// A bar for each phase: the share of all machines that got so far.
fn reached(frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
    let room = usize::from(area.width).saturating_sub(NAME + NUMBER + 3);
    let lines = Phase::ALL.into_iter().map(|phase| {
        let number = snapshot.reached.get(&phase).copied().unwrap_or(0);
        let share = f64::from(number) / f64::from(snapshot.total.max(1));
        let full = ((room as f64 * share.min(1.0)) as usize).max(usize::from(number > 0));
        let full = full.min(room);
        Line::from(vec![
            Span::raw(format!("{:<NAME$}", phase.name())),
            Span::styled("█".repeat(full), GOOD),
            Span::styled("·".repeat(room - full), DIM),
            Span::raw(format!(" {:>NUMBER$}", count(number.into()))),
        ])
    });
    let block = Block::bordered().title("Machines that reached");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn speed(
    frame: &mut Frame<'_>,
    snapshot: &Snapshot,
    rates: &Rates,
    history: &VecDeque<u64>,
    area: Rect,
) {
    let title = format!("{} ({})", rate(rates.bytes), bits(rates.bytes));
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [chart, text] = Layout::vertical([Constraint::Min(1), Constraint::Length(4)]).areas(inner);
    let shown = history.len().saturating_sub(usize::from(chart.width));
    let data = history.iter().skip(shown).copied();
    let line = Sparkline::default()
        .data(data)
        .style(Style::new().fg(Color::Cyan));
    frame.render_widget(line, chart);
    let mut parts = Vec::new();
    for (name, bytes) in [
        ("TFTP", rates.tftp),
        ("HTTP", rates.http),
        ("HTTPS", rates.https),
    ] {
        if bytes > 0.0 {
            parts.push(format!("{name} {}", rate(bytes)));
        }
    }
    let (resent, tls) = (&snapshot.resent, &snapshot.handshakes);
    let server = rates
        .server
        .map(|share| format!(", server {}", percent(share)));
    let lines = [
        parts.join(", "),
        format!(
            "resent: DHCP {}, TFTP {}, HTTP {}",
            count(resent.dhcp),
            count(resent.tftp),
            count(resent.http + resent.https)
        ),
        format!(
            "TLS handshakes {}, resumed {}",
            count(tls.full),
            count(tls.resumed)
        ),
        format!(
            "CPU: bootstorm-load {}{}",
            percent(rates.own),
            server.unwrap_or_default()
        ),
    ];
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines), text);
}

fn reasons(
    frame: &mut Frame<'_>,
    title: &'static str,
    counts: &[(Code, u64)],
    style: Style,
    area: Rect,
) {
    let lines: Vec<Line<'_>> = counts
        .iter()
        .map(|(code, number)| {
            Line::from(vec![
                Span::styled(format!("{:>NUMBER$} ", count(*number)), style),
                Span::raw(code.name()),
                Span::styled(format!("  {}", code.meaning()), DIM),
            ])
        })
        .collect();
    let empty = vec![Line::styled(" none has", DIM)];
    let lines = if lines.is_empty() { empty } else { lines };
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn latest(frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
    let room = usize::from(area.height.saturating_sub(2));
    let shown = snapshot.latest.len().saturating_sub(room);
    let lines = snapshot.latest.iter().skip(shown).map(|latest| {
        let (what, style) = if latest.failure {
            ("failed", BAD)
        } else {
            ("found", Style::new().fg(Color::Yellow))
        };
        let times = match latest.times {
            1 => String::new(),
            times => format!(" ×{}", count(times)),
        };
        Line::from(vec![
            Span::styled(format!("{:>8} ", time(latest.at)), DIM),
            Span::styled(format!("{what} {}{times}", latest.code), style),
            Span::raw(format!(
                "  {} {}",
                latest.mac,
                fit(&latest.evidence, usize::from(area.width))
            )),
        ])
    });
    let findings: u64 = snapshot.findings.iter().map(|(_, number)| number).sum();
    let block =
        Block::bordered().title(format!("{} findings, the last kinds last", count(findings)));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, snapshot: &Snapshot) -> String {
        let rates = Rates {
            bytes: 523e6,
            http: 500e6,
            https: 23e6,
            own: 0.41,
            server: Some(0.93),
            ..Rates::default()
        };
        let history: VecDeque<u64> = (0..300_u64).map(|second| second * 1_000_000).collect();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, snapshot, &rates, &history))
            .unwrap();
        terminal.backend().to_string()
    }

    fn snapshot() -> Snapshot {
        let played = sample::played(1);
        played
            .books
            .snapshot(played.begun + std::time::Duration::from_secs(5))
    }

    #[test]
    fn a_storm_fits_a_usual_terminal() {
        insta::assert_snapshot!(drawn(90, 26, &snapshot()));
    }

    #[test]
    fn no_terminal_is_too_small_or_too_large() {
        for (width, height) in [(1, 1), (20, 5), (71, 40), (300, 100)] {
            let text = drawn(width, height, &snapshot());
            assert!(!text.contains('\u{1b}'));
        }
        drawn(80, 24, &Snapshot::default());
    }

    #[test]
    fn narrow_terminals_show_the_same_below_one_another() {
        let text = drawn(50, 40, &snapshot());
        for part in ["booted", "523 MB/s", "Why machines failed", "script.html"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
