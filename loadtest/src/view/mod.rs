//! How a storm is shown: while it goes on and afterwards.

pub(crate) mod compare;
mod html;
mod lines;
mod live;
mod pace;
mod text;
pub(crate) mod units;

use std::io::{IsTerminal, Stderr, stderr, stdin};
use std::path::Path;

use anyhow::Context;

pub(crate) use html::report as html;
pub(crate) use text::summary;

use crate::report::Snapshot;
use crate::storm::Watcher;
use lines::Lines;
use live::Live;

/// Shows a storm on standard error while it goes on; gives the terminal back when dropped.
#[derive(Debug)]
pub(crate) struct Viewer(View);

#[derive(Debug)]
enum View {
    /// On the whole terminal.
    Live(Box<Live>),
    /// In lines.
    Lines(Box<Lines<Stderr>>),
}

impl Viewer {
    /// On the whole terminal where there is one that can, unless plain lines are wanted.
    pub(crate) fn new(plain: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let able = !plain && !dumb && stdin().is_terminal() && stderr().is_terminal();
        let live = able.then(Live::new).and_then(Result::ok);
        Self(match live {
            Some(live) => View::Live(Box::new(live)),
            None => View::Lines(Box::new(Lines::new(stderr()))),
        })
    }
}

/// Ends the process in the middle of a storm, with the terminal given back.
pub(crate) fn exit(code: i32) -> ! {
    // Whoever still draws waits for this for ever.
    let _drawing = stderr().lock();
    live::give_back();
    std::process::exit(code)
}

/// Writes a page.
pub(crate) fn save(path: &Path, page: &str) -> anyhow::Result<()> {
    std::fs::write(path, page).with_context(|| format!("{} cannot be written", path.display()))
}

impl Watcher for Viewer {
    fn see(&mut self, snapshot: &Snapshot) -> bool {
        match &mut self.0 {
            View::Live(live) => live.see(snapshot),
            View::Lines(lines) => {
                lines.see(snapshot);
                true
            }
        }
    }
}
