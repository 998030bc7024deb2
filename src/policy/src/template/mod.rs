//! Scripts that are written as templates: files of one folder, in the language of Jinja.
//!
//! What the server knows of a machine is put in as it stands there, whatever a vendor or an attacker
//! wrote: `{{ smbios.serial }}` is text that can be shown, `{{ smbios.serial|word }}` is a part of one
//! word, spaces included, and `{{ smbios.serial|url }}` is a part of a URL. None of them can end a
//! line, begin a command or name a setting.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bootstorm_telemetry::event::Reason;
use minijinja::Value;

use crate::Urls;

mod folder;
mod language;
mod values;

use folder::Stamps;
use language::Set;

pub use language::TemplateError;

/// The templates of a folder. Files that change are read again; one that is broken is left as it was.
#[derive(Debug)]
pub struct Templates {
    folder: Option<PathBuf>,
    set: ArcSwap<Set>,
    looked: Mutex<Option<(Instant, Stamps)>>,
}

/// A template and what it is to be filled in with.
#[derive(Clone, Debug)]
pub struct Call {
    set: Arc<Set>,
    name: String,
    facts: serde_json::Value,
}

/// What they were filled from may have changed meanwhile; what they are filled with says what they
/// do.
impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.facts) == (&other.name, &other.facts)
    }
}

impl Eq for Call {}

impl Templates {
    /// The templates of `folder`; without one there are none.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            set: ArcSwap::default(),
            looked: Mutex::new(None),
        }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The template of a file name, to be filled in with what is known of a machine
    /// (`Facts::to_json`) and the values of its plan. `None` when there is no such file; a reason
    /// when it is broken and was never good.
    #[must_use]
    pub fn call(&self, name: &str, facts: serde_json::Value) -> Option<Result<Call, Reason>> {
        self.refresh();
        let set = self.set.load_full();
        if set.has(name) {
            let name = name.to_owned();
            return Some(Ok(Call { set, name, facts }));
        }
        let broken = set.broken().iter().find(|error| error.name == name)?;
        Some(Err(Reason {
            code: "script.template-broken",
            text: broken.to_string().into(),
        }))
    }

    /// What is wrong with the files as they are, in order of their names.
    #[must_use]
    pub fn problems(&self) -> Vec<TemplateError> {
        self.refresh();
        self.set.load().broken().to_vec()
    }

    /// Reads again what has changed, once a second at most. Whoever finds another at it goes on with
    /// what is there.
    pub(crate) fn refresh(&self) {
        let Some(folder) = &self.folder else { return };
        let Ok(mut looked) = self.looked.try_lock() else {
            return;
        };
        let now = Instant::now();
        let recent = looked.as_ref();
        if recent.is_some_and(|(at, _)| now.duration_since(*at) < LOOKS_AGAIN) {
            return;
        }
        let stamps = folder::stamps(folder);
        if recent.is_none_or(|(_, before)| *before != stamps) {
            let set = Set::read(folder, &stamps, &self.set.load());
            for problem in set.broken() {
                tracing::warn!(code = "script.template-broken", "{problem}");
            }
            self.set.store(Arc::new(set));
        }
        *looked = Some((now, stamps));
    }
}

impl Call {
    /// The file name of the template.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The script.
    ///
    /// # Errors
    /// `script.template-failed` with file, line and column.
    pub fn render(&self, urls: &Urls) -> Result<String, Reason> {
        let mut facts = self.facts.clone();
        if let Some(facts) = facts.as_object_mut() {
            let urls = serde_json::json!({
                "base": urls.base(),
                "boot": urls.boot(),
                "report": urls.report(),
                "images": format!("{}/images", urls.base()),
                "token": urls.token(),
            });
            facts.insert("urls".to_owned(), urls);
        }
        let rendered = self.set.render(&self.name, shown(&facts));
        rendered.map_err(|error| Reason {
            code: "script.template-failed",
            text: error.to_string().into(),
        })
    }
}

/// How often files are looked at.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);

/// The same for templates, without the marks of values, which machines may have sent.
pub(crate) fn shown(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(it) => Value::from(*it),
        serde_json::Value::Number(number) => number.as_i64().map_or_else(
            || Value::from(number.as_f64().unwrap_or_default()),
            Value::from,
        ),
        serde_json::Value::String(text) => Value::from(values::unmarked(text)),
        serde_json::Value::Array(list) => list.iter().map(shown).collect(),
        serde_json::Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(name, value)| (name.as_str(), shown(value)));
            Value::from_pairs(pairs)
        }
    }
}

#[cfg(test)]
mod tests;
