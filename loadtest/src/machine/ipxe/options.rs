//! Options of commands, which stand in front of their other words.

/// An option that a command takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// `--NAME`.
    pub(super) long: &'static str,
    /// `-C`.
    pub(super) short: char,
    /// A value follows.
    pub(super) valued: bool,
}

/// The words of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    options: Vec<(&'static str, String)>,
    /// What stands behind the options.
    pub(super) rest: Vec<String>,
}

/// An option without a value.
pub(super) const fn flag(long: &'static str, short: char) -> Known {
    Known {
        long,
        short,
        valued: false,
    }
}

/// An option with a value.
pub(super) const fn valued(long: &'static str, short: char) -> Known {
    Known {
        long,
        short,
        valued: true,
    }
}

impl Words {
    /// Sorts the words behind a command's name.
    ///
    /// # Errors
    /// The option that the command does not know, or that has no value.
    pub(super) fn parse(words: &[String], known: &[Known]) -> Result<Self, String> {
        let mut sorted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            if name == "--" {
                sorted.rest.extend(words.cloned());
                break;
            }
            if !name.starts_with('-') || name.len() < 2 {
                sorted.rest.push(word.clone());
                sorted.rest.extend(words.cloned());
                break;
            }
            let option = known.iter().find(|known| known.is(name));
            let option = option.ok_or_else(|| word.clone())?;
            let value = match (option.valued, inline) {
                (true, Some(value)) => value,
                (true, None) => words.next().ok_or_else(|| word.clone())?.clone(),
                (false, _) => String::new(),
            };
            sorted.options.push((option.long, value));
        }
        Ok(sorted)
    }

    /// Whether a flag is given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// An option's value.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        let mut options = self.options.iter();
        let found = options.find(|(name, _)| *name == long);
        found.map(|(_, value)| value.as_str())
    }

    /// The word at a place behind the options.
    pub(super) fn word(&self, at: usize) -> Option<&str> {
        self.rest.get(at).map(String::as_str)
    }

    /// The words from a place on.
    pub(super) fn text(&self, from: usize) -> String {
        self.rest.get(from..).unwrap_or_default().join(" ")
    }
}

impl Known {
    fn is(&self, name: &str) -> bool {
        let mut letters = name.chars().skip(1);
        match name.strip_prefix("--") {
            Some(long) => long == self.long,
            None => letters.next() == Some(self.short) && letters.next().is_none(),
        }
    }
}
