//! Runs scripts up to where something has to be fetched or waited for.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::commands::{Fetching, Outcome, Pending};
use super::frame::{Frame, Next};
use super::images::{Images, name_of};
use super::menus::{Item, Lists};
use super::reports::Reports;
use super::script::Script;
use super::settings::Settings;
use super::{expand, kinds};
use crate::finding::{Code, Finding};
use crate::machine::body::Keep;
use crate::machine::event::Phase;
use crate::machine::fetch::{Loaded, Want};
use crate::machine::http::request::Agent;
use crate::machine::io::World;
use crate::machine::trace::Way;
use crate::machine::url::Url;

/// Bytes of scripts that are worked over without a wait; then it is a loop.
const WORK_MAX: usize = 8 * 1024 * 1024;
/// What a command costs of that at least.
const COMMAND: usize = 64;
/// Files of one boot.
const FETCHES_MAX: u32 = 2_000;
/// Scripts that have called one another.
const DEPTH_MAX: usize = 16;

/// What is to be done before a script can go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Fetch, and come back with what came of it.
    Fetch(Box<Want>),
    /// Come back later.
    Sleep(Duration),
    /// Everything is there.
    Boot,
    /// The machine goes to its own disk.
    Local,
    /// It cannot go on.
    Stop(Finding),
}

/// iPXE as far as scripts see it.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) frames: Vec<Frame>,
    pub(super) settings: Settings,
    pub(super) images: Images,
    pub(super) menus: Lists<Item>,
    pub(super) forms: Lists<(String, String)>,
    /// What tells the server that the machine has booted.
    pub(super) reports: Reports,
    /// What iPXE was told to load first.
    pub(super) first: Url,
    pending: Option<Pending>,
    work: usize,
    fetches: u32,
    /// Why a file that was to be booted is missing.
    trouble: Option<Finding>,
    /// Why the last command that failed did.
    failed: Option<Finding>,
}

impl Interpreter {
    /// iPXE that was told to load `first`; `filename` and `server` are how DHCP said so.
    pub(super) fn new(first: Url, filename: String, server: Ipv4Addr) -> Self {
        Self {
            frames: Vec::new(),
            settings: Settings::new(filename, server),
            images: Images::default(),
            menus: Lists::default(),
            forms: Lists::default(),
            reports: Reports::default(),
            first,
            pending: None,
            work: 0,
            fetches: 0,
            trouble: None,
            failed: None,
        }
    }

    /// What is to be fetched first.
    pub(super) fn begin(&mut self) -> Action {
        let want = Want {
            agent: Agent::Ipxe,
            url: self.first.clone(),
            form: None,
            keep: Keep::Script,
            quiet: None,
        };
        self.pending = Some(Pending::Fetch(Fetching::chained()));
        Action::Fetch(Box::new(want))
    }

    /// Goes on behind a sleep.
    pub(super) fn wake(&mut self, world: &mut World<'_>) -> Action {
        self.work = 0;
        if let Some(Pending::Sleep(ok)) = self.pending.take() {
            self.came_to(ok);
        }
        self.run(world)
    }

    /// Goes on with a file, or without.
    pub(super) fn fetched(
        &mut self,
        result: Result<Loaded, Finding>,
        world: &mut World<'_>,
    ) -> Action {
        self.work = 0;
        let Some(Pending::Fetch(fetching)) = self.pending.take() else {
            return self.run(world);
        };
        let is_booted = fetching.is_booted;
        let done = result.and_then(|loaded| self.take(fetching, loaded, world));
        match done {
            Ok(Some(action)) => action,
            Ok(None) => self.run(world),
            Err(finding) if self.frames.is_empty() => Action::Stop(finding),
            Err(finding) => {
                world.note(Way::Itself, || format!("failed: {finding}"));
                // Scripts try names that servers need not have.
                let is_absent = matches!(finding.code, Code::HttpStatus | Code::TftpNotFound);
                if is_booted || !is_absent {
                    self.missing(Some(finding.clone()), world);
                }
                self.failed = Some(finding);
                self.came_to(false);
                self.run(world)
            }
        }
    }

    /// Remembers why a file is missing; an earlier reason did not keep the machine from going on.
    fn missing(&mut self, trouble: Option<Finding>, world: &mut World<'_>) {
        if let Some(earlier) = std::mem::replace(&mut self.trouble, trouble) {
            world.finding(earlier.code, earlier.evidence);
        }
    }

    /// Makes an image of a file.
    fn take(
        &mut self,
        fetching: Fetching,
        loaded: Loaded,
        world: &mut World<'_>,
    ) -> Result<Option<Action>, Finding> {
        let script = kinds::script(&loaded, fetching.is_executed, world)?;
        self.missing(None, world);
        world.reached(if script.is_some() {
            Phase::Script
        } else {
            Phase::Kernel
        });
        let name = fetching.name.unwrap_or_else(|| name_of(&loaded.url));
        self.reports.see(&name, loaded.fetched.text.as_deref());
        if fetching.is_executed {
            return self.execute(loaded.url, script, fetching.replaces);
        }
        let added = self.images.add(&name, loaded.url, script);
        let image = added.map_err(|why| self.failure(why))?;
        if fetching.is_selected {
            self.images.select(image);
        }
        self.came_to(true);
        Ok(None)
    }

    /// Runs an image: a script here, a program for good.
    pub(super) fn execute(
        &mut self,
        url: Url,
        script: Option<Arc<str>>,
        replaces: bool,
    ) -> Result<Option<Action>, Finding> {
        let Some(script) = script else {
            return Ok(Some(Action::Boot));
        };
        if replaces {
            self.frames.pop();
        }
        if self.frames.len() >= DEPTH_MAX {
            let evidence = format!("{url}: scripts that call one another, {DEPTH_MAX} deep");
            return Err(Finding::new(Code::ScriptLoops, evidence));
        }
        self.frames.push(Frame::new(Script::new(script, url)));
        Ok(None)
    }

    /// Runs commands until something has to be waited for.
    fn run(&mut self, world: &mut World<'_>) -> Action {
        loop {
            self.work += COMMAND;
            if self.work > WORK_MAX {
                return Action::Stop(self.named(Code::ScriptLoops, "goes round without a wait"));
            }
            let Some(frame) = self.frames.last_mut() else {
                return self.end(true);
            };
            let next = frame.next();
            let action = match next {
                Next::Command(words) => {
                    let outcome = self.command(&words, world);
                    self.outcome(outcome, world)
                }
                Next::Through(ok) => self.leave(ok),
            };
            if let Some(action) = action {
                return action;
            }
        }
    }

    fn command(&mut self, words: &[String], world: &mut World<'_>) -> Outcome {
        let Some(here) = self.frames.last().map(|frame| frame.script.url.clone()) else {
            return Outcome::Done;
        };
        let mut expanded = Vec::with_capacity(words.len());
        for word in words {
            let setting = |reference: &str| self.settings.text(reference, &here, world);
            match expand::expand(word, setting) {
                Ok(word) => {
                    self.work += word.len();
                    expanded.push(word);
                }
                Err(why) => return Outcome::Failed(why.to_owned()),
            }
        }
        self.dispatch(&expanded, &here, world)
    }

    fn outcome(&mut self, outcome: Outcome, world: &mut World<'_>) -> Option<Action> {
        match outcome {
            Outcome::Done => self.came_to(true),
            Outcome::Failed(why) => {
                self.failed = Some(self.failure(&why));
                self.came_to(false);
            }
            Outcome::Wrong(code, why) => {
                let finding = self.named(code, &why);
                world.finding(finding.code, finding.evidence.clone());
                self.failed = Some(finding);
                self.came_to(false);
            }
            Outcome::Goto(label) => {
                let frame = self.frames.last_mut()?;
                self.work += frame.script.len();
                if !frame.goto(&label) {
                    let why = format!("there is no label `{label}`");
                    return self.outcome(Outcome::Wrong(Code::ScriptGotoNowhere, why), world);
                }
            }
            Outcome::Exit(ok) if self.frames.len() > 1 => return self.leave(ok),
            Outcome::Exit(_) => return Some(self.end(true)),
            Outcome::Run(image, replaces) => {
                let image = self.images.get(image)?.clone();
                return match self.execute(image.url, image.script, replaces) {
                    Ok(action) => action,
                    Err(finding) => Some(Action::Stop(finding)),
                };
            }
            Outcome::Fetch(want, fetching) => {
                self.fetches += 1;
                if self.fetches > FETCHES_MAX {
                    let finding = self.named(Code::ScriptLoops, "fetches without an end");
                    return Some(Action::Stop(finding));
                }
                self.pending = Some(Pending::Fetch(fetching));
                return Some(Action::Fetch(want));
            }
            Outcome::Sleep(time, ok) => {
                self.pending = Some(Pending::Sleep(ok));
                return Some(Action::Sleep(time));
            }
            Outcome::Local => return Some(self.end(true)),
            Outcome::Stop(code, why) => return Some(Action::Stop(self.named(code, &why))),
        }
        None
    }

    /// A script is through.
    fn leave(&mut self, ok: bool) -> Option<Action> {
        self.frames.pop();
        if self.frames.is_empty() {
            return Some(self.end(ok));
        }
        self.came_to(ok);
        None
    }

    /// Nothing is left to be run: the machine goes on to its disk, because it was told so or
    /// because what it was to boot is missing.
    fn end(&mut self, ok: bool) -> Action {
        let failed = self.failed.take().filter(|_| !ok);
        match self.trouble.take().or(failed) {
            Some(finding) => Action::Stop(finding),
            None => Action::Local,
        }
    }

    fn came_to(&mut self, ok: bool) {
        if let Some(frame) = self.frames.last_mut() {
            frame.ok = ok;
        }
    }

    fn failure(&self, why: &str) -> Finding {
        self.named(Code::ScriptFailed, why)
    }

    /// A finding with its place in front.
    fn named(&self, code: Code, why: &str) -> Finding {
        let place = self.frames.last().map_or_else(String::new, |frame| {
            let script = &frame.script;
            let path = script.url.target.split('?').next().unwrap_or_default();
            format!("{}{path}:{}: ", script.url.host, script.number())
        });
        Finding::new(code, format!("{place}{why}"))
    }
}
