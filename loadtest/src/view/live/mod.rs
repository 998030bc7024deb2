//! The live view: the whole terminal, drawn anew four times a second, on standard error.

mod screen;

use std::io::{self, Stderr, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::pace::Pace;
use crate::report::Snapshot;

/// Whether the terminal is to be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Live {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    pace: Pace,
}

impl Live {
    /// Takes the terminal over; a panic gives it back before it is told.
    pub(super) fn new() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        let taken = execute!(stderr(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
        match taken {
            Ok(terminal) => Ok(Self {
                terminal,
                pace: Pace::over(1.0),
            }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws the storm; `false` when somebody wants it to end, or the terminal has gone.
    pub(super) fn see(&mut self, snapshot: &Snapshot) -> bool {
        let rates = self.pace.see(snapshot);
        let history = self.pace.history();
        let drawn = self
            .terminal
            .draw(|frame| screen::draw(frame, snapshot, &rates, history));
        drawn.is_ok() && !end_wanted().unwrap_or(true)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether one of the keys was pressed that end the storm. Ctrl-C is a key here, since the
/// terminal is raw.
fn end_wanted() -> io::Result<bool> {
    let mut wanted = false;
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()? {
            wanted |= ends(key);
        }
    }
    Ok(wanted)
}

fn ends(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.code == KeyCode::Char('q') || (control && key.code == KeyCode::Char('c'))
}

/// Once: a second time the cursor would go back to where it was at first, and what a panic said
/// would be written over. Nothing can be done if it fails, there is no terminal to say so on.
pub(super) fn give_back() {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(stderr(), LeaveAlternateScreen, Show);
    let _ = stderr().flush();
}

#[cfg(test)]
mod terminal;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_control_c_end_the_storm_and_nothing_else_does() {
        let plain = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE);
        assert!(ends(plain('q')));
        assert!(!ends(plain('c')));
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(ends(control));
    }
}
