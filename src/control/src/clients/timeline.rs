//! What happened to a machine of late.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_telemetry::event::Reason;

/// One line of a machine's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When; the last time when it repeats.
    pub at: SystemTime,
    /// `asked`, `answered`, `silent`, `leased`, `queued`, `started`, `finished`, `broken`,
    /// `refused`, `script`, `booted`, `said`, `approval`, `client-started`, `network-up`,
    /// `image-applied`, `done` or `failed`.
    pub kind: &'static str,
    /// Reason code.
    pub code: Option<&'static str>,
    /// In words, without control characters.
    pub text: String,
    /// How often in a row.
    pub times: u32,
    /// The file that travels, for `started` and `finished`.
    file: Option<Arc<str>>,
}

/// Steps that a machine's history holds.
pub const STEPS_MAX: usize = 64;

/// The last steps, oldest first; at most [`STEPS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Timeline(VecDeque<Step>);

/// What a machine says by syslog drives out no more of the rest.
const SAID_MAX: usize = 16;

/// How far back a repeated `started` or `finished` is looked for.
const REPEATS_WITHIN: usize = 8;

/// Characters of a file name or a reason that are kept.
const TEXT_MAX: usize = 240;

impl Deref for Timeline {
    type Target = VecDeque<Step>;

    fn deref(&self) -> &VecDeque<Step> {
        &self.0
    }
}

impl Step {
    /// The file that travels, if one does.
    pub(super) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

impl Timeline {
    /// Takes in what happened to the same machine under another name.
    pub(super) fn absorb(&mut self, other: Self) {
        let mut steps: Vec<_> = self.0.drain(..).chain(other.0).collect();
        steps.sort_by_key(|s| s.at);
        self.0 = steps.into();
        let surplus = self.0.len().saturating_sub(STEPS_MAX);
        self.0.drain(..surplus);
    }

    /// Gives how often it happened in a row.
    pub(super) fn remember(&mut self, step: Step) -> u32 {
        if let Some(last) = self.repeated(&step) {
            last.times = last.times.saturating_add(1);
            last.at = step.at;
            last.text = step.text;
            return last.times;
        }
        let said = |step: &Step| step.kind == "said";
        if said(&step) && self.0.iter().filter(|s| said(s)).count() >= SAID_MAX {
            let first = self.0.iter().position(said);
            first.and_then(|at| self.0.remove(at));
        }
        if self.0.len() == STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(step);
        1
    }

    /// The line that this step only repeats. A disk over HTTP is read in thousands of parts, which
    /// must not drive out the rest.
    fn repeated(&mut self, step: &Step) -> Option<&mut Step> {
        let mut latest = self.0.iter_mut().rev();
        let is_same = |s: &Step| (s.kind, s.code) == (step.kind, step.code);
        match &step.file {
            // A place in the queue moves on and on.
            None => latest
                .next()
                .filter(|s| is_same(s) && (s.text == step.text || s.kind == "queued")),
            Some(_) => latest
                .take(REPEATS_WITHIN)
                .take_while(|s| s.file.is_some())
                .find(|s| is_same(s) && s.file == step.file),
        }
    }
}

pub(super) fn step(at: SystemTime, kind: &'static str, text: impl AsRef<str>) -> Step {
    Step {
        at,
        kind,
        code: None,
        text: clean(text.as_ref()),
        times: 1,
        file: None,
    }
}

pub(super) fn about(file: Arc<str>, step: Step) -> Step {
    Step {
        file: Some(file),
        ..step
    }
}

pub(super) fn because(at: SystemTime, kind: &'static str, reason: &Reason) -> Step {
    Step {
        code: Some(reason.code),
        ..step(at, kind, &reason.text)
    }
}

/// What came from the network, fit for logs and terminals.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
