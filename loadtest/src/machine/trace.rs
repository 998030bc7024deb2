//! The last packets of a machine, for whoever asks why it failed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::query::without_values;

/// Lines that are kept; older ones go.
const LINES_MAX: usize = 48;
/// Bytes of a line.
const LINE_MAX: usize = 160;

/// The last lines of a machine.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    begun: Option<Instant>,
    lines: VecDeque<(Duration, Way, Box<str>)>,
    /// Lines that are gone.
    forgotten: u32,
}

/// Where a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// From the machine.
    Out,
    /// To the machine.
    In,
    /// Something about the machine itself.
    Itself,
}

impl Trace {
    /// Adds a line, without the values of queries; what could move a terminal's cursor is escaped.
    pub(crate) fn note(&mut self, now: Instant, way: Way, text: impl FnOnce() -> String) {
        let begun = *self.begun.get_or_insert(now);
        let text = without_values(&text());
        let mut line: String = text.escape_debug().take(LINE_MAX).collect();
        line.shrink_to_fit();
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        self.lines
            .push_back((now.saturating_duration_since(begun), way, line.into()));
    }

    /// The lines, oldest first: time since the first one, way, text.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Duration, Way, &str)> {
        self.lines
            .iter()
            .map(|(since, way, text)| (*since, *way, &**text))
    }

    /// Lines that came before and are gone.
    pub(crate) const fn forgotten(&self) -> u32 {
        self.forgotten
    }
}
