//! A script that runs, command by command.

use super::script::Script;

/// A script that runs.
#[derive(Debug)]
pub(super) struct Frame {
    /// Its text.
    pub(super) script: Script,
    /// What its last command came to.
    pub(super) ok: bool,
    words: Vec<String>,
    /// The word of the line that begins the next command; behind the line's end once all were run.
    at: usize,
    /// What stands in front of the next command.
    before: Option<Operator>,
}

/// What stands between two commands of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `;`
    Then,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A command; without words, nothing is done with success.
    Command(Vec<String>),
    /// The script is through: successfully, or because a line failed.
    Through(bool),
}

impl Frame {
    /// A script at its beginning.
    pub(super) const fn new(script: Script) -> Self {
        Self {
            script,
            ok: true,
            words: Vec::new(),
            at: 1,
            before: None,
        }
    }

    /// The next command that is to be run.
    pub(super) fn next(&mut self) -> Next {
        loop {
            if self.at > self.words.len() {
                if !self.ok {
                    return Next::Through(false);
                }
                let Some(words) = self.script.line() else {
                    return Next::Through(true);
                };
                (self.words, self.at, self.before) = (words, 0, None);
            }
            let rest = &self.words[self.at..];
            let end = rest.iter().position(|word| Operator::of(word).is_some());
            let command = &rest[..end.unwrap_or(rest.len())];
            let is_run = match self.before {
                None | Some(Operator::Then) => true,
                Some(Operator::Or) => !self.ok,
                Some(Operator::And) => self.ok,
            };
            let command = is_run.then(|| command.to_vec());
            self.before = end.and_then(|end| Operator::of(&rest[end]));
            self.at += end.unwrap_or(rest.len()) + 1;
            if let Some(command) = command {
                return Next::Command(command);
            }
        }
    }

    /// Goes on behind a label; tells whether there is one.
    pub(super) fn goto(&mut self, label: &str) -> bool {
        let found = self.script.goto(label);
        if found {
            self.words.clear();
            (self.at, self.before, self.ok) = (1, None, true);
        }
        found
    }
}

impl Operator {
    fn of(word: &str) -> Option<Self> {
        match word {
            "||" => Some(Self::Or),
            "&&" => Some(Self::And),
            ";" => Some(Self::Then),
            _ => None,
        }
    }
}
