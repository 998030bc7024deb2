//! What programs and services answer: one JSON object, listed in docs/reference/decisions.md.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstorm_config::entry_name_problem;
use bootstorm_proto::ipxe::{Arguments, Url};
use bootstorm_telemetry::event::Reason;
use serde::Deserialize;
use serde_json::Value;

use super::{Boot, Plan, Referral, Verdict, Wait};
use crate::windows::{VARIABLES_MAX, Variables};

/// The longest answer, in bytes.
pub const ANSWER_MAX: usize = 64 * 1024;

/// The BOOTP `file` field without its NUL.
const NBP_MAX: usize = 127;

/// The longest text for people.
const REASON_MAX: usize = 255;

/// The longest name of a value, a menu or a template.
const NAME_MAX: usize = 64;

/// The longest value, and the longest command line.
const VALUE_MAX: usize = 4096;

/// The longest URL that DHCP can carry.
const URL_MAX: usize = 1024;

/// How many values one answer may set.
const VALUES_MAX: usize = 256;

/// How often a machine may ask again, in seconds.
const RETRY: std::ops::RangeInclusive<u64> = 1..=3600;
const RETRY_USUAL: u64 = 10;

/// An answer that cannot be used: it names the key, or line and column where it is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAnswer(String);

impl BadAnswer {
    /// There is more than [`ANSWER_MAX`], for readers that stop there.
    #[must_use]
    pub fn too_long() -> Self {
        Self(format!("the answer is longer than {ANSWER_MAX} bytes"))
    }
}

impl Verdict {
    /// Reads an answer. `by` is the provider's name, which the record of the decision shows.
    ///
    /// # Errors
    /// [`BadAnswer`] for anything but one object of the known keys, each of them used and right.
    pub fn from_json(answer: &[u8], by: &str) -> Result<Self, BadAnswer> {
        if answer.len() > ANSWER_MAX {
            return Err(BadAnswer::too_long());
        }
        // PowerShell begins its output with a byte order mark where it is told to write UTF-8.
        let answer = answer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(answer);
        if answer.trim_ascii().is_empty() {
            return Err(BadAnswer("the answer is empty".to_owned()));
        }
        let keys: Keys = serde_json::from_slice(answer).map_err(|e| unusable(&e))?;
        keys.verdict(by)
    }

    /// The same for an answer that was not written as text, such as a row of a database.
    ///
    /// # Errors
    /// [`BadAnswer`], as [`Verdict::from_json`].
    pub fn from_value(answer: Value, by: &str) -> Result<Self, BadAnswer> {
        let keys: Keys = serde_json::from_value(answer).map_err(|e| unusable(&e))?;
        keys.verdict(by)
    }
}

/// The object's keys. Their types are checked one by one, so that an error names the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Keys {
    answer: Option<Value>,
    boot: Option<Value>,
    nbp: Option<Value>,
    arguments: Option<Value>,
    values: Option<Value>,
    variables: Option<Value>,
    required: Option<Value>,
    reason: Option<Value>,
    retry: Option<Value>,
    url: Option<Value>,
}

impl Keys {
    fn verdict(mut self, by: &str) -> Result<Verdict, BadAnswer> {
        let answer = self.answer.take();
        let answer = text("answer", answer, NAME_MAX)?
            .ok_or_else(|| bad("answer", "it is missing; it is `serve`, `ignore` or `pass`"))?;
        let reason = text("reason", self.reason.take(), REASON_MAX)?;
        let because = |code, usual: &str| Reason {
            code,
            text: format!("{by}: {}", reason.as_deref().unwrap_or(usual)).into(),
        };
        let verdict = match answer.as_str() {
            "serve" => return self.serve(by, because),
            "ignore" => Verdict::Ignore(because("provider.ignored", "it is not to be answered")),
            "pass" => Verdict::Pass(because("provider.passed", "it does not know the machine")),
            other => {
                let text = format!(
                    "`{}` is none of serve, ignore and pass",
                    other.escape_debug()
                );
                return Err(bad("answer", text));
            }
        };
        self.unused(&format!("an answer `{answer}`"))?;
        Ok(verdict)
    }

    fn serve(
        mut self,
        by: &str,
        because: impl Fn(&'static str, &str) -> Reason,
    ) -> Result<Verdict, BadAnswer> {
        let boot = text("boot", self.boot.take(), VALUE_MAX)?;
        let word = boot.as_deref().unwrap_or("menu");
        let boot = match word.split_once(':') {
            None if word == "menu" => Boot::Usual,
            None if word == "local" => Boot::Local,
            None if word == "wait" => Boot::Wait(Wait {
                every: retry(self.retry.take())?,
                reason: because("provider.waiting", "it has to wait"),
                request: None,
            }),
            None if word == "refuse" => {
                Boot::Refuse(because("provider.refused", "it may not boot here"))
            }
            None if word == "refer" => Boot::Refer(Referral {
                url: url(self.url.take())?,
                tftp: None,
            }),
            Some(("menu", name)) => Boot::Menu(plain_name("boot", name)?),
            Some(("script", file)) => Boot::Script(plain_name("boot", file)?),
            Some(("entry", name)) => Boot::Entry(entry(name)?),
            _ => Boot::Entry(entry(word)?),
        };
        let plan = Plan {
            nbp: nbp(self.nbp.take())?,
            arguments: arguments(self.arguments.take())?,
            values: values(self.values.take())?,
            variables: variables(self.variables.take())?,
            required: flag("required", self.required.take())?,
            boot,
            once: false,
            by: by.to_owned(),
        };
        self.unused(&format!("a machine that boots `{}`", word.escape_debug()))?;
        Ok(Verdict::Serve(Arc::new(plan)))
    }

    /// Whatever is left means nothing: somebody meant something by it.
    fn unused(&self, to: &str) -> Result<(), BadAnswer> {
        let all = [
            ("boot", &self.boot),
            ("nbp", &self.nbp),
            ("arguments", &self.arguments),
            ("values", &self.values),
            ("variables", &self.variables),
            ("required", &self.required),
            ("retry", &self.retry),
            ("url", &self.url),
        ];
        match all.into_iter().find(|(_, value)| value.is_some()) {
            Some((key, _)) => Err(bad(key, format!("it means nothing to {to}"))),
            None => Ok(()),
        }
    }
}

/// What serde says repeats names out of the answer, whatever they hold.
fn unusable(e: &serde_json::Error) -> BadAnswer {
    let said: String = e.to_string().chars().take(REASON_MAX).collect();
    BadAnswer(format!(
        "the answer cannot be used: {}",
        said.escape_debug()
    ))
}

fn bad(key: &str, what: impl Display) -> BadAnswer {
    BadAnswer(format!("`{key}`: {what}"))
}

/// A text without control characters; empty is not there.
fn text(key: &str, value: Option<Value>, longest: usize) -> Result<Option<String>, BadAnswer> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => return Err(bad(key, format!("{} is no text", kind(&other)))),
    };
    if text.len() > longest {
        return Err(bad(key, format!("it is longer than {longest} bytes")));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        let what = format!("it holds the control character `{}`", c.escape_debug());
        return Err(bad(key, what));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Bytes in base64. What is wrong with them never repeats them.
fn variables(value: Option<Value>) -> Result<Option<Variables>, BadAnswer> {
    let Some(text) = text("variables", value, ANSWER_MAX)? else {
        return Ok(None);
    };
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| bad("variables", "it is not base64"))?;
    let too_long = || {
        bad(
            "variables",
            format!("it is longer than {VARIABLES_MAX} bytes"),
        )
    };
    Variables::new(&bytes).ok_or_else(too_long).map(Some)
}

/// Databases without truth values have 0 and 1.
fn flag(key: &str, value: Option<Value>) -> Result<bool, BadAnswer> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(Value::Number(n)) if n.as_u64() == Some(0) => Ok(false),
        Some(Value::Number(n)) if n.as_u64() == Some(1) => Ok(true),
        Some(other) => Err(bad(key, format!("{} is not true or false", kind(&other)))),
    }
}

fn retry(value: Option<Value>) -> Result<Duration, BadAnswer> {
    let seconds = match value {
        None | Some(Value::Null) => RETRY_USUAL,
        Some(value) => value
            .as_u64()
            .filter(|seconds| RETRY.contains(seconds))
            .ok_or_else(|| {
                let (first, last) = (RETRY.start(), RETRY.end());
                bad(
                    "retry",
                    format!("it is no number of seconds from {first} to {last}"),
                )
            })?,
    };
    Ok(Duration::from_secs(seconds))
}

fn url(value: Option<Value>) -> Result<String, BadAnswer> {
    let url = text("url", value, URL_MAX)?.ok_or_else(|| {
        bad(
            "url",
            "it is missing; `refer` needs the other server's boot URL",
        )
    })?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(bad("url", "it does not begin with http:// or https://"));
    }
    Url::new(&url).map_err(|e| bad("url", e))?;
    Ok(url)
}

fn entry(name: &str) -> Result<String, BadAnswer> {
    match entry_name_problem(name) {
        Some(problem) => Err(bad("boot", problem)),
        None => Ok(name.to_owned()),
    }
}

fn nbp(value: Option<Value>) -> Result<Option<String>, BadAnswer> {
    text("nbp", value, NBP_MAX)
}

fn arguments(value: Option<Value>) -> Result<Option<String>, BadAnswer> {
    let arguments = text("arguments", value, VALUE_MAX)?;
    if let Some(line) = &arguments {
        Arguments::new(line).map_err(|e| bad("arguments", e))?;
    }
    Ok(arguments)
}

fn values(value: Option<Value>) -> Result<BTreeMap<String, String>, BadAnswer> {
    let named = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(named)) => named,
        Some(other) => {
            return Err(bad("values", format!("{} is no object", kind(&other))));
        }
    };
    if named.len() > VALUES_MAX {
        return Err(bad("values", format!("there are more than {VALUES_MAX}")));
    }
    let mut values = BTreeMap::new();
    for (name, value) in named {
        let name = plain_name("values", &name)?;
        let key = format!("values.{name}");
        let value = match value {
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            other => text(&key, Some(other), VALUE_MAX)?,
        };
        if let Some(value) = value {
            values.insert(name, value);
        }
    }
    Ok(values)
}

/// The name of a menu, a template or a value: it is part of paths and expressions.
fn plain_name(key: &str, name: &str) -> Result<String, BadAnswer> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || !name.chars().all(plain)
    {
        let what = format!(
            "`{}` is no name: up to {NAME_MAX} of A-Z, a-z, 0-9, `.`, `_` and `-`",
            name.escape_debug()
        );
        return Err(bad(key, what));
    }
    Ok(name.to_owned())
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
