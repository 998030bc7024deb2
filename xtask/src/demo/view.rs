//! The storm in the terminal: a bar for each phase, rates, the real machine on a line of its own.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;

const BAR: usize = 40;

/// In the order of a boot; what the server calls otherwise comes behind.
const PHASES: [&str; 8] = [
    "asked", "offered", "nbp", "script", "loading", "booted", "silent", "failed",
];

/// Draws in place on a terminal, else a plain line each second.
pub(crate) struct View {
    mac: &'static str,
    machines: u32,
    terminal: bool,
    drawn: usize,
    frames: u32,
    last: Option<(Duration, u64)>,
    rate: f64,
    peak: f64,
}

impl View {
    pub(crate) fn new(mac: &'static str, machines: u32) -> Self {
        Self {
            mac,
            machines: machines + 1,
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            frames: 0,
            last: None,
            rate: 0.0,
            peak: 0.0,
        }
    }

    /// Shows what the API says of its clients.
    pub(crate) fn draw(&mut self, page: &Value, elapsed: Duration, marker: Option<Duration>) {
        let clients = page["clients"].as_array().cloned().unwrap_or_default();
        let mut phases: BTreeMap<(usize, String), u32> = BTreeMap::new();
        let mut bytes = 0;
        for client in &clients {
            let phase = text(client, "phase");
            let place = PHASES.iter().position(|known| *known == phase);
            *phases
                .entry((place.unwrap_or(PHASES.len()), phase))
                .or_default() += 1;
            bytes += client["bytes"].as_u64().unwrap_or_default();
        }
        self.measure(elapsed, bytes);
        let real = clients.iter().find(|client| client["mac"] == self.mac);
        let real = match (marker, real) {
            (Some(after), _) => format!("booted, marker after {:.1} s", after.as_secs_f64()),
            (None, Some(client)) => {
                format!(
                    "{}, {} MB",
                    text(client, "phase"),
                    megabytes(&client["bytes"])
                )
            }
            (None, None) => "firmware is starting".to_owned(),
        };
        if self.terminal {
            self.draw_bars(elapsed, &phases, bytes, &real);
        } else if self.frames.is_multiple_of(2) {
            let phases: Vec<String> = phases
                .iter()
                .map(|((_, phase), count)| format!("{phase} {count}"))
                .collect();
            println!(
                "{:6.1} s  {}  {:.0} MB/s  real machine: {real}",
                elapsed.as_secs_f64(),
                phases.join(", "),
                self.rate
            );
        }
        self.frames += 1;
    }

    /// Leaves the last picture standing.
    pub(crate) fn finish(&self) {
        println!("peak rate {:.0} MB/s", self.peak);
    }

    fn measure(&mut self, elapsed: Duration, bytes: u64) {
        if let Some((before, then)) = self.last {
            let seconds = elapsed.saturating_sub(before).as_secs_f64().max(0.001);
            self.rate = bytes.saturating_sub(then) as f64 / seconds / 1e6;
            self.peak = self.peak.max(self.rate);
        }
        self.last = Some((elapsed, bytes));
    }

    fn draw_bars(
        &mut self,
        elapsed: Duration,
        phases: &BTreeMap<(usize, String), u32>,
        bytes: u64,
        real: &str,
    ) {
        let mut lines = vec![format!(
            "{:5.1} s   {} of {} machines seen   {:.0} MB sent   {:.0} MB/s",
            elapsed.as_secs_f64(),
            phases.values().sum::<u32>(),
            self.machines,
            bytes as f64 / 1e6,
            self.rate
        )];
        for ((_, phase), count) in phases {
            let share = (*count as usize * BAR)
                .div_ceil(self.machines as usize)
                .min(BAR);
            let (full, empty) = ("█".repeat(share), "·".repeat(BAR - share));
            lines.push(format!("  {phase:<10} {full}{empty} {count:>4}"));
        }
        lines.push(format!("  real UEFI machine: {real}"));
        let mut out = std::io::stdout().lock();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = lines.len();
        let _ = writeln!(out, "{}", lines.join("\n"));
        let _ = out.flush();
    }
}

fn text(client: &Value, key: &str) -> String {
    client[key].as_str().unwrap_or("?").to_owned()
}

fn megabytes(bytes: &Value) -> u64 {
    bytes.as_u64().unwrap_or_default() / 1_000_000
}
