//! iPXE: fetches a script, runs it, and fetches what it names.

mod commands;
mod expand;
mod frame;
mod images;
mod interpreter;
mod kinds;
mod menus;
mod options;
mod reports;
mod script;
mod settings;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Instant;

use interpreter::{Action, Interpreter};

use super::event::Phase;
use super::fetch::{Loaded, Loader, Want, compare_with_profile};
use super::io::{Input, Progress, Step, World};
use super::trace::Way;
use super::url::{Url, has_scheme};
use crate::finding::{Code, Finding};

/// iPXE from the moment on when it knows what to load.
#[derive(Debug)]
pub(crate) struct Boot {
    interpreter: Option<Box<Interpreter>>,
    loader: Loader,
    state: State,
}

/// What iPXE came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that is booted is there.
    Booted,
    /// The script sent the machine to its own disk.
    LocalDisk,
}

#[derive(Debug)]
enum State {
    /// A file comes.
    Fetching,
    /// The script waits.
    Asleep(Instant),
    /// What was booted tells the server so; what is to be sent yet, the last first.
    Reporting(Vec<Want>),
    /// It could not even begin.
    Refused(Finding, Instant),
    /// It is through.
    Over,
}

impl Boot {
    /// Begins with `first`, a URL or a file of the TFTP server `server`.
    pub(crate) fn start(first: &str, server: Ipv4Addr, world: &mut World<'_>) -> Self {
        let mut boot = Self {
            interpreter: None,
            loader: Loader::default(),
            state: State::Over,
        };
        let url = if first.is_empty() {
            Err(Finding::new(Code::UrlMalformed, "iPXE was given no file"))
        } else if has_scheme(first) {
            Url::parse(first)
        } else {
            Ok(Url::of_file(server, world.plan.ports.tftp, first))
        };
        let begun = url.and_then(|url| {
            compare_with_profile(&url, world);
            let mut interpreter = Box::new(Interpreter::new(url, first.to_owned(), server));
            let action = interpreter.begin();
            boot.interpreter = Some(interpreter);
            match action {
                Action::Fetch(want) => boot.loader.begin(*want, world),
                _ => Ok(()),
            }
        });
        boot.state = match begun {
            Ok(()) => State::Fetching,
            Err(finding) => State::Refused(finding, world.now),
        };
        boot
    }

    /// Does what the script wants, as far as that needs no waiting.
    fn act(&mut self, mut action: Action, world: &mut World<'_>) -> Progress<Verdict> {
        loop {
            match action {
                Action::Fetch(want) => match self.loader.begin(*want, world) {
                    Ok(()) => {
                        self.state = State::Fetching;
                        return Progress::Going;
                    }
                    Err(finding) => {
                        let Some(interpreter) = &mut self.interpreter else {
                            return self.over(Progress::Failed(finding), world);
                        };
                        action = interpreter.fetched(Err(finding), world);
                    }
                },
                Action::Sleep(time) => {
                    world.note(Way::Itself, || format!("waits {time:?}"));
                    self.state = State::Asleep(world.now + time);
                    return Progress::Going;
                }
                Action::Boot => {
                    world.reached(Phase::Booted);
                    let interpreter = self.interpreter.take();
                    let wanted = interpreter.map(|script| script.reports.wanted(world));
                    return self.report(wanted.unwrap_or_default(), world);
                }
                Action::Local => {
                    world.reached(Phase::LocalDisk);
                    return self.over(Progress::Done(Verdict::LocalDisk), world);
                }
                Action::Stop(finding) => return self.over(Progress::Failed(finding), world),
            }
        }
    }

    /// Sends the next report, if there is one.
    fn report(&mut self, mut wanted: Vec<Want>, world: &mut World<'_>) -> Progress<Verdict> {
        let Some(want) = wanted.pop() else {
            return self.over(Progress::Done(Verdict::Booted), world);
        };
        match self.loader.begin(want, world) {
            Ok(()) => {
                self.state = State::Reporting(wanted);
                Progress::Going
            }
            Err(finding) => self.unreported(finding, world),
        }
    }

    fn reported(
        &mut self,
        progress: Progress<Loaded>,
        wanted: Vec<Want>,
        world: &mut World<'_>,
    ) -> Progress<Verdict> {
        match progress {
            Progress::Going => {
                self.state = State::Reporting(wanted);
                Progress::Going
            }
            Progress::Done(_) => {
                if wanted.is_empty() {
                    world.reached(Phase::Reported);
                }
                self.report(wanted, world)
            }
            Progress::Failed(finding) => self.unreported(finding, world),
        }
    }

    /// A machine that cannot report has booted all the same.
    fn unreported(&mut self, finding: Finding, world: &mut World<'_>) -> Progress<Verdict> {
        world.finding(finding.code, finding.evidence);
        self.over(Progress::Done(Verdict::Booted), world)
    }

    fn over(&mut self, end: Progress<Verdict>, world: &mut World<'_>) -> Progress<Verdict> {
        self.loader.hang_up(world);
        self.interpreter = None;
        self.state = State::Over;
        end
    }
}

impl Step for Boot {
    type Made = Verdict;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Verdict> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Progress::Going,
            State::Refused(finding, _) => self.over(Progress::Failed(finding), world),
            State::Asleep(until) => {
                // The kept connection may end meanwhile.
                let _: Progress<Loaded> = self.loader.handle(input, world);
                if until > world.now {
                    self.state = State::Asleep(until);
                    return Progress::Going;
                }
                match &mut self.interpreter {
                    Some(interpreter) => {
                        let action = interpreter.wake(world);
                        self.act(action, world)
                    }
                    None => Progress::Going,
                }
            }
            State::Reporting(wanted) => {
                let progress = self.loader.handle(input, world);
                self.reported(progress, wanted, world)
            }
            State::Fetching => {
                let result = match self.loader.handle(input, world) {
                    Progress::Going => {
                        self.state = State::Fetching;
                        return Progress::Going;
                    }
                    Progress::Done(loaded) => Ok(loaded),
                    Progress::Failed(finding) => Err(finding),
                };
                match &mut self.interpreter {
                    Some(interpreter) => {
                        let action = interpreter.fetched(result, world);
                        self.act(action, world)
                    }
                    None => Progress::Going,
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Fetching | State::Reporting(_) => self.loader.deadline(),
            State::Asleep(until) | State::Refused(_, until) => Some(*until),
            State::Over => None,
        }
    }
}
