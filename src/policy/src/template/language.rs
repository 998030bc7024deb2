//! The language of templates: minijinja, with values that stay values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootstorm_catalog::template::{Bounded, environment, explained};
use minijinja::{AutoEscape, Environment, Output, State, Value};

use super::folder::{self, Stamps};
use super::values;
use crate::version_lt;

/// What is wrong with a template, as `file:line:column: text`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {text}", .path.display(), Place(*.line, *.column))]
pub struct TemplateError {
    /// The file.
    pub path: PathBuf,
    /// Its name, which decisions call it by.
    pub name: String,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// Column, from 1; 0 when only the line is known.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

struct Place(usize, usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(0, _) => Ok(()),
            Self(line, 0) => write!(f, ":{line}"),
            Self(line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

/// The templates of a folder as they were at one moment.
#[derive(Debug)]
pub(super) struct Set {
    folder: PathBuf,
    language: Environment<'static>,
    sources: BTreeMap<String, Arc<str>>,
    broken: Vec<TemplateError>,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            language: language(),
            sources: BTreeMap::new(),
            broken: Vec::new(),
        }
    }
}

impl Set {
    /// Reads the files of a folder. A broken one stays what it was `before`.
    pub(super) fn read(folder: &Path, files: &Stamps, before: &Self) -> Self {
        let mut set = Self {
            folder: folder.to_owned(),
            ..Self::default()
        };
        for name in files.keys() {
            if let Err(error) = set.add(name, folder::read(&folder.join(name))) {
                set.broken.push(error);
                if let Some(old) = before.sources.get(name) {
                    // It was good before.
                    let _ = set.add(name, Ok(old.to_string()));
                }
            }
        }
        set
    }

    fn add(&mut self, name: &str, source: Result<String, String>) -> Result<(), TemplateError> {
        let mut source = source.map_err(|text| TemplateError {
            path: self.folder.join(name),
            name: name.to_owned(),
            line: 0,
            column: 0,
            text,
        })?;
        if !source.ends_with('\n') {
            source.push('\n');
        }
        let added = self
            .language
            .add_template_owned(name.to_owned(), source.clone());
        added.map_err(|error| self.error(name, &error))?;
        self.sources.insert(name.to_owned(), source.into());
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// What was wrong with the files.
    pub(super) fn broken(&self) -> &[TemplateError] {
        &self.broken
    }

    /// The script that a template makes of what is known of a machine.
    pub(super) fn render(&self, name: &str, facts: Value) -> Result<String, TemplateError> {
        let mut marked = Bounded::default();
        let template = self.language.get_template(name);
        template
            .and_then(|template| template.render_captured_to(facts, &mut marked).map(drop))
            .map_err(|error| self.error(name, &error))?;
        let marked = marked.into_bytes();
        let marked = String::from_utf8_lossy(&marked);
        values::written(&marked).map_err(|values::InCommandPosition(line)| TemplateError {
            path: self.folder.join(name),
            name: name.to_owned(),
            line: 0,
            column: 0,
            text: format!("line {line} of the script that it makes begins a command with a value"),
        })
    }

    fn error(&self, called: &str, error: &minijinja::Error) -> TemplateError {
        let name = error.name().unwrap_or(called);
        let column = error.range().zip(error.template_source());
        let column = column.and_then(|(range, source)| {
            let line = source.get(..range.start)?.rsplit('\n').next()?;
            Some(line.chars().count() + 1)
        });
        TemplateError {
            path: self.folder.join(name),
            name: name.to_owned(),
            line: error.line().unwrap_or(0),
            column: column.unwrap_or(0),
            text: explained(error),
        }
    }
}

fn language() -> Environment<'static> {
    let mut language = environment();
    language.set_auto_escape_callback(|_| AutoEscape::Custom("ipxe".into()));
    language.set_formatter(written);
    for filter in ["safe", "escape", "e"] {
        language.remove_filter(filter);
    }
    language.add_filter("word", |value: Value| {
        Value::from_safe_string(values::word(&shown(&value)))
    });
    language.add_filter("url", |value: Value| values::url(&shown(&value)));
    language.add_function("version_lt", |a: &str, b: &str| version_lt(a, b));
    language
}

/// Safe is what parts of templates have written: text with marked values in it.
fn written(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let text = shown(value);
    if value.is_safe() {
        out.write_str(&text)?;
    } else {
        out.write_str(&values::marked_throughout(&text))?;
    }
    Ok(())
}

/// What is not known is nothing.
fn shown(value: &Value) -> String {
    if value.is_none() {
        String::new()
    } else {
        value.to_string()
    }
}
