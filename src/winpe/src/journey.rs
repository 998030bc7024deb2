//! What the client does, in which order, and what it does when something fails.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Instructions, Milestone};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start networking with `wpeinit`.
    Network,
    /// Put the boot server's CA among the machine's own.
    Trust,
    /// Tell the server how far this machine is.
    Report {
        /// How far.
        milestone: Milestone,
        /// In words.
        text: String,
    },
    /// Fetch the instructions as they are at this moment.
    Fetch,
    /// Wait, then ask for the next step.
    Wait(Duration),
    /// Write down the instructions and the variables.
    Keep,
    /// Run a command line to its end.
    Start(String),
    /// That was all.
    End(End),
}

/// How a step went.
#[derive(Debug)]
pub enum Outcome {
    /// Well.
    Done,
    /// Well, and gave these.
    Fetched(Box<Instructions>),
    /// The command line ended with this code.
    Exited(i32),
    /// Not well.
    Failed(Trouble),
}

/// What keeps a step from being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may go better in a moment.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// Somebody at the machine pressed Ctrl-C.
    Stopped,
}

/// How the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was done.
    Done,
    /// A program failed.
    Program,
    /// The server cannot be reached or refuses.
    Server,
    /// Ctrl-C.
    Stopped,
}

/// The way from the start of the client to its end. It is asked for the [`step`](Self::step), and
/// told how that [`went`](Self::went).
#[derive(Debug)]
pub struct Journey {
    step: Step,
    /// What follows a pause.
    after: Step,
    /// It is one report and nothing else.
    is_single: bool,
    trusts: bool,
    patience: Duration,
    programs: VecDeque<String>,
    /// What the reports of the start have to tell besides.
    remarks: Vec<String>,
    /// How it ends once the last report is delivered.
    end: End,
    /// When the step that is being repeated was first tried, and how often it was.
    since: Option<Duration>,
    tries: u32,
}

/// What is waited for at first may come up late; after that the server is there or is not.
const LATER_PATIENCE: Duration = Duration::from_secs(60);

/// Seconds between tries; the last one stays.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 15];

/// Besides 0: done, and wants a restart (`ERROR_SUCCESS_REBOOT_REQUIRED`).
const RESTART_WANTED: i32 = 3010;

impl Journey {
    /// The whole way.
    #[must_use]
    pub fn new(instructions: &Instructions) -> Self {
        let first = if instructions.wpeinit {
            Step::Network
        } else {
            Step::Trust
        };
        let mut journey = Self::from(first, instructions);
        journey.programs = instructions.start.iter().cloned().collect();
        journey
    }

    /// One report and nothing else.
    #[must_use]
    pub fn report(milestone: Milestone, text: String, instructions: &Instructions) -> Self {
        Self {
            is_single: true,
            ..Self::from(report(milestone, text), instructions)
        }
    }

    fn from(step: Step, instructions: &Instructions) -> Self {
        let is_trusting = instructions.ca.is_some();
        let step = match step {
            Step::Trust if !is_trusting => started(&[]),
            step => step,
        };
        Self {
            after: step.clone(),
            step,
            is_single: false,
            trusts: is_trusting,
            patience: instructions.patience(),
            programs: VecDeque::new(),
            remarks: Vec::new(),
            end: End::Done,
            since: None,
            tries: 0,
        }
    }

    /// What is to be done.
    #[must_use]
    pub const fn step(&self) -> &Step {
        &self.step
    }

    /// Takes in how the step went, at this time since the client's start.
    pub fn went(&mut self, outcome: Outcome, now: Duration) {
        if let Outcome::Failed(Trouble::Stopped) = outcome {
            self.stop();
            return;
        }
        let step = std::mem::replace(&mut self.step, Step::End(self.end));
        if let Outcome::Failed(Trouble::Passing(_)) = &outcome
            && let Some(pause) = self.pause(&step, now)
        {
            self.after = step;
            self.step = Step::Wait(pause);
            return;
        }
        let next = self.next(step, outcome);
        if !matches!(next, Step::Wait(_)) && !self.is_again(&next) {
            (self.since, self.tries) = (None, 0);
        }
        self.step = next;
    }

    /// A step that is done again after a pause is still the same.
    fn is_again(&self, next: &Step) -> bool {
        self.tries > 0 && *next == self.after
    }

    fn next(&mut self, step: Step, outcome: Outcome) -> Step {
        let failed = match &outcome {
            Outcome::Failed(Trouble::Passing(why) | Trouble::Lasting(why)) => Some(why.clone()),
            _ => None,
        };
        match (step, failed) {
            (Step::Wait(_), _) => self.after.clone(),
            (Step::Network, failed) => {
                self.remarks.extend(failed);
                if self.trusts {
                    Step::Trust
                } else {
                    started(&self.remarks)
                }
            }
            (Step::Trust, failed) => {
                self.remarks.extend(failed);
                started(&self.remarks)
            }
            (Step::Report { milestone, .. }, None) => self.reported(milestone),
            (Step::Report { .. }, Some(_)) => Step::End(match self.end {
                End::Done => End::Server,
                end => end,
            }),
            (Step::Fetch, _) => {
                if let Outcome::Fetched(fresh) = outcome {
                    self.programs = fresh.start.into();
                }
                Step::Keep
            }
            (Step::Keep, Some(why)) => self.fail(why),
            (Step::Keep, None) => match self.programs.pop_front() {
                Some(program) => Step::Start(program),
                // Whoever started the client goes on, and reports when that is done.
                None => Step::End(End::Done),
            },
            (Step::Start(line), failed) => match (failed, &outcome) {
                (Some(why), _) => self.fail(format!("{line} cannot be started: {why}")),
                (None, Outcome::Exited(code)) if ![0, RESTART_WANTED].contains(code) => {
                    self.fail(format!("{line} ended with exit code {code}"))
                }
                (None, _) => match self.programs.pop_front() {
                    Some(program) => Step::Start(program),
                    None => report(Milestone::Done, String::new()),
                },
            },
            (end @ Step::End(_), _) => end,
        }
    }

    fn reported(&self, milestone: Milestone) -> Step {
        match milestone {
            Milestone::ClientStarted if !self.is_single => {
                report(Milestone::NetworkUp, String::new())
            }
            Milestone::NetworkUp if !self.is_single => Step::Fetch,
            _ => Step::End(self.end),
        }
    }

    fn fail(&mut self, text: String) -> Step {
        self.end = End::Program;
        report(Milestone::Failed, text)
    }

    /// One more report, if nothing keeps that from being sent.
    fn stop(&mut self) {
        let is_stopped = self.end == End::Stopped;
        self.end = End::Stopped;
        self.step = if is_stopped {
            Step::End(End::Stopped)
        } else {
            let text = "stopped by Ctrl-C at the machine".to_owned();
            report(Milestone::Failed, text)
        };
    }

    /// How long to wait before the step is tried once more, if it is.
    fn pause(&mut self, step: &Step, now: Duration) -> Option<Duration> {
        let patience = match step {
            Step::Report { .. } | Step::Fetch if self.end == End::Stopped => return None,
            Step::Report { milestone, .. } if *milestone == Milestone::ClientStarted => {
                self.patience
            }
            Step::Report { .. } | Step::Fetch => self.patience.min(LATER_PATIENCE),
            _ => return None,
        };
        let since = *self.since.get_or_insert(now);
        let left = (since + patience)
            .checked_sub(now)
            .filter(|left| !left.is_zero())?;
        let at = usize::try_from(self.tries).unwrap_or(usize::MAX);
        self.tries = self.tries.saturating_add(1);
        let pause = PAUSES.get(at).or(PAUSES.last()).copied().unwrap_or(1);
        Some(Duration::from_secs(pause).min(left))
    }
}

fn report(milestone: Milestone, text: String) -> Step {
    Step::Report { milestone, text }
}

fn started(remarks: &[String]) -> Step {
    report(Milestone::ClientStarted, remarks.join("; "))
}

#[cfg(test)]
mod tests;
